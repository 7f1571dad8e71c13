// Reading features and manifests.
#include "sat/io/features/feature_set.h"

#include <sys/stat.h>

#include <charconv>
#include <cmath>
#include <unordered_set>

#include "sat/io/arrays/npy.h"
#include "sat/io/checkpoints/safetensors.h"
#include "sat/io/features/feature_writer.h"
#include "sat/io/files/file.h"
#include "sat/io/tables/csv.h"
#include "sat/io/words/text.h"

namespace sat {

namespace {

constexpr int64_t kMostManifest = int64_t(1) << 28;
constexpr size_t kLongestName = 4096;

bool exists(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0;
}

/// Numbers of any type as f32.
Tensor as_floats(const Tensor& x) {
  if (x.dtype == DType::f32) return x;
  Tensor y(x.shape);
  float* to = y.data<float>();
  const auto convert = [&](const auto* from) {
    for (int64_t i = 0, count = x.numel(); i < count; ++i) to[i] = float(from[i]);
  };
  if (x.dtype == DType::u8) {
    convert(x.data<uint8_t>());
  } else if (x.dtype == DType::i32) {
    convert(x.data<int32_t>());
  } else if (x.dtype == DType::i64) {
    convert(x.data<int64_t>());
  } else {
    fail("features are ", x.dtype, ", they should be numbers");
  }
  return y;
}

std::vector<std::string> images_of(const FeatureManifest& manifest) {
  std::vector<std::string> images;
  for (const FeatureRecord& record : manifest.records) {
    if (record.error.empty()) images.push_back(record.image);
  }
  return images;
}

void check(const FeatureSet& set) {
  const Shape& shape = set.features.shape;
  SAT_CHECK((shape.rank() == 2 || shape.rank() == 3) && shape.numel() > 0, set.path, ": features of shape ", shape,
            ", they should be [images, channels] or [images, tokens, channels]");
  SAT_CHECK(shape[0] == set.size(), set.path, ": ", shape[0], " rows of features and ", set.size(), " names of images");
  std::unordered_set<std::string> seen;
  for (const std::string& image : set.images) {
    SAT_CHECK(!image.empty() && image.size() <= kLongestName && is_utf8(image), set.path, ": ", quoted(image),
              " is no name of an image: 1 to ", kLongestName, " bytes of UTF-8");
    SAT_CHECK(seen.insert(image).second, set.path, ": image ", quoted(image), " stands there twice");
  }
  const int64_t wrong = count_not_finite(set.features);
  SAT_CHECK(wrong == 0, set.path, ": ", wrong, " of ", shape.numel(), " features are not finite");
}

FeatureSet from_safetensors(const std::string& path) {
  const Checkpoint file = read_safetensors(path);
  const auto entry = [&](const char* key) -> const std::string& {
    const auto found = file.metadata.find(key);
    SAT_CHECK(found != file.metadata.end(), path, ": features without \"", key, "\" in the metadata");
    return found->second;
  };
  SAT_CHECK(entry("format") == kFeatureFormat, path, ": format is ", quoted(entry("format")), ", that of features is ",
            quoted(kFeatureFormat));
  SAT_CHECK(entry("version") == kFeatureVersion, path, ": features of version ", quoted(entry("version")), "; version ",
            kFeatureVersion, " can be read");
  FeatureSet set;
  set.path = path;
  set.source = feature_source_from_json(Json::parse(entry("source"), path + ", source"), path);
  const Shape names = file.weights.shape_of("images");
  SAT_CHECK(names.numel() <= kMostManifest, path, ": names of ", names.numel(), " bytes, at most ", kMostManifest,
            " are read");
  const Tensor text = file.weights.get("images", names);
  SAT_CHECK(text.dtype == DType::u8, path, ": images are ", text.dtype, ", they should be bytes (u8)");
  set.images =
      Json::parse({reinterpret_cast<const char*>(text.raw()), size_t(text.numel())}, path + ", images").strings();
  set.features = as_floats(file.weights.get("features", file.weights.shape_of("features")));
  const std::vector<std::string> unknown = file.weights.never_read();
  SAT_CHECK(unknown.empty(), path, ": features have no tensor ", quoted(unknown.front()));
  return set;
}

FeatureSet from_npy(const std::string& path) {
  FeatureSet set;
  set.path = path;
  set.features = as_floats(read_npy(path));
  const std::string list = path + ".ids.txt";
  if (exists(manifest_path(path))) {
    const FeatureManifest manifest = read_manifest(manifest_path(path));
    SAT_CHECK(manifest.shape == set.features.shape, path, ": has shape ", set.features.shape, ", its manifest says ",
              manifest.shape);
    set.images = images_of(manifest);
    set.source = manifest.source;
  } else if (exists(list)) {
    set.images = lines_of(read_file(list, kMostManifest), list);
  } else {
    const int64_t rows = set.features.shape.rank() > 0 ? set.features.shape[0] : 0;
    for (int64_t i = 0; i < rows; ++i) set.images.push_back(std::to_string(i));
  }
  return set;
}

FeatureSet from_csv(const std::string& path) {
  const CsvTable table = read_csv(path);
  const int64_t rows = table.rows(), columns = table.columns() - 1;
  SAT_CHECK(rows > 0 && columns > 0, path, ": as a table of features: ", rows, " rows and ", columns,
            " columns of numbers, it needs one of each at least");
  FeatureSet set;
  set.path = path;
  set.features = Tensor({rows, columns});
  float* to = set.features.data<float>();
  for (int64_t row = 0; row < rows; ++row) {
    set.images.emplace_back(table.field(row, 0));
    for (int64_t column = 1; column <= columns; ++column) {
      const std::string_view field = table.field(row, column);
      const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), *to);
      SAT_CHECK(error == std::errc() && end == field.data() + field.size() && std::isfinite(*to), path, ", line ",
                table.line(row), ": ", quoted(field), " in column ", quoted(table.names()[size_t(column)]),
                " is not a finite number");
      ++to;
    }
  }
  if (exists(manifest_path(path))) set.source = read_manifest(manifest_path(path)).source;
  return set;
}

}  // namespace

std::string manifest_path(const std::string& features) { return features + ".json"; }

FeatureManifest read_manifest(const std::string& path) {
  const Json json = Json::parse(read_file(path, kMostManifest), path);
  FeatureManifest manifest;
  try {
    SAT_CHECK(json["format"].string() == kFeatureFormat && json["version"].string() == kFeatureVersion, "format ",
              quoted(json["format"].string()), " of version ", quoted(json["version"].string()),
              " is no manifest of features");
    manifest.program = json["program"].string();
    manifest.source = feature_source_from_json(json["source"], "source");
    manifest.shape = Shape(json["shape"].integers());
    for (const Json& record : json["images"].items()) manifest.records.push_back(feature_record_from_json(record));
  } catch (const Error& error) {
    fail(path, ": ", error.what());
  }
  return manifest;
}

void write_manifest(const std::string& path, const FeatureManifest& manifest) {
  Json shape = Json::array(), images = Json::array();
  for (const int64_t size : manifest.shape.sizes()) shape.push(size);
  for (const FeatureRecord& record : manifest.records) images.push(to_json(record));
  const Json json = Json::object({{"format", kFeatureFormat},
                                  {"version", kFeatureVersion},
                                  {"program", manifest.program},
                                  {"source", to_json(manifest.source)},
                                  {"shape", std::move(shape)},
                                  {"images", std::move(images)}});
  write_file_atomically(path, json.dump(1) + "\n");
}

FeatureSet read_features(const std::string& path) {
  const OpenFile file(path);
  const std::string first = file.text(0, std::min<int64_t>(file.size(), 9));
  FeatureSet set = is_npy(first)                          ? from_npy(path)
                   : first.size() == 9 && first[8] == '{' ? from_safetensors(path)
                                                          : from_csv(path);
  check(set);
  return set;
}

}  // namespace sat
