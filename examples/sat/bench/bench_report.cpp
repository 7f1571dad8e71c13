// Rates are of the counted work and the median time; the share is of the roof that bounds that work.
#include "examples/sat/bench/bench_report.h"

#include <algorithm>
#include <fstream>

#include "sat/io/words/text.h"

namespace sat::cli {

namespace {

constexpr double kGiga = 1e-9;

std::string gflops(const BenchResult& result) {
  return result.work.flop > 0 ? fixed(kGiga * result.work.flop / result.seconds.median, 1) : "-";
}

std::string gigabytes(const BenchResult& result) { return fixed(kGiga * result.work.bytes / result.seconds.median, 2); }

/// Three significant digits at least, between a microsecond and minutes.
std::string milliseconds(double seconds) {
  const double ms = 1e3 * seconds;
  return fixed(ms, ms < 1 ? 4 : ms < 10 ? 3 : ms < 100 ? 2 : 1);
}

std::string percent(double share) { return fixed(100 * share, share < 0.0995 ? 1 : 0) + " %"; }

/// The whole range of the rounds, as a share of the median.
double spread(const BenchResult& result) {
  return (result.seconds.most - result.seconds.least) / result.seconds.median;
}

std::string in_threads(int threads) { return std::to_string(threads) + (threads == 1 ? " thread" : " threads"); }

/// Columns as wide as their widest cell, the first `words` of them set to the left.
std::string aligned(const std::vector<std::vector<std::string>>& rows, size_t words) {
  std::vector<size_t> widths(rows[0].size());
  for (const auto& row : rows) {
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      const std::string room(widths[c] - row[c].size(), ' ');
      line += (c == 0 ? "" : "  ") + (c < words ? row[c] + room : room + row[c]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string heading(const BenchReport& report) {
  if (!report.device.empty()) return report.device;
  return (report.processor.empty() ? "" : report.processor + ", ") + name_of(report.cpu) + ", " +
         in_threads(report.threads);
}

std::string words_of(const Roofs& roofs) {
  std::string text = "FMA " + fixed(kGiga * roofs.fma_flops, 1) + " GFLOP/s; ";
  if (roofs.tile_flops > 0) text += "tiles " + fixed(kGiga * roofs.tile_flops, 1) + " GFLOP/s";
  if (roofs.resident_tile_flops > 0) {
    text += " from L1, " + fixed(kGiga * roofs.resident_tile_flops, 1) + " GFLOP/s in registers";
  }
  text += (roofs.tile_flops > 0 ? "; " : "") + ("copy " + fixed(kGiga * roofs.memory_bytes, 1)) + " GB/s in memory";
  return text + (roofs.cache_bytes > 0 ? ", " + fixed(kGiga * roofs.cache_bytes, 1) + " GB/s in L2" : "");
}

std::string names(const std::vector<std::string>& all, const char* separator) {
  std::string text;
  for (const std::string& name : all) text += (text.empty() ? "" : separator) + name;
  return text;
}

/// Where a variant ran: the level of the CPU, or how a device held features.
const char* place_of(const BenchReport& report, const BenchResult& result) {
  return report.device.empty() ? name_of(result.cpu) : name_of(result.type);
}

const char* kind_of_place(const BenchReport& report) { return report.device.empty() ? "cpu" : "type"; }

/// What a variant's name is followed by in the list.
std::string remark(const BenchVariant& variant) { return variant.only_by_name ? " (only by name)" : ""; }

}  // namespace

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.compare(0, 10, "model name") != 0) continue;
    const size_t colon = line.find(": ");
    return colon == std::string::npos || !is_utf8(line) ? "" : line.substr(colon + 2);
  }
  return "";
}

std::string table_of(const BenchReport& report) {
  std::string text = heading(report) + "\nroofs: " + words_of(report.roofs) + "\n";
  std::vector<std::vector<std::string>> rows{{"case", "variant", kind_of_place(report), "roof", "of roof", "GFLOP/s",
                                              "GB/s", "median ms", "spread", "rounds"}};
  for (const BenchResult& result : report.results) {
    rows.push_back({result.name, result.variant, place_of(report, result), name_of(result.bound),
                    percent(result.of_roof), gflops(result), gigabytes(result), milliseconds(result.seconds.median),
                    percent(spread(result)), std::to_string(result.rounds)});
  }
  return text + "\n" + aligned(rows, 4);
}

Json json_of(const BenchReport& report) {
  Json roofs = Json::object(), results = Json::array();
  roofs.set("fma_gflops", kGiga * report.roofs.fma_flops);
  if (report.roofs.tile_flops > 0) roofs.set("tile_gflops", kGiga * report.roofs.tile_flops);
  if (report.roofs.resident_tile_flops > 0) {
    roofs.set("resident_tile_gflops", kGiga * report.roofs.resident_tile_flops);
  }
  roofs.set("memory_gb_s", kGiga * report.roofs.memory_bytes);
  if (report.roofs.cache_bytes > 0) roofs.set("l2_gb_s", kGiga * report.roofs.cache_bytes);
  for (const BenchResult& result : report.results) {
    Json one = Json::object();
    one.set("case", result.name).set("operation", result.operation).set("variant", result.variant);
    one.set(kind_of_place(report), place_of(report, result))
        .set("flop", result.work.flop)
        .set("bytes", result.work.bytes);
    one.set("rounds", result.rounds).set("median_ms", 1e3 * result.seconds.median);
    one.set("least_ms", 1e3 * result.seconds.least).set("most_ms", 1e3 * result.seconds.most);
    one.set("gflops", kGiga * result.work.flop / result.seconds.median);
    one.set("gb_s", kGiga * result.work.bytes / result.seconds.median);
    one.set("roof", name_of(result.bound)).set("of_roof", result.of_roof);
    results.push(std::move(one));
  }
  Json all = Json::object();
  if (report.device.empty()) {
    all.set("processor", report.processor).set("threads", report.threads).set("cpu", name_of(report.cpu));
  } else {
    all.set("device", report.device);
  }
  all.set("roofs", std::move(roofs)).set("results", std::move(results));
  return all;
}

BarChart chart_of(const BenchReport& report) {
  BarChart chart;
  chart.title = "sat bench: " + heading(report);
  chart.line = "roof";
  const Roofs& roofs = report.roofs;
  chart.legend = {"of FMA, " + fixed(kGiga * roofs.fma_flops, 0) + " GFLOP/s",
                  "of a copy in memory, " + fixed(kGiga * roofs.memory_bytes, 0) + " GB/s",
                  "of a copy in L2, " + fixed(kGiga * roofs.cache_bytes, 0) + " GB/s"};
  if (roofs.tile_flops > 0) chart.legend.push_back("of tiles, " + fixed(kGiga * roofs.tile_flops, 0) + " GFLOP/s");
  for (const BenchResult& result : report.results) {
    const std::string rate = result.bound == Bound::fma || result.bound == Bound::tiles ? gflops(result) + " GFLOP/s"
                                                                                        : gigabytes(result) + " GB/s";
    chart.bars.push_back(
        {result.name, result.variant, percent(result.of_roof), rate, result.of_roof, size_t(result.bound)});
  }
  return chart;
}

std::string list_of(const std::vector<BenchOperation>& operations) {
  std::string text;
  for (const BenchOperation& operation : operations) {
    text += (text.empty() ? "" : "\n") + operation.name + ": " + operation.what + "\n";
    if (!operation.channel_names.empty()) text += "  --channels " + names(operation.channel_names, ",") + "\n";
    if (!operation.size_names.empty()) text += "  --size     " + names(operation.size_names, "x") + "\n";
    std::vector<std::string> variants, cases;
    for (const BenchVariant& variant : operation.variants) variants.push_back(variant.name + remark(variant));
    for (size_t i = 0; i < operation.cases.size(); ++i) {
      cases.push_back(case_name(operation, operation.cases[i]) + (i < operation.standard ? "*" : ""));
    }
    text += "  variants   " + names(variants, ", ") + "\n  cases      " + names(cases, "\n             ") + "\n";
  }
  return text + "\n* runs when no --op is given\n";
}

Json json_of(const std::vector<BenchOperation>& operations) {
  Json all = Json::array();
  for (const BenchOperation& operation : operations) {
    Json one = Json::object(), variants = Json::array(), cases = Json::array();
    for (const BenchVariant& variant : operation.variants) {
      variants.push(Json::object().set("name", variant.name).set("only_by_name", variant.only_by_name));
    }
    for (size_t i = 0; i < operation.cases.size(); ++i) {
      cases.push(
          Json::object().set("name", case_name(operation, operation.cases[i])).set("standard", i < operation.standard));
    }
    one.set("operation", operation.name).set("what", operation.what);
    one.set("variants", std::move(variants)).set("cases", std::move(cases));
    all.push(std::move(one));
  }
  return all;
}

}  // namespace sat::cli
