// The words, as the published system merges them, and a few more.
#include "sat/io/words/modality.h"

#include "sat/io/words/text.h"
#include "sat/tensor/error.h"

namespace sat {

namespace {

bool has_part(const std::string& word, const std::string& part) {
  const auto letter = [&](size_t at) { return at < word.size() && word[at] >= 'a' && word[at] <= 'z'; };
  for (size_t at = word.find(part); at != std::string::npos; at = word.find(part, at + 1)) {
    if ((at == 0 || !letter(at - 1)) && !letter(at + part.size())) return true;
  }
  return false;
}

}  // namespace

const char* name_of(Modality modality) {
  switch (modality) {
    case Modality::ct: return "ct";
    case Modality::mri: return "mri";
    case Modality::us: return "us";
    case Modality::pet: return "pet";
    case Modality::microscopy: return "microscopy";
  }
  return "?";
}

std::optional<Modality> find_modality(const std::string& word) {
  std::string lower = word;
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
  for (const char* part : {"t1", "t2", "mri", "mr", "flair", "dwi"}) {
    if (lower.find(part) != std::string::npos) return Modality::mri;
  }
  for (Modality modality : {Modality::ct, Modality::pet}) {
    if (lower.find(name_of(modality)) != std::string::npos) return modality;
  }
  for (Modality modality : {Modality::us, Modality::microscopy}) {
    if (lower == name_of(modality)) return modality;
  }
  for (const char* part : {"adc", "swi", "dti", "pd", "pdw", "bold"}) {
    if (has_part(lower, part)) return Modality::mri;
  }
  if (has_part(lower, "ultrasound")) return Modality::us;
  return std::nullopt;
}

Modality parse_modality(const std::string& word) {
  const std::optional<Modality> found = find_modality(word);
  SAT_CHECK(found, "modality ", quoted(word), " is not known; it is one of ", kModalityWords);
  return *found;
}

}  // namespace sat
