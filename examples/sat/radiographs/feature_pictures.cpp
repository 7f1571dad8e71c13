// Panels of attention and of components, with their words.
#include "examples/sat/radiographs/feature_pictures.h"

#include <cmath>
#include <filesystem>

#include "examples/sat/pictures/canvas.h"
#include "examples/sat/pictures/components.h"
#include "examples/sat/pictures/overlays.h"
#include "sat/io/arrays/npy.h"
#include "sat/io/pictures/png.h"
#include "sat/io/words/text.h"

namespace sat::cli {

namespace {

constexpr int64_t kPanel = 518;  // the most pixels of a panel's side

void add_lines(std::vector<Line>& lines, const std::vector<Line>& more) {
  lines.insert(lines.end(), more.begin(), more.end());
}

}  // namespace

AttentionMaps class_attention(const EncodedImages& encoded, int64_t image) {
  const Tensor weights = encoded.attention.select(image);  // [heads, T, T], of which row 0 is the class token's
  const int64_t heads = weights.shape[0], tokens = weights.shape[1];
  Tensor maps({heads, encoded.grid[0], encoded.grid[1]});
  for (int64_t head = 0; head < heads; ++head) {
    std::copy_n(weights.data<float>() + head * tokens * tokens + encoded.special, tokens - encoded.special,
                maps.data<float>() + head * (tokens - encoded.special));
  }
  return maps;
}

std::string attention_folder(const std::string& output) {
  const std::filesystem::path path(output);
  return (path.parent_path() / (path.stem().string() + "-attention")).string();
}

void write_attention(const AttentionMaps& maps, const ReadyImage& image, const EncodeOptions& options,
                     const std::string& remark, const std::string& path) {
  write_npy(path + ".npy", maps);
  const int64_t heads = maps.shape[0];
  std::vector<Tensor> panels;
  for (int64_t head = 0; head < heads; ++head) {
    Tensor panel = picture_of(image.prepared.pixels, heads == 1 ? kPanel : kPanel / 2);
    draw_heat(panel, maps.select(head));
    const int64_t number = options.head >= 0 ? options.head : head;
    panels.push_back(with_lines(panel, {{"head " + std::to_string(number), kFaint}}));
  }
  std::vector<Line> lines{{image.listed.name},
                          {"attention of the class token, block " + std::to_string(options.attention), kFaint}};
  add_lines(lines, remark_lines(remark));
  const auto columns = int64_t(std::ceil(std::sqrt(double(heads))));
  write_png(path + ".png", with_lines(grid_of(panels, columns), lines));
}

void write_components(const ImageEncoder& encoder, const std::vector<ListedImage>& images, const std::string& path) {
  std::vector<ReadyImage> kept;
  std::vector<Tensor> patches;
  EncodeOptions options;
  options.tokens = ImageTokens::patches;
  options.normed = encoder.model().has_final_norm();
  std::array<int64_t, 2> grid{};
  BatchSteps steps;
  steps.wanted = [&](const ListedImage&) { return int64_t(kept.size()) < kMostComponentImages; };
  steps.batch = [&](const std::vector<ReadyImage>& ready) {
    const EncodedImages encoded = encoder.model().encode(joined_inputs(ready), options);
    grid = encoded.grid;
    patches.push_back(encoded.features.select(0));
    kept.insert(kept.end(), ready.begin(), ready.end());
  };
  steps.failed = [](const ListedImage&, const std::exception&) {};  // said when they were encoded
  steps.progress = [](int64_t) {};
  in_batches(encoder.reader(), images, 1, steps);
  SAT_CHECK(!kept.empty(), path, ": no image could be read");

  const int64_t count = patches[0].shape[0], C = patches[0].shape[1];
  Tensor rows({int64_t(kept.size()) * count, C});
  for (size_t i = 0; i < patches.size(); ++i) copy_into(rows, int64_t(i) * count, patches[i]);
  const Components components = principal_components(rows);
  const Tensor colours = component_colours(projected(components, rows));

  const int64_t side = kept.size() == 1 ? kPanel : kPanel / 2;
  std::vector<Tensor> panels;
  for (size_t i = 0; i < kept.size(); ++i) {
    const Tensor image = picture_of(kept[i].prepared.pixels, side);
    const Tensor cells =
        colours.slice(int64_t(i) * count, int64_t(i + 1) * count).clone().reshape({grid[0], grid[1], kComponents});
    Tensor pair = empty_picture(2 * image.shape[1], image.shape[0]);
    paste(pair, 0, 0, image);
    paste(pair, image.shape[1], 0, enlarged(cells, image.shape[1], image.shape[0]));
    panels.push_back(with_lines(pair, {{kept[i].listed.name, kFaint}}));
  }
  const auto percent = [&](size_t i) { return fixed(100 * components.share[i], 1) + " %"; };
  std::vector<Line> lines{{"components 1, 2, 3 of the patches as red, green, blue"},
                          {"share of the variance: " + percent(0) + ", " + percent(1) + ", " + percent(2), kFaint}};
  add_lines(lines, remark_lines(encoder.model().remark()));
  write_png(path, with_lines(grid_of(panels, panels.size() > 4 ? 2 : 1), lines));
}

}  // namespace sat::cli
