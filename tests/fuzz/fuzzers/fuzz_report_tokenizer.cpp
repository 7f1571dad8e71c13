// Fuzzes the tokenizer of reports and what is made of its ids: an input is a tokenizer.json, a NUL, and a report.
#include <string_view>

#include "sat/io/reports/report_masking.h"
#include "tests/fuzz/fuzz.h"

using namespace sat;
using namespace sat::test;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  const std::string_view all(reinterpret_cast<const char*>(bytes), count);
  const size_t end = all.find('\0');
  const std::string_view text = end == std::string_view::npos ? all : all.substr(end + 1);
  return try_input([&] {
    const ReportTokenizer tokenizer = ReportTokenizer::parse(all.substr(0, end), "input");
    const ReportIds report =
        tokenizer.encode(assemble_report(text, "There is no edema.", seeded_stream(1)), {256, 256});
    must(report.ids.size() == 256 && report.used <= 256);
    for (const int64_t id : report.ids) must(id >= 0 && id < tokenizer.size());
    const MaskedReport masked = mask_entities(report.ids, tokenizer, seeded_stream(2));
    must(masked.ids.size() == 256);
    must(token_weights(report.ids, masked.descriptors, tokenizer).size() == 256);
  });
}
