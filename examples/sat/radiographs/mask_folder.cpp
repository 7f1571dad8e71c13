// From logits to masks on an image's own pixels, a class at a time, and the folder that they are kept in.
#include "examples/sat/radiographs/mask_folder.h"

#include <algorithm>
#include <filesystem>
#include <limits>

#include "examples/sat/output/failure.h"
#include "examples/sat/pictures/canvas.h"
#include "examples/sat/pictures/overlays.h"
#include "examples/sat/segment/case_folder.h"
#include "sat/io/files/file.h"
#include "sat/io/files/folder.h"
#include "sat/io/files/hash.h"
#include "sat/io/images/resize.h"
#include "sat/io/pictures/png.h"
#include "sat/io/words/safe_name.h"
#include "sat/io/words/text.h"

namespace sat::cli {

namespace {

namespace fs = std::filesystem;
constexpr int64_t kLongest = 1024;           // pixels of the overlay's longer side
constexpr int64_t kMostClasses = 254;        // 255 is for what was not seen
constexpr int64_t kLargestRecord = 1 << 24;  // bytes of statistics.json
constexpr const char* kRecord = "/statistics.json";

struct Masks {
  std::vector<Tensor> inside;  // u8 [H, W] a class: 1, 0, or kUnseen
  Tensor labels;               // u8 [H, W] of classes that exclude each other: the class; kUnseen
};

/// One class's logits on the image's own pixels.
Tensor class_scores(const Tensor& logits, int64_t k, const ImagePlacement& placement, float unseen) {
  const int64_t h = logits.shape[0], w = logits.shape[1], K = logits.shape[2];
  Tensor one({h, w});
  for (int64_t i = 0; i < h * w; ++i) one.data<float>()[i] = logits.data<float>()[i * K + k];
  return scores_on_image(one, placement, unseen);
}

Masks masks_on_image(const Tensor& logits, const ImagePlacement& placement, bool each) {
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  const int64_t K = logits.shape[2];
  const Shape size{placement.image.height, placement.image.width};
  Tensor seen({logits.shape[0], logits.shape[1]}, DType::u8);
  std::fill_n(seen.data<uint8_t>(), seen.numel(), uint8_t(1));
  seen = mask_on_image(seen, placement);
  Masks masks;
  masks.labels = Tensor(size, DType::u8);
  Tensor best = full(size, kNever);
  for (int64_t k = 0; k < K; ++k) {
    const Tensor scores = class_scores(logits, k, placement, kNever);
    Tensor inside(each ? size : Shape{0}, DType::u8);
    for (int64_t i = 0, count = scores.numel(); i < count; ++i) {
      const bool here = seen.data<uint8_t>()[i] != kUnseen;
      const float score = scores.data<float>()[i];
      if (each) inside.data<uint8_t>()[i] = here ? uint8_t(score > 0) : kUnseen;
      if (here && score <= best.data<float>()[i]) continue;
      best.data<float>()[i] = score;
      masks.labels.data<uint8_t>()[i] = here ? uint8_t(k) : kUnseen;
    }
    if (each) masks.inside.push_back(inside);
  }
  return masks;
}

/// Pixels, share and place of the pixels of a mask that hold `value`.
Json figures_of(const std::string& name, const Tensor& mask, uint8_t value) {
  const int64_t H = mask.shape[0], W = mask.shape[1];
  int64_t pixels = 0, seen = 0, left = W, top = H, right = 0, bottom = 0;
  double x_sum = 0, y_sum = 0;
  for (int64_t y = 0; y < H; ++y) {
    for (int64_t x = 0; x < W; ++x) {
      const uint8_t here = mask.data<uint8_t>()[y * W + x];
      seen += here != kUnseen;
      if (here != value) continue;
      ++pixels;
      left = std::min(left, x);
      right = std::max(right, x + 1);
      top = std::min(top, y);
      bottom = std::max(bottom, y + 1);
      x_sum += double(x) + 0.5;
      y_sum += double(y) + 0.5;
    }
  }
  Json figures = Json::object(
      {{"class", name}, {"pixels", pixels}, {"share_of_seen", seen > 0 ? double(pixels) / double(seen) : 0.0}});
  if (pixels > 0) {
    figures.set("box", Json::array({Json(left), Json(top), Json(right), Json(bottom)}));
    figures.set("centre", Json::array({Json(x_sum / double(pixels)), Json(y_sum / double(pixels))}));
  }
  return figures;
}

Json settings_json(const MaskSettings& settings) {
  Json classes = Json::array();
  for (const std::string& name : settings.classes) classes.push(name);
  return Json::object(
      {{"classes", classes}, {"rule", settings.each ? "each above 0" : "largest"}, {"source", settings.source}});
}

Json classes_json(const Masks& masks, const MaskSettings& settings) {
  Json classes = Json::array();
  for (size_t k = 0; k < settings.classes.size(); ++k) {
    classes.push(settings.each ? figures_of(settings.classes[k], masks.inside[k], 1)
                               : figures_of(settings.classes[k], masks.labels, uint8_t(k)));
  }
  return classes;
}

Tensor overlay(const ReadyImage& image, const Masks& masks, const MaskSettings& settings, const Json& classes) {
  Tensor picture = picture_of(image.loaded.image, kLongest);
  const ImageSize size{picture.shape[0], picture.shape[1]};
  const auto shown = [&](const Tensor& mask) {
    const Image8 whole(mask.reshape({mask.shape[0], mask.shape[1], 1}));
    return resize_nearest(whole, size).pixels.reshape({size.height, size.width});
  };
  std::vector<Line> lines{{image.listed.name}};
  const auto tell = [&](size_t k, int64_t colour) {
    lines.push_back({settings.classes[k] + ": " + fixed(100 * classes[k]["share_of_seen"].number(), 1) + " %",
                     class_colour(colour)});
  };
  if (settings.each) {
    for (size_t k = 0; k < masks.inside.size(); ++k) {
      Tensor labels = shown(masks.inside[k]);
      for (int64_t i = 0, count = labels.numel(); i < count; ++i) {
        uint8_t& label = labels.data<uint8_t>()[i];
        label = label == kUnseen && k > 0 ? uint8_t(0) : label == 1 ? uint8_t(k + 1) : label;
      }
      draw_labels(picture, labels, kUnseen);
      tell(k, int64_t(k));
    }
  } else {
    draw_labels(picture, shown(masks.labels), kUnseen);
    for (size_t k = 1; k < settings.classes.size(); ++k) tell(k, int64_t(k) - 1);
  }
  for (const Line& line : remark_lines(settings.remark)) lines.push_back(line);
  return with_lines(picture, lines);
}

/// A picture of a mask whose pixels are numbers: [H, W, 1].
Tensor as_grey(const Tensor& mask) { return mask.reshape({mask.shape[0], mask.shape[1], 1}); }

/// 255 inside, 0 outside or not seen.
Tensor black_and_white(const Tensor& inside) {
  Tensor pixels(inside.shape, DType::u8);
  for (int64_t i = 0, count = inside.numel(); i < count; ++i) {
    pixels.data<uint8_t>()[i] = inside.data<uint8_t>()[i] == 1 ? 255 : 0;
  }
  return pixels;
}

}  // namespace

bool has_masks(const std::string& folder, const std::string& identity, const MaskSettings& settings) {
  if (!fs::exists(folder)) return false;
  const auto refuse = [&](const std::string& why) {
    throw Failure(FailureKind::output, folder + " " + why + "; --overwrite replaces it");
  };
  if (!fs::is_regular_file(folder + kRecord)) refuse("is there and holds no result of sat segment2d");
  const std::string path = folder + kRecord;
  const Json record = Json::parse(read_file(path, kLargestRecord), path);
  if (record["image_sha256"].string() != identity) refuse("holds the masks of another image");
  if (record["settings"].dump() != settings_json(settings).dump()) refuse("holds masks made with other settings");
  for (const Json& file : record["files"].items()) {
    const std::string& name = file["name"].string();
    if (!fs::is_regular_file(folder + "/" + name)) refuse("lacks " + name);
    if (sha256_of_file(folder + "/" + name) != file["sha256"].string()) {
      refuse("holds " + name + ", which somebody changed");
    }
  }
  return true;
}

Json write_masks(const std::string& folder, const ReadyImage& image, const Tensor& logits, const MaskSettings& settings,
                 bool overwrite) {
  SAT_CHECK(logits.shape[2] <= kMostClasses, folder, ": ", logits.shape[2], " classes, a mask holds at most ",
            kMostClasses);
  const Masks masks = masks_on_image(logits, image.prepared.placement, settings.each);
  const Json classes = classes_json(masks, settings);
  const fs::path place(folder);
  CaseFolder made(place.parent_path().string(), place.filename().string());
  const std::string& making = made.path();
  Json files = Json::array();
  const auto write = [&](const std::string& name, const Tensor& pixels) {
    write_png(making + "/" + name, pixels);
    files.push(Json::object({{"name", name}, {"sha256", sha256_of_file(making + "/" + name)}}));
  };
  if (settings.each) {
    const std::vector<std::string> names = safe_names(settings.classes);
    for (size_t k = 0; k < names.size(); ++k)
      write("mask-" + names[k] + ".png", as_grey(black_and_white(masks.inside[k])));
  } else {
    write("mask.png", as_grey(masks.labels));
  }
  write("overlay.png", overlay(image, masks, settings, classes));
  Json record = Json::object({{"image", image.listed.name},
                              {"image_sha256", image.identity},
                              {"image_facts", to_json(image.loaded.facts)},
                              {"program", SAT_VERSION},
                              {"settings", settings_json(settings)},
                              {"classes", classes},
                              {"files", files}});
  if (!settings.remark.empty()) record.set("remark", settings.remark);
  write_file_atomically(making + kRecord, record.dump(1) + "\n");
  made.commit({}, [&] {
    if (!fs::exists(folder)) return;
    SAT_CHECK(overwrite, folder, ": another run has written it meanwhile");
    SAT_CHECK(fs::is_regular_file(folder + kRecord), folder,
              ": it holds no result of sat segment2d, and is not removed");
  });
  return classes;
}

}  // namespace sat::cli
