// Private. What made a scan, by any of the names that people write: one rule for the text side, the preprocessing, the
// preview and the command line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace sat {

/// In the order of the rows of a text encoder's modality table.
enum class Modality : uint8_t { ct, mri, us, pet, microscopy };
const char* name_of(Modality modality);  // "ct", "mri", "us", "pet", "microscopy"

/// What a word means, capitals aside. First as SAT reads it: a word that contains t1, t2, mri, mr, flair or dwi is mri
/// ("T1w", "MRI ADC"), else ct or pet if it contains that ("CTA", "FDG-PET"); us and microscopy are these. Then, which
/// SAT does not know: a word with the part adc, swi, dti, pd, pdw or bold is mri, one with the part ultrasound is us.
/// None for anything else.
std::optional<Modality> find_modality(const std::string& word);
/// The same; throws Error for anything else, with the list of what is known.
Modality parse_modality(const std::string& word);

/// For messages and help texts.
inline constexpr const char* kModalityWords =
    "ct, mri (also mr, t1, t2, flair, dwi, adc, swi and the like), pet, us or microscopy";

}  // namespace sat
