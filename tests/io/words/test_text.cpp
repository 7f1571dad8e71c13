// Text from strangers: what a terminal may be given of it, and how text files fall into lines.
#include "sat/io/words/text.h"

#include <doctest/doctest.h>

#include "sat/io/words/modality.h"
#include "sat/nn/sat/sat_config.h"
#include "sat/tensor/error.h"

namespace sat {

TEST_CASE("printable text holds nothing that a terminal acts on, and the rest as it is") {
  CHECK(printable("plain text, \u00e4\u4e2d\U0001F600") == "plain text, \u00e4\u4e2d\U0001F600");
  CHECK(printable("\x1b]0;pwned\x07\x1b[31m") == "\\x1b]0;pwned\\x07\\x1b[31m");
  CHECK(printable("two\nlines\r\tand\x7f") == "two\\x0alines\\x0d\\x09and\\x7f");
  CHECK(printable("\u009b31m") == "\\u{9b}31m");
  CHECK(printable("\xff\xc3") == "\\xff\\xc3");
  CHECK(printable(std::string_view("a\0b", 3)) == "a\\x00b");
  for (const char* mark : {"\u202a", "\u202e", "\u2066", "\u2069", "\u200e", "\u200f", "\u061c", "\u200b", "\u200d",
                           "\u2028", "\u2029", "\u2060", "\ufeff", "\u00ad", "\U000e0041"}) {
    CHECK(printable(mark).substr(0, 3) == "\\u{");
    CHECK(quoted(mark).substr(0, 4) == "'\\u{");
  }
  CHECK(printable("\u202e") == "\\u{202e}");
  CHECK(quoted("a\nb") == "'a\\x0ab'");
  CHECK(quoted(std::string(100, 'x')) == "'" + std::string(80, 'x') + "...'");
}

TEST_CASE("a character that cannot be seen is named, and ordinary text has none") {
  CHECK(invisible_character("left kidney, \u00e4\u4e2d") == "");
  CHECK(invisible_character("left\u00a0kidney") == "U+00A0");
  CHECK(invisible_character("li\u200bver") == "U+200B");
  CHECK(invisible_character("li\u00adver") == "U+00AD");
  CHECK(invisible_character("liver\ufeff") == "U+FEFF");
  CHECK(invisible_character("\u202eliver") == "U+202E");
  CHECK(invisible_character("\U000e0041") == "U+E0041");
  CHECK(invisible_character("\xffliver") == "");
}

TEST_CASE("lines end with LF, CRLF or CR, and a byte order mark is no part of the first") {
  using Lines = std::vector<std::string>;
  CHECK(lines_of("", "x") == Lines{});
  CHECK(lines_of("a", "x") == Lines{"a"});
  CHECK(lines_of("a\n", "x") == Lines{"a"});
  CHECK(lines_of("a\r\nb\rc\nd", "x") == Lines{"a", "b", "c", "d"});
  CHECK(lines_of("a\n\r\n\rb", "x") == Lines{"a", "", "", "b"});
  CHECK(lines_of("\xEF\xBB\xBF"
                 "a\r\n",
                 "x") == Lines{"a"});
  CHECK(lines_of("\xEF\xBB\xBF", "x") == Lines{});
  CHECK_THROWS_WITH_AS(lines_of("\xFF\xFE"
                                "a",
                                "list.txt"),
                       "list.txt: this text is UTF-16; save it as UTF-8", Error);
}

TEST_CASE("a modality's word means the same on the text side and in preprocessing") {
  for (const char* word : {"mri", "MRI", "MR", "mr", "t1", "T1w", "t2", "T2_FLAIR", "flair", "dwi", "ADC", "swi",
                           "adc map", "MRI ADC", "PD", "bold"}) {
    CAPTURE(word);
    CHECK(parse_modality(word) == Modality::mri);
  }
  for (const char* word : {"ct", "CT", "CTA", "CBCT"}) CHECK(parse_modality(word) == Modality::ct);
  for (const char* word : {"us", "US", "ultrasound", "Ultrasound B-mode"}) CHECK(parse_modality(word) == Modality::us);
  CHECK(parse_modality("FDG-PET") == Modality::pet);
  CHECK(parse_modality("microscopy") == Modality::microscopy);
  for (const char* word : {"", "x-ray", "usa", "swiss", "update"}) {
    CAPTURE(word);
    CHECK_FALSE(find_modality(word).has_value());
  }
  CHECK_THROWS_WITH_AS(parse_modality("x-ray"), doctest::Contains("'x-ray' is not known; it is one of ct, mri"), Error);

  const SatConfig config = published_config("UNET");
  CHECK(&config.modality("CTA") == &config.modality("ct"));
  CHECK(&config.modality("MR") == &config.modality("mri"));
  SatConfig narrow = config;
  narrow.modalities.erase("*");
  narrow.modalities["mri"] = config.modality("mri");
  CHECK(&narrow.modality("T1w") == &narrow.modality("mri"));
  narrow.modalities["t1w"] = config.modality("mri");
  CHECK(&narrow.modality("T1w") == &narrow.modalities["t1w"]);
  CHECK_THROWS_WITH_AS(narrow.modality("pet"), doctest::Contains("not made for modality 'pet'"), Error);
  CHECK_THROWS_AS(config.modality("x-ray"), Error);
}

}  // namespace sat
