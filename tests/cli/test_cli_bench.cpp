// `sat bench` from outside: what can be named, what it reports, and the chart, read back from its pixels.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "sat/cuda/device/device.h"
#include "sat/io/words/json.h"
#include "sat/tensor/context.h"
#include "sat/tensor/cpu/conv/conv_method.h"
#include "tests/support/decode_png.h"
#include "tests/support/golden.h"
#include "tests/support/program.h"

using namespace sat;
using namespace sat::test;

namespace {

/// The least that can be measured: one round of single calls, on one thread.
Words quick(const Words& more) {
  Words words{"bench", "--seconds", "0.0001", "--repeat", "1", "--threads", "1"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

Json json_of(const Ran& ran) {
  CAPTURE(ran.err);
  REQUIRE(ran.status == 0);
  return Json::parse(ran.out, "stdout");
}

Words variants_of(const Json& operation) {
  Words names;
  for (const Json& variant : operation["variants"].items()) names.push_back(variant["name"].string());
  return names;
}

using Pixel = std::vector<int>;

Pixel pixel(const Tensor& image, int64_t x, int64_t y) {
  const uint8_t* at = image.data<uint8_t>() + (y * image.shape[1] + x) * 3;
  return {at[0], at[1], at[2]};
}

const Pixel kPaper{16, 17, 20}, kRoof{235, 87, 87};
const std::set<Pixel> kBars{{86, 156, 214}, {102, 187, 106}, {224, 168, 66}};

}  // namespace

TEST_CASE("what can be measured is listed, and no two names are the same") {
  const Json list = json_of(sat_run({"bench", "--list", "--json", "-"}));
  const std::string text = sat_run({"bench", "--list"}).out;
  std::set<std::string> operations, cases;
  int64_t standard = 0;
  for (const Json& operation : list.items()) {
    const std::string name = operation["operation"].string();
    CAPTURE(name);
    CHECK(operations.insert(name).second);
    CHECK(contains(text, name + ": "));
    CHECK(operation["cases"].size() > 0);
    for (const Json& one : operation["cases"].items()) {
      CHECK(cases.insert(one["name"].string()).second);
      CHECK(one["name"].string().rfind(name + "/", 0) == 0);
      CHECK(contains(text, one["name"].string()));
      standard += one["standard"].boolean();
    }
    const Words variants = variants_of(operation);
    CHECK(variants.size() > 0);
    CHECK(std::set<std::string>(variants.begin(), variants.end()).size() == variants.size());
  }
  CHECK(standard >= 10);
  for (const char* name : {"conv3d", "conv_transpose3d", "linear", "attention", "unet", "query_decoder", "resample"}) {
    CHECK(operations.count(name) == 1);
  }
}

TEST_CASE("every method of the convolution table can be measured by its name") {
  const Json list = json_of(sat_run({"bench", "--list", "--json", "-"}));
  std::set<std::string> measured;
  for (const Json& operation : list.items()) {
    if (operation["operation"].string().rfind("conv3d_norm", 0) != 0) continue;
    for (const std::string& name : variants_of(operation)) measured.insert(name);
  }
  for (const cpu::ConvMethodInfo& info : cpu::conv_methods()) {
    CAPTURE(std::string(info.name));
    const bool here = info.method != cpu::ConvMethod::amx_bf16 || amx_available();
    CHECK(measured.count(info.name) == size_t(here));
  }
}

TEST_CASE("every kernel runs at sizes of one's own, in all its forms") {
  const struct {
    const char *operation, *channels, *size;
  } uses[] = {{"conv3d_norm", "17,24", "9x8x7"},
              {"conv3d_norm_stride2", "16,16", "9x8x7"},
              {"conv3d_norm_up", "24,16", "8x6x10"},
              {"conv3d", "3,5", "7x6x5"},
              {"conv_transpose3d", "8,6", "3x4x5"},
              {"avg_pool3d", "3", "8x4x12"},
              {"accumulate_mask_scores", "8,3", "4x5x6"},
              {"linear", "24,40", "5"},
              {"attention", "16", "3x5"},
              {"layer_norm", "24", "3"},
              {"resample", "", "20x18x6"},
              {"mask_compression", "", "20x18x6"}};
  const Json list = json_of(sat_run({"bench", "--list", "--json", "-"}));
  for (const auto& use : uses) {
    CAPTURE(use.operation);
    Words variants;
    for (const Json& operation : list.items()) {
      if (operation["operation"].string() == use.operation) variants = variants_of(operation);
    }
    std::string names;
    for (const std::string& name : variants) {
      const bool runs = best_cpu_level() > CpuLevel::plain || name == "plain" || variants.size() == 1;
      if (runs) names += (names.empty() ? "" : ",") + name;
    }
    Words words = quick({"--op", use.operation, "--size", use.size, "--variant", names, "--json", "-"});
    if (*use.channels) words.insert(words.end(), {"--channels", use.channels});
    const Json report = json_of(sat_run(words));
    CHECK(int64_t(report["results"].size()) == std::count(names.begin(), names.end(), ',') + 1);
  }
}

TEST_CASE("JSON holds the machine, the roofs, and each result with its rate and share") {
  const Json report =
      json_of(sat_run(quick({"--op", "linear/768-768,layer_norm/768/32", "--variant", "plain", "--json", "-"})));
  CHECK(report["threads"].integer() == 1);
  CHECK(report["cpu"].string() == name_of(best_cpu_level()));
  CHECK(report["processor"].kind() == Json::Kind::string);
  for (const char* roof : {"fma_gflops", "memory_gb_s", "l2_gb_s"}) CHECK(report["roofs"][roof].number() > 0);
  REQUIRE(report["results"].size() == 2);
  const Json &linear = report["results"][0], &norm = report["results"][1];
  CHECK(linear["case"].string() == "linear/768-768/243");
  CHECK(linear["operation"].string() == "linear");
  CHECK(linear["variant"].string() == "plain");
  CHECK(linear["cpu"].string() == "plain");
  CHECK(linear["flop"].number() == 2. * 243 * 768 * 768);
  CHECK(linear["rounds"].integer() == 1);
  CHECK(linear["least_ms"].number() <= linear["median_ms"].number());
  CHECK(linear["roof"].string() == "FMA");
  CHECK(linear["gflops"].number() ==
        doctest::Approx(linear["flop"].number() / linear["median_ms"].number() * 1e-6).epsilon(1e-9));
  CHECK(linear["of_roof"].number() ==
        doctest::Approx(linear["gflops"].number() / report["roofs"]["fma_gflops"].number()).epsilon(1e-9));
  CHECK(norm["roof"].string() == "L2");
  CHECK(norm["of_roof"].number() ==
        doctest::Approx(norm["gb_s"].number() / report["roofs"]["l2_gb_s"].number()).epsilon(1e-9));
}

TEST_CASE("the chart's bars are as long as their shares, against the line of the roof") {
  const TempDir folder;
  const Ran ran = sat_run(quick({"--op", "layer_norm,attention/768/32x243,linear/768-768", "--variant", "plain",
                                 "--chart", folder / "c.png", "--json", folder / "c.json"}));
  REQUIRE(ran.status == 0);
  CHECK(ran.err == "");
  CHECK(contains(ran.out, "of roof"));
  const Json results = Json::parse(read_text(folder / "c.json"), "c.json")["results"];
  REQUIRE(results.size() == 4);
  const Tensor image = decode_png(read_text(folder / "c.png"));
  const int64_t height = image.shape[0], width = image.shape[1];
  CHECK(width > 900);
  CHECK(height > 180);
  CHECK(pixel(image, 0, 0) == kPaper);

  // The line of the roof is the only long red one; bars lie beside it, the legend's squares above.
  int64_t roof = 0, top = 0, left = 0;
  for (int64_t x = 0; roof == 0 && x < width; ++x) {
    std::vector<int64_t> red;
    for (int64_t y = 0; y < height; ++y) {
      if (pixel(image, x, y) == kRoof) red.push_back(y);
    }
    if (int64_t(red.size()) > height / 4) roof = x + 1, top = red.front();
  }
  REQUIRE(roof > 0);
  for (int64_t x = 0; left == 0 && x < width; ++x) {
    for (int64_t y = top; y < height; ++y) left = kBars.count(pixel(image, x, y)) ? x : left;
  }
  std::vector<int64_t> lengths;
  for (int64_t y = top; y < height; ++y) {
    if (!kBars.count(pixel(image, left, y)) || kBars.count(pixel(image, left, y - 1))) continue;
    int64_t end = left;
    while (end < width && (kBars.count(pixel(image, end, y)) || pixel(image, end, y) == kRoof)) ++end;
    lengths.push_back(end - left);
  }
  REQUIRE(lengths.size() == 4);
  for (size_t i = 0; i < 4; ++i) {
    const double wanted = std::max(1., results[i]["of_roof"].number() * double(roof - left));
    CHECK(std::abs(double(lengths[i]) - wanted) <= 3);
  }
}

TEST_CASE(
    "a device has operations of its own, in which every kernel variant has a name, and lists them without being "
    "there") {
  const Json list = json_of(sat_run({"bench", "--device", "cuda:7", "--list", "--json", "-"}));
  std::map<std::string, Words> variants;
  for (const Json& operation : list.items()) {
    variants[operation["operation"].string()] = variants_of(operation);
    CHECK(operation["cases"].size() > 0);
  }
  const Words all{"plain-f32", "plain", "tiled-f32", "tiled", "mma", "wgmma", "cudnn-f32", "cudnn"};
  for (const char* name : {"conv3d_norm", "conv3d_norm_stride2"}) CHECK(variants[name] == all);
  Words with_composed = all;
  with_composed.insert(with_composed.begin() + 5, "composed");
  CHECK(variants["conv3d_norm_up"] == with_composed);
  CHECK(variants["attention"] == Words{"plain", "tiled", "fused"});
  for (const char* name : {"linear", "accumulate_mask_scores", "unet"}) CHECK(variants[name] == Words{"exact", "fast"});
  CHECK(variants["layer_norm"] == Words{"exact"});
  CHECK(variants.size() == 8);
}

TEST_CASE("a device that is not there ends with status 1 and what there is") {
  const std::string message = !cuda::built()            ? "this build has no CUDA; configure with -DSAT_CUDA=ON"
                              : cuda::devices().empty() ? "no CUDA device was found"
                                                        : "there is no device cuda:99";
  for (const char* operation : {"layer_norm/768/32", "conv3d_norm/64-64", "attention"}) {
    CAPTURE(operation);
    const Ran ran = sat_run(quick({"--device", "cuda:99", "--op", operation}));
    CHECK(ran.status == 1);
    CHECK(contains(ran.err, message));
    CHECK(ran.out == "");
  }
}

TEST_CASE("the CPU is where sat bench runs unless a device is named") {
  const Words words = quick({"--op", "layer_norm/768/32", "--json", "-"});
  Words named = words;
  named.insert(named.end(), {"--device", "cpu"});
  const Json report = json_of(sat_run(words)), same = json_of(sat_run(named));
  CHECK(same["cpu"].string() == report["cpu"].string());
  CHECK(same["results"].size() == report["results"].size());
  CHECK(sat_run({"bench", "--list"}).out == sat_run({"bench", "--list", "--device", "cpu"}).out);
}

TEST_CASE("wrong names and sizes end with status 64 and the nearest name or what would have fit") {
  const struct {
    Words words;
    const char* message;
  } uses[] = {{{"--op", "conv3"}, "there is no operation 'conv3'; did you mean conv3d?"},
              {{"--op", "conv3d/64-65"}, "there is no case 'conv3d/64-65'; did you mean conv3d/64-64?"},
              {{"--op", "conv3d_norm", "--variant", "winograd-4x4x5"},
               "no variant 'winograd-4x4x5'; did you mean winograd-4x4x"},
              {{"--op", "linear", "--variant", "xyz"}, "there is no variant 'xyz'; there are simd and plain"},
              {{"--op", "linear,,unet"}, "--op: an empty name in 'linear,,unet'"},
              {{"--op", "conv3d", "--size", "96"}, "conv3d takes --size HxWxD: 3 numbers, not 1"},
              {{"--op", "conv3d", "--channels", "64"}, "conv3d takes --channels IN,OUT: 2 numbers, not 1"},
              {{"--op", "unet", "--channels", "64"}, "unet takes no --channels"},
              {{"--op", "unet", "--size", "40x40x40"}, "unet needs multiples of 32 voxels"},
              {{"--op", "conv3d", "--size", "9x0x9"}, "--size: '9x0x9' is not numbers from 1 to 65536"},
              {{"--size", "9x9x9"}, "--size and --channels need --op"},
              {{"--op", "linear", "--cpu", "plain", "--variant", "simd"}, "simd needs a CPU level above plain"},
              {{"--repeat", "0"}, "--repeat: Value 0 not in range 1 to 1000"},
              {{"--seconds", "0"}, "--seconds: Value 0 not in range"},
              {{"--device", "gpu"}, "--device: unknown device 'gpu'; it is cpu, cuda, cuda:0, cuda:1, .. or auto"},
              {{"--device", "cuda,cuda:1"}, "--device: one device at a time, not cuda,cuda:1"},
              {{"--half", "f8"}, "unknown half type 'f8'; it is one of f16, bf16"},
              {{"--chart", "bench.jpg"}, "--chart: 'bench.jpg' must end in .png"},
              {{"--oop", "x"}, "unknown option --oop; did you mean --op?"}};
  for (const auto& use : uses) {
    Words words{"bench"};
    words.insert(words.end(), use.words.begin(), use.words.end());
    const Ran ran = sat_run(words);
    CAPTURE(ran.err);
    CAPTURE(use.message);
    CHECK(ran.status == 64);
    CHECK(contains(ran.err, use.message));
    CHECK(ran.out == "");
  }
}
