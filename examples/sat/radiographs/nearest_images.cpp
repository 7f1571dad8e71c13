// sat nearest: which images' features point most nearly the same way, as a table and a sheet of pictures.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "examples/sat/command_line/command_line.h"
#include "examples/sat/interrupt.h"
#include "examples/sat/output/failure.h"
#include "examples/sat/output/output.h"
#include "examples/sat/pictures/canvas.h"
#include "examples/sat/radiographs/image_encoder.h"
#include "examples/sat/radiographs/input/image_reports.h"
#include "sat/io/features/feature_set.h"
#include "sat/io/pictures/png.h"
#include "sat/io/tables/csv.h"
#include "sat/io/words/text.h"

namespace sat::cli {

namespace {

namespace fs = std::filesystem;
constexpr int64_t kThumbnail = 224;     // pixels
constexpr int64_t kMostSheetRows = 50;  // queries on a sheet

/// Features by name, and where their images lie if that is known.
struct Gallery {
  FeatureSet set;
  std::map<std::string, std::string> paths;
};

/// The encoder, opened when it is first needed.
class LateEncoder {
 public:
  LateEncoder(const NearestRequest& request, ProgressView& view) : request_(request), view_(view) {}

  /// For features of this source, or any where it is empty.
  const ImageEncoder& get(const FeatureSource& wanted) {
    if (encoder_) return *encoder_;
    if (request_.with.model.model.empty()) throw UsageError("--model is needed to encode images");
    view_.stage("loading the model");
    ImageModelChoice choice = request_.with;
    if (choice.size == 0 && wanted.preprocessing.kind() == Json::Kind::object) {
      if (const Json* size = wanted.preprocessing.find("size")) choice.size = size->integer();
    }
    encoder_ = std::make_unique<ImageEncoder>(choice);
    options_.layers = wanted.layers;
    if (!wanted.tokens.empty()) options_.tokens = parse_image_tokens(wanted.tokens);
    options_.normed = wanted.norm.empty() ? encoder_->model().has_final_norm() : wanted.norm != "none";
    return *encoder_;
  }
  const EncodeOptions& options() const { return options_; }
  std::string remark() const { return encoder_ ? encoder_->model().remark() : ""; }

 private:
  const NearestRequest& request_;
  ProgressView& view_;
  std::unique_ptr<ImageEncoder> encoder_;
  EncodeOptions options_;
};

/// Features [C] of each image that can be read, by its place in the list.
std::map<std::string, Tensor> encode(const ImageEncoder& encoder, const EncodeOptions& options,
                                     const std::vector<ListedImage>& images, ImageReports& reports,
                                     ProgressView& view) {
  UseContext use(encoder.context());
  std::map<std::string, Tensor> rows;
  BatchSteps steps;
  steps.wanted = [](const ListedImage&) { return true; };
  steps.batch = [&](const std::vector<ReadyImage>& ready) {
    const Tensor features = encoder.model().encode(joined_inputs(ready), options).features;
    for (size_t i = 0; i < ready.size(); ++i) rows[ready[i].listed.path] = features.select(int64_t(i)).clone();
  };
  steps.failed = [&](const ListedImage& image, const std::exception& error) { reports.failed(image, error); };
  steps.progress = [&](int64_t looked_at) { view.count("encoding", "images", looked_at, int64_t(images.size())); };
  in_batches(encoder.reader(), images, encoder.batch(&options), steps);
  return rows;
}

Gallery gallery_of(const NearestRequest& request, LateEncoder& encoder, ImageReports& reports, ProgressView& view) {
  Gallery gallery;
  if (!fs::is_directory(request.in)) {
    gallery.set = read_features(request.in);
    SAT_CHECK(gallery.set.features.shape.rank() == 2, request.in, ": features of shape ", gallery.set.features.shape,
              "; images are compared by one row each");
    if (!request.folder.empty()) {
      for (const ListedImage& image : list_images({request.folder})) gallery.paths[image.name] = image.path;
    }
    return gallery;
  }
  const std::vector<ListedImage> images = list_images({request.in});
  const ImageEncoder& opened = encoder.get({});
  const std::map<std::string, Tensor> rows = encode(opened, encoder.options(), images, reports, view);
  SAT_CHECK(!rows.empty(), request.in, ": no image of this folder could be encoded");
  gallery.set.features = Tensor({int64_t(rows.size()), rows.begin()->second.numel()});
  for (const ListedImage& image : images) {
    const auto row = rows.find(image.path);
    if (row == rows.end()) continue;
    copy_into(gallery.set.features, gallery.set.size(), row->second.reshape({1, row->second.numel()}));
    gallery.set.images.push_back(image.name);
    gallery.paths[image.name] = image.path;
  }
  gallery.set.source = opened.source(encoder.options());
  gallery.set.path = request.in;
  return gallery;
}

struct Neighbour {
  int64_t row;
  double cosine;
};

/// The nearest rows by cosine, without `self`; equal ones in the order of the rows.
std::vector<Neighbour> nearest(const FeatureSet& set, const Tensor& query, const std::string& self, int64_t count) {
  const int64_t C = set.features.shape[1];
  const auto length = [C](const float* x) {
    double sum = 0;
    for (int64_t c = 0; c < C; ++c) sum += double(x[c]) * double(x[c]);
    return std::sqrt(sum);
  };
  const float* q = query.data<float>();
  const double of_query = length(q);
  std::vector<Neighbour> all;
  for (int64_t row = 0; row < set.size(); ++row) {
    if (set.images[size_t(row)] == self) continue;
    const float* x = set.features.data<float>() + row * C;
    double sum = 0;
    for (int64_t c = 0; c < C; ++c) sum += double(q[c]) * double(x[c]);
    const double lengths = of_query * length(x);
    all.push_back({row, lengths > 0 ? sum / lengths : 0});
  }
  std::stable_sort(all.begin(), all.end(), [](const Neighbour& a, const Neighbour& b) { return a.cosine > b.cosine; });
  if (int64_t(all.size()) > count) all.resize(size_t(count));
  return all;
}

/// A small picture of an image, or a blank one where it is not known or cannot be read.
Tensor thumbnail(const std::string& path, const ImageOptions& reading, const std::vector<Line>& lines) {
  Tensor cell = empty_picture(kThumbnail, kThumbnail);
  try {
    if (!path.empty()) {
      const Tensor picture = picture_of(load_image(path, reading).image, kThumbnail);
      paste(cell, (kThumbnail - picture.shape[1]) / 2, (kThumbnail - picture.shape[0]) / 2, picture);
    } else {
      draw_text(cell, 8, kThumbnail / 2, "image not given", kTextScale, kFaint);
    }
  } catch (const Error&) {
    draw_text(cell, 8, kThumbnail / 2, "cannot be read", kTextScale, kFaint);
  }
  return with_lines(cell, lines);
}

struct Query {
  std::string name, path;
  std::vector<Neighbour> found;
};

void write_sheet(const NearestRequest& request, const Gallery& gallery, const std::vector<Query>& queries,
                 const std::string& remark) {
  std::vector<Tensor> cells;
  const auto path_of = [&](const std::string& name) {
    const auto found = gallery.paths.find(name);
    return found == gallery.paths.end() ? std::string() : found->second;
  };
  for (size_t i = 0; i < queries.size() && int64_t(i) < kMostSheetRows; ++i) {
    const Query& query = queries[i];
    const std::string path = query.path.empty() ? path_of(query.name) : query.path;
    cells.push_back(thumbnail(path, request.with.reading, {{"query", class_colour(3)}, {query.name}}));
    for (int64_t k = 0; k < request.count; ++k) {
      if (k >= int64_t(query.found.size())) {
        cells.push_back(empty_picture(1, 1));
        continue;
      }
      const Neighbour& one = query.found[size_t(k)];
      const std::string& name = gallery.set.images[size_t(one.row)];
      cells.push_back(thumbnail(path_of(name), request.with.reading, {{fixed(one.cosine, 4), kFaint}, {name}}));
    }
  }
  std::vector<Line> lines{{"nearest images by the cosine of their features"}};
  for (const Line& line : remark_lines(remark)) lines.push_back(line);
  write_png(request.output, with_lines(grid_of(cells, 1 + request.count), lines));
}

}  // namespace

int run(const NearestRequest& request) {
  ProgressView view(request.quiet);
  view.start("nearest");
  LateEncoder encoder(request, view);
  ImageReports reports(view, request.as_json, std::max<int64_t>(1, int64_t(request.queries.size())));
  const Gallery gallery = gallery_of(request, encoder, reports, view);
  const FeatureSet& set = gallery.set;

  std::vector<ListedImage> files;
  for (const std::string& name : request.queries) {
    if (std::find(set.images.begin(), set.images.end(), name) == set.images.end()) files.push_back({name, name, ""});
  }
  std::map<std::string, Tensor> encoded;
  if (!files.empty()) {
    std::vector<std::string> paths;
    for (const ListedImage& file : files) paths.push_back(file.path);
    files = list_images(paths);
    const ImageEncoder& opened = encoder.get(set.source);
    const std::string differs = difference(opened.source(encoder.options()), set.source);
    SAT_CHECK(differs.empty(), request.in, ": its features cannot be compared with those of ", request.with.model.model,
              ": ", differs);
    encoded = encode(opened, encoder.options(), files, reports, view);
  }

  std::vector<Query> queries;
  for (size_t row = 0; row < set.images.size(); ++row) {
    if (std::find(request.queries.begin(), request.queries.end(), set.images[row]) == request.queries.end()) continue;
    const std::string& name = set.images[row];
    queries.push_back({name, "", nearest(set, set.features.select(int64_t(row)), name, request.count)});
  }
  for (const ListedImage& file : files) {
    const auto row = encoded.find(file.path);
    if (row == encoded.end()) continue;
    SAT_CHECK(row->second.numel() == set.features.shape[1], request.in, ": features of ", set.features.shape[1],
              " channels, those of ", file.path, " have ", row->second.numel());
    queries.push_back({file.name, file.path, nearest(set, row->second, file.name, request.count)});
  }
  const std::string remark = encoder.remark().empty() ? set.source.remark : encoder.remark();

  std::string table = std::string("query,rank,image,cosine") + (remark.empty() ? "\n" : ",remark\n");
  Json answers = Json::array();
  for (const Query& query : queries) {
    Json found = Json::array();
    for (size_t k = 0; k < query.found.size(); ++k) {
      const std::string& name = set.images[size_t(query.found[k].row)];
      append_csv_field(table, query.name);
      table += "," + std::to_string(k + 1) + ",";
      append_csv_field(table, name);
      table += "," + significant(query.found[k].cosine, 9) + (remark.empty() ? "\n" : "," + remark + "\n");
      found.push(Json::object({{"image", name}, {"cosine", query.found[k].cosine}}));
    }
    answers.push(Json::object({{"query", query.name}, {"nearest", found}}));
  }
  view.clear();
  if (!request.output.empty() && !queries.empty()) {
    failing_as(FailureKind::output, [&] { write_sheet(request, gallery, queries, remark); });
  }
  if (request.as_json) {
    Json line = Json::object({{"queries", answers}});
    if (!remark.empty()) line.set("remark", remark);
    print_now(line.dump() + "\n");
  } else {
    write_table("", table);
  }
  if (!remark.empty()) view.line(remark);
  return queries.empty() ? kFailed : reports.status();
}

}  // namespace sat::cli
