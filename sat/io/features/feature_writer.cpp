// Features from the growing file to the finished ones.
#include "sat/io/features/feature_writer.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>

#include "sat/io/arrays/npy.h"
#include "sat/io/checkpoints/safetensors.h"
#include "sat/io/files/file.h"
#include "sat/io/files/posix.h"
#include "sat/io/tables/csv.h"
#include "sat/io/words/text.h"

namespace sat {

namespace {

/// What rows of a file are, in one line.
std::string settings_of(const FeatureSource& source, const Shape& row) {
  Json sizes = Json::array();
  for (const int64_t size : row.sizes()) sizes.push(size);
  return Json::object({{"format", kFeatureFormat},
                       {"version", kFeatureVersion},
                       {"source", to_json(source)},
                       {"row", std::move(sizes)}})
      .dump();
}

Shape stacked(int64_t rows, const Shape& row) {
  std::vector<int64_t> sizes = row.sizes();
  sizes.insert(sizes.begin(), rows);
  return Shape(sizes);
}

bool is_file(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

FeatureForm form_for(const std::string& path, const Shape& row) {
  const FeatureForm form = feature_form_of(path);
  SAT_CHECK(row.numel() > 0 && (row.rank() == 1 || (row.rank() == 2 && form != FeatureForm::csv)), path,
            ": features of shape ", row, " an image; a .csv takes [channels], the others also [tokens, channels]");
  return form;
}

std::string safetensors_before_rows(const std::string& path, const std::string& names, const Shape& shape,
                                    const FeatureSource& source) {
  return safetensors_head(
      {{"features", shape, DType::f32}, {"images", {int64_t(names.size())}, DType::u8}},
      {{"format", kFeatureFormat}, {"version", kFeatureVersion}, {"source", to_json(source).dump()}}, path);
}

std::string csv_header(int64_t columns) {
  std::string line = "image";
  for (int64_t i = 0; i < columns; ++i) line += ",f" + std::to_string(i);
  return line + "\n";
}

std::string csv_line(const std::string& image, const Tensor& row) {
  std::string line;
  append_csv_field(line, image);
  const float* values = row.data<float>();
  for (int64_t i = 0, count = row.numel(); i < count; ++i) {
    char digits[32];
    line += ',';
    line.append(digits, std::to_chars(digits, digits + sizeof digits, values[i]).ptr);
  }
  return line + "\n";
}

}  // namespace

FeatureForm feature_form_of(const std::string& path) {
  if (has_extension(path, ".safetensors")) return FeatureForm::safetensors;
  if (has_extension(path, ".npy")) return FeatureForm::npy;
  if (has_extension(path, ".csv")) return FeatureForm::csv;
  fail(path, ": features go to a file that ends in .safetensors, .npy or .csv");
}

FeatureWriter::FeatureWriter(const std::string& path, const FeatureSource& source, const Shape& row,
                             const std::string& program, bool afresh)
    : path_(path),
      program_(program),
      form_(form_for(path, row)),
      source_(source),
      row_(row),
      log_(path + ".partial", settings_of(source, row), row.numel() * int64_t(sizeof(float)), afresh) {
  if (!afresh && log_.records() == 0 && is_file(path_) && is_file(manifest_path(path_))) take_over_finished();
}

void FeatureWriter::take_over_finished() {
  const FeatureManifest manifest = read_manifest(manifest_path(path_));
  const std::string differs = difference(manifest.source, source_);
  const Shape row = manifest.shape.rank() > 0 ? manifest.shape.drop_front() : Shape();
  const std::string begun = settings_of(manifest.source, row);
  SAT_CHECK(begun == settings_of(source_, row_), path_,
            ": it holds other features: ", differs.empty() ? "rows or settings differ" : differs);
  const FeatureSet set = read_features(path_);
  int64_t at = 0;
  for (const FeatureRecord& record : manifest.records) {
    if (!record.error.empty()) continue;
    SAT_CHECK(at < set.size() && set.images[size_t(at)] == record.image, path_, ": its rows are not those of ",
              manifest_path(path_));
    append(record.image, record.identity, set.features.select(at));
    ++at;
  }
}

bool FeatureWriter::has(const std::string& image, const std::string& identity) const {
  const FeatureRecord* record = log_.find(image);
  return record && record->error.empty() && (identity.empty() || record->identity == identity);
}

void FeatureWriter::append(const std::string& image, const std::string& identity, const Tensor& row) {
  SAT_CHECK(row.shape == row_ && row.dtype == DType::f32, path_, ": features of image ", quoted(image), " are ",
            row.dtype, " of shape ", row.shape, ", they should be f32 of shape ", row_);
  const int64_t wrong = count_not_finite(row);
  SAT_CHECK(wrong == 0, path_, ": ", wrong, " of ", row.numel(), " features of image ", quoted(image),
            " are not finite");
  log_.append({image, identity, ""}, row.raw());
}

void FeatureWriter::append_failure(const std::string& image, const std::string& identity, const std::string& why) {
  log_.append({image, identity, why.empty() ? "it failed" : why}, nullptr);
}

int64_t FeatureWriter::finish(const std::vector<std::string>& images) {
  FeatureManifest manifest;
  manifest.program = program_;
  manifest.source = source_;
  Json names = Json::array();
  int64_t rows = 0;
  for (const std::string& image : images) {
    const FeatureRecord* record = log_.find(image);
    if (!record) continue;
    manifest.records.push_back(*record);
    if (!record->error.empty()) continue;
    names.push(image);
    ++rows;
  }
  SAT_CHECK(rows > 0, path_, ": none of ", images.size(), " images has features");
  manifest.shape = stacked(rows, row_);

  // Whoever finds a manifest finds the features that it describes.
  SAT_CHECK(::unlink(manifest_path(path_).c_str()) == 0 || errno == ENOENT, "cannot remove ", manifest_path(path_),
            ": ", system_reason(errno));
  AtomicFile file(path_);
  const std::string listed = names.dump();
  if (form_ == FeatureForm::safetensors) file.write(safetensors_before_rows(path_, listed, manifest.shape, source_));
  if (form_ == FeatureForm::npy) file.write(npy_head(manifest.shape, DType::f32));
  if (form_ == FeatureForm::csv) file.write(csv_header(row_.numel()));
  Tensor row(row_);
  for (const FeatureRecord& record : manifest.records) {
    if (!record.error.empty()) continue;
    log_.read_row(record.image, row.raw());
    if (form_ == FeatureForm::csv) {
      file.write(csv_line(record.image, row));
    } else {
      file.write(row.raw(), row.bytes());
    }
  }
  if (form_ == FeatureForm::safetensors) file.write(listed);
  file.commit();
  write_manifest(manifest_path(path_), manifest);
  log_.remove();
  return rows;
}

void write_features(const FeatureSet& set, const std::string& program) {
  FeatureWriter writer(set.path, set.source, set.features.shape.drop_front(), program, true);
  for (int64_t i = 0; i < set.size(); ++i) writer.append(set.images[size_t(i)], "", set.features.select(i));
  writer.finish(set.images);
}

}  // namespace sat
