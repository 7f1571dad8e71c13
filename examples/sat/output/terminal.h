// What a terminal can show: how wide it is, and how wide a text is on it.
// Knows columns, not what is drawn in them (progress.h).
#pragma once

#include <string>

namespace sat::cli {

/// Is the descriptor a terminal on which a line can be drawn again? Not where TERM is unset or "dumb".
bool can_redraw(int descriptor);

/// Its width now, 80 where it does not say.
int columns_of(int descriptor);

/// Columns that UTF-8 text takes: two for wide characters of East Asia and pictures, none for marks that join.
int width_of(const std::string& text);

/// The text, with its middle left out ("sub-01_s..._bold") where it is wider than so many columns.
std::string shortened(const std::string& text, int columns);

}  // namespace sat::cli
