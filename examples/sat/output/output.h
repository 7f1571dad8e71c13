// The program's one way to its standard streams: what cannot be written is noticed, and nothing that came from a
// stranger reaches a terminal as it is.
#pragma once

#include <string>

namespace sat::cli {

/// Before anything is opened: a standard stream that is closed gets a descriptor that can neither be read nor written,
/// so that no file takes its place. False when even that fails.
bool guard_standard_streams();
/// A full disk, a limit on file sizes and a reader that went away become errors of the call in place of signals.
void ignore_output_signals();

void print(const std::string& text);       // to stdout, as it is: pages and JSON
void print_now(const std::string& text);   // the same, and sent on at once
void print_line(const std::string& text);  // to stdout, printable() and ended
void say(const std::string& text);         // to stderr, printable() and ended

/// Sends what is still on its way to stdout. Throws ClosedPipe where its reader went away, else Failure (failure.h)
/// with the reason, when something of this run could not be written.
void finish_output();

}  // namespace sat::cli
