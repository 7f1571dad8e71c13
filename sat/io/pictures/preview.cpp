// Planes are sampled on the fly, a pixel at a time, from voxels and bits; nothing of the volume's size is made.
#include "sat/io/pictures/preview.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "sat/io/masks/label_map.h"
#include "sat/io/pictures/bitmap_font.h"
#include "sat/io/scans/resample.h"
#include "sat/io/words/modality.h"
#include "sat/io/words/text.h"
#include "sat/tensor/parallel.h"

namespace sat {

namespace {

constexpr int64_t kPanelHeight = 380, kPanelWidth = 460;  // pixels that a panel fits into
constexpr std::array<double, 2> kLongestSide{3, 1.8};     // of what a panel shows across and up, against the other side
constexpr double kBorder = 0.03;                          // shown around the patient, of the patient's length
constexpr int64_t kRowsAtOnce = 16;                       // of pixels, for one thread
constexpr int64_t kLineVoxels = 3;                        // fewer than this in a line are noise, not patient
constexpr int64_t kMargin = 14, kMaxLegendEntries = 60;
constexpr int64_t kMaxNameLength = 42;  // characters in the legend
constexpr double kTint = 0.36;
constexpr Colour kWarning{255, 176, 64};
constexpr const char* kUnknownSides = "orientation unknown: left and right are unreliable";

/// The scan seen in RAS order: axis k here is axis order.from[k] of the array, backwards where order.reversed[k].
struct View {
  const Volume& scan;
  AxisOrder order;
  std::array<int64_t, 3> size{};       // voxels
  std::array<double, 3> spacing_mm{};  // a voxel
  std::array<int64_t, 3> plane{};      // where the planes cut

  std::array<int64_t, 3> to_array(const std::array<int64_t, 3>& index) const {
    std::array<int64_t, 3> voxel{};
    for (size_t k = 0; k < 3; ++k) voxel[size_t(order.from[k])] = order.reversed[k] ? size[k] - 1 - index[k] : index[k];
    return voxel;
  }
};

/// One of the three pictures: which view axes run along it, and whether they run against the pixel order.
struct Panel {
  const char* name;
  size_t across, up, through;
  const char* letters[4];  // left, right, top, bottom
};
constexpr std::array<Panel, 3> kPanels{{{"axial", 0, 1, 2, {"R", "L", "A", "P"}},
                                        {"coronal", 0, 2, 1, {"R", "L", "S", "I"}},
                                        {"sagittal", 1, 2, 0, {"A", "P", "S", "I"}}}};

View make_view(const Volume& scan, const PreviewPlanes& planes) {
  View view{scan, axis_order(scan.geometry.voxel_to_world_mm, "RAS"), {}, {}, {}};
  const std::array<double, 3> norms = column_norms(scan.geometry.voxel_to_world_mm);
  for (size_t k = 0; k < 3; ++k) {
    const size_t from = size_t(view.order.from[k]);
    view.size[k] = scan.geometry.size[from];
    view.spacing_mm[k] = norms[from];
    view.plane[k] = view.order.reversed[k] ? view.size[k] - 1 - planes.voxel[from] : planes.voxel[from];
  }
  return view;
}

/// What a panel shows along one axis, in voxels, edges included: -0.5 is the lower edge of voxel 0.
struct Range {
  double first = 0, last = 0;
  double length() const { return last - first; }
};

/// The lines that hold part of the patient, with a border; all of them if none does.
Range patient_range(const std::vector<int64_t>& voxels_a_line) {
  const auto is_patient = [](int64_t voxels) { return voxels >= kLineVoxels; };
  const auto start = std::find_if(voxels_a_line.begin(), voxels_a_line.end(), is_patient);
  const double size = double(voxels_a_line.size());
  if (start == voxels_a_line.end()) return {-0.5, size - 0.5};
  const auto end = std::find_if(voxels_a_line.rbegin(), voxels_a_line.rend(), is_patient).base();
  const double border = std::ceil(kBorder * double(end - start));
  return {std::max(double(start - voxels_a_line.begin()) - border, 0.0) - 0.5,
          std::min(double(end - voxels_a_line.begin()) + border, size) - 0.5};
}

/// Of `prompts`, those whose mask may have voxels in the panel's plane, in the same order.
std::vector<int64_t> in_plane(const View& view, const Panel& panel, const std::vector<VoxelBox>& boxes,
                              std::vector<int64_t> prompts) {
  const auto axis = size_t(view.order.from[panel.through]);  // of the array, along which the panel cuts
  const int64_t cut = view.to_array(view.plane)[axis];
  const auto misses = [&](int64_t prompt) {
    return cut < boxes[size_t(prompt)].start[axis] || cut >= boxes[size_t(prompt)].end[axis];
  };
  prompts.erase(std::remove_if(prompts.begin(), prompts.end(), misses), prompts.end());
  return prompts;
}

/// Along across and up: the part of the plane where there are masks, of the prompts given, or voxels clearly brighter
/// than air.
std::array<Range, 2> shown_part(const View& view, const Panel& panel, const BitMasks& masks,
                                const std::vector<int64_t>& prompts, const DisplayWindow& window) {
  const float threshold = window.low + 0.2f * (window.high - window.low);
  const Shape& shape = view.scan.voxels.shape;
  const float* values = view.scan.voxels.data<float>();
  std::vector<int64_t> columns(size_t(view.size[panel.across])), rows(size_t(view.size[panel.up]));
  std::array<int64_t, 3> index = view.plane;
  for (int64_t u = 0; u < view.size[panel.across]; ++u) {
    for (int64_t v = 0; v < view.size[panel.up]; ++v) {
      index[panel.across] = u, index[panel.up] = v;
      const auto [h, w, d] = view.to_array(index);
      bool patient = values[(h * shape[1] + w) * shape[2] + d] > threshold;
      for (size_t i = 0; i < prompts.size() && !patient; ++i) patient = masks.get(prompts[i], h, w, d);
      columns[size_t(u)] += patient, rows[size_t(v)] += patient;
    }
  }
  std::array<Range, 2> part{patient_range(columns), patient_range(rows)};
  const std::array<double, 2> mm{view.spacing_mm[panel.across], view.spacing_mm[panel.up]};
  for (size_t side = 0; side < 2; ++side) {  // of a whole body only what lies around the other planes
    const double longest = kLongestSide[side] * part[1 - side].length() * mm[1 - side] / mm[side];
    if (part[side].length() <= longest) continue;
    const double middle = double(view.plane[side == 0 ? panel.across : panel.up]);
    part[side].first = std::clamp(middle - longest / 2, part[side].first, part[side].last - longest);
    part[side].last = part[side].first + longest;
  }
  return part;
}

/// The four voxels around a pixel's centre in a panel's plane, and their shares.
struct Sample {
  std::array<std::array<int64_t, 3>, 4> voxels;
  std::array<double, 4> shares;
};

/// A panel at its place in the image.
struct Placed {
  const Panel& panel;
  const View& view;
  std::array<Range, 2> part;    // along across and up
  int64_t x, y, width, height;  // pixels
  double pixel_mm;

  double position(const Range& range, size_t axis, double share) const {
    return std::clamp(range.first + share * range.length(), 0.0, double(view.size[axis] - 1));
  }

  Sample sample(int64_t column, int64_t row) const {
    const double right = (double(column) + 0.5) / double(width);
    // The view's axes grow to the patient's right, front and top. Axial and coronal pictures have the right of the
    // patient on the left, the sagittal has the front there: all of them run against the pixels.
    const double u = position(part[0], panel.across, 1 - right);
    const double v = position(part[1], panel.up, 1 - (double(row) + 0.5) / double(height));
    const int64_t u0 = int64_t(u), v0 = int64_t(v);
    const int64_t u1 = std::min(u0 + 1, view.size[panel.across] - 1), v1 = std::min(v0 + 1, view.size[panel.up] - 1);
    const double du = u - double(u0), dv = v - double(v0);
    Sample at;
    at.shares = {(1 - du) * (1 - dv), du * (1 - dv), (1 - du) * dv, du * dv};
    const std::array<std::array<int64_t, 2>, 4> corners{{{u0, v0}, {u1, v0}, {u0, v1}, {u1, v1}}};
    for (size_t c = 0; c < 4; ++c) {
      std::array<int64_t, 3> index = view.plane;
      index[panel.across] = corners[c][0];
      index[panel.up] = corners[c][1];
      at.voxels[c] = view.to_array(index);
    }
    return at;
  }
};

void draw_scan(Tensor& image, const Placed& placed, const DisplayWindow& window) {
  const Tensor& voxels = placed.view.scan.voxels;
  const float* values = voxels.data<float>();
  const double range = std::max(double(window.high) - double(window.low), 1e-12);
  for (int64_t row = 0; row < placed.height; ++row) {
    for (int64_t column = 0; column < placed.width; ++column) {
      const Sample at = placed.sample(column, row);
      double value = 0;
      for (size_t c = 0; c < 4; ++c) {
        const auto& [h, w, d] = at.voxels[c];
        const double voxel = double(values[(h * voxels.shape[1] + w) * voxels.shape[2] + d]);
        value += at.shares[c] * (std::isfinite(voxel) ? voxel : double(window.low));
      }
      const uint8_t grey = uint8_t(std::lround(255 * std::clamp((value - double(window.low)) / range, 0.0, 1.0)));
      blend_pixel(image, placed.x + column, placed.y + row, {grey, grey, grey}, 1);
    }
  }
}

/// The bits that a panel's pixels look at, the same for every prompt: four a pixel, rows first.
struct PixelBits {
  struct Corner {
    int64_t byte;  // from the prompt's first
    int bit;
    double share;
  };
  std::vector<Corner> corners;

  PixelBits(const Placed& placed, const BitMasks& masks) : corners(size_t(4 * placed.width * placed.height)) {
    parallel_for(placed.height, kRowsAtOnce, [&](int64_t first, int64_t last) {
      for (int64_t pixel = first * placed.width; pixel < last * placed.width; ++pixel) {
        const Sample at = placed.sample(pixel % placed.width, pixel / placed.width);
        for (size_t c = 0; c < 4; ++c) {
          const auto& [h, w, d] = at.voxels[c];
          const int64_t bit = w * masks.size[2] + d;
          corners[size_t(4 * pixel) + c] = {h * masks.plane_bytes + (bit >> 3), int(bit & 7), at.shares[c]};
        }
      }
    });
  }
};

void draw_mask(Tensor& image, const Placed& placed, const PixelBits& pixels, const BitMasks& masks, int64_t prompt) {
  const int64_t width = placed.width, height = placed.height;
  const uint8_t* bytes = masks.plane(prompt, 0);
  std::vector<uint8_t> inside(size_t(width * height));
  parallel_for(height, kRowsAtOnce, [&](int64_t first, int64_t last) {
    for (int64_t pixel = first * width; pixel < last * width; ++pixel) {
      double share = 0;
      const PixelBits::Corner* corner = pixels.corners.data() + 4 * pixel;
      for (size_t c = 0; c < 4; ++c) {
        if (bytes[corner[c].byte] >> corner[c].bit & 1) share += corner[c].share;
      }
      inside[size_t(pixel)] = share > 0.5;
    }
  });
  const auto outside = [&](int64_t row, int64_t column) {
    return row < 0 || row >= height || column < 0 || column >= width || !inside[size_t(row * width + column)];
  };
  const Colour colour = label_colour(prompt);
  for (int64_t row = 0; row < height; ++row) {
    for (int64_t column = 0; column < width; ++column) {
      if (outside(row, column)) continue;
      const bool edge =
          outside(row - 1, column) || outside(row + 1, column) || outside(row, column - 1) || outside(row, column + 1);
      blend_pixel(image, placed.x + column, placed.y + row, colour, edge ? 1 : kTint);
    }
  }
}

/// Written twice, the first time in black and shifted, so that it can be read on any grey.
void draw_marked(Tensor& image, int64_t x, int64_t y, const std::string& text) {
  draw_text(image, x + 1, y + 1, text, kTextScale, {0, 0, 0});
  draw_text(image, x, y, text, kTextScale, kInk);
}

void draw_letters(Tensor& image, const Placed& placed) {
  const int64_t letter = kGlyphAdvance * kTextScale, line = kGlyphHeight * kTextScale;
  const int64_t middle_x = placed.x + (placed.width - letter) / 2, middle_y = placed.y + (placed.height - line) / 2;
  draw_marked(image, placed.x + 5, middle_y, placed.panel.letters[0]);
  draw_marked(image, placed.x + placed.width - letter - 3, middle_y, placed.panel.letters[1]);
  draw_marked(image, middle_x, placed.y + 5, placed.panel.letters[2]);
  draw_marked(image, middle_x, placed.y + placed.height - line, placed.panel.letters[3]);
}

/// A bar of a round length, about a fifth of the panel, at the lower right.
void draw_scale_bar(Tensor& image, const Placed& placed) {
  double length_mm = 1;
  for (double candidate : {2., 5., 10., 20., 50., 100., 200.}) {
    if (candidate <= 0.3 * double(placed.width) * placed.pixel_mm) length_mm = candidate;
  }
  const int64_t length = std::lround(length_mm / placed.pixel_mm);
  const int64_t x = placed.x + placed.width - length - 8, y = placed.y + placed.height - 9;
  fill_rectangle(image, x + 1, y + 1, length, 3, {0, 0, 0});
  fill_rectangle(image, x, y, length, 3, kInk);
  const std::string text = length_mm < 10 ? fixed(length_mm, 0) + " mm" : fixed(length_mm / 10, 0) + " cm";
  draw_marked(image, placed.x + placed.width - 6 - text_width(text, kTextScale), y - 20, text);
}

struct LegendEntry {
  int64_t prompt;  // -1: only text
  std::string name, volume;
};

std::vector<LegendEntry> legend(const BitMasks& masks, const std::vector<int64_t>& voxels,
                                const std::vector<std::string>& names, double voxel_mm3) {
  std::vector<LegendEntry> entries;
  for (int64_t prompt = 0; prompt < std::min(masks.prompts, kMaxLegendEntries); ++prompt) {
    const std::string name = shortened(names[size_t(prompt)], kMaxNameLength);
    const double ml = double(voxels[size_t(prompt)]) * voxel_mm3 / 1000;
    const std::string volume = voxels[size_t(prompt)] == 0 ? "none" : fixed(ml, ml < 10 ? 2 : ml < 100 ? 1 : 0) + " ml";
    entries.push_back({prompt, name, volume});
  }
  if (masks.prompts > kMaxLegendEntries) {
    entries.push_back({-1, "and " + std::to_string(masks.prompts - kMaxLegendEntries) + " more", ""});
  }
  return entries;
}

/// Columns as wide as the longest entry, filled from top to bottom.
struct LegendLayout {
  int64_t column_pixels = 0, columns = 1, lines = 0, name_pixels = 0;
};

LegendLayout lay_out(const std::vector<LegendEntry>& entries, int64_t width) {
  LegendLayout layout;
  int64_t name = 0, volume = 0;
  for (const LegendEntry& entry : entries) {
    name = std::max(name, text_width(entry.name, kTextScale));
    volume = std::max(volume, text_width(entry.volume, kTextScale));
  }
  layout.name_pixels = name;
  layout.column_pixels = 24 + name + 14 + volume + 28;
  layout.columns = std::clamp<int64_t>(width / layout.column_pixels, 1, 4);
  layout.lines = (int64_t(entries.size()) + layout.columns - 1) / layout.columns;
  return layout;
}

void draw_legend(Tensor& image, int64_t x, int64_t y, const std::vector<LegendEntry>& entries,
                 const LegendLayout& layout) {
  for (size_t i = 0; i < entries.size(); ++i) {
    const LegendEntry& entry = entries[i];
    const int64_t left = x + int64_t(i) / layout.lines * layout.column_pixels;
    const int64_t top = y + int64_t(i) % layout.lines * kLineHeight;
    const bool empty = entry.volume == "none";
    if (entry.prompt >= 0) {
      fill_rectangle(image, left, top, 15, 15, label_colour(entry.prompt));
      if (empty) fill_rectangle(image, left + 2, top + 2, 11, 11, kPaper);
    }
    draw_text(image, left + 24, top, entry.name, kTextScale, empty ? kFaint : kInk);
    const int64_t volume_x = left + layout.column_pixels - 28 - text_width(entry.volume, kTextScale);
    draw_text(image, volume_x, top, entry.volume, kTextScale, kFaint);
  }
}

std::vector<MaskProfile> profiles_of(const BitMasks& masks) {
  std::vector<MaskProfile> profiles;
  for (int64_t prompt = 0; prompt < masks.prompts; ++prompt) profiles.push_back(masks.profile(prompt));
  return profiles;
}

PreviewPlanes planes_through(const std::vector<MaskProfile>& profiles) {
  PreviewPlanes planes;
  for (size_t axis = 0; axis < 3; ++axis) {
    const auto size = int64_t(profiles[0].voxels[axis].size());
    planes.voxel[axis] = size / 2;
    std::vector<double> seen(static_cast<size_t>(size));
    double voxels = 0, index_sum = 0;
    for (const MaskProfile& profile : profiles) {
      const std::vector<int64_t>& counts = profile.voxels[axis];
      const int64_t largest = *std::max_element(counts.begin(), counts.end());
      if (largest == 0) continue;
      for (size_t i = 0; i < seen.size(); ++i) {
        seen[i] += double(counts[i]) / double(largest);
        voxels += double(counts[i]);
        index_sum += double(i) * double(counts[i]);
      }
    }
    if (voxels == 0) continue;
    const double centre = index_sum / voxels;
    for (int64_t i = 0; i < size; ++i) {
      const double gain = seen[size_t(i)] - seen[size_t(planes.voxel[axis])];
      const bool nearer = std::abs(double(i) - centre) < std::abs(double(planes.voxel[axis]) - centre);
      if (gain > 1e-9 || (gain > -1e-9 && nearer)) planes.voxel[axis] = i;
    }
  }
  return planes;
}

}  // namespace

DisplayWindow display_window(const Volume& scan, const std::string& modality) {
  if (find_modality(modality) == Modality::ct) return {-160, 240};

  const float* values = scan.voxels.data<float>();
  const int64_t count = scan.voxels.numel(), step = std::max<int64_t>(count / 200000, 1);
  std::vector<float> sample;
  for (int64_t v = 0; v < count; v += step) {
    if (std::isfinite(values[v])) sample.push_back(values[v]);
  }
  std::sort(sample.begin(), sample.end());
  if (sample.empty()) return {};
  const auto background_end = std::upper_bound(sample.begin(), sample.end(), sample.front());
  if (background_end == sample.end()) return {sample.front(), sample.front() + 1};
  const size_t left = size_t(sample.end() - background_end);
  const auto percentile = [&](double part) { return *(background_end + int64_t(part * double(left - 1))); };
  const float low = percentile(0.01), high = percentile(0.995);
  return {low, high > low ? high : low + 1};
}

PreviewPlanes preview_planes(const BitMasks& masks) { return planes_through(profiles_of(masks)); }

Tensor preview(const Volume& scan, const BitMasks& masks, const std::vector<std::string>& names,
               const DisplayWindow& window, const PreviewOptions& options) {
  const Shape expected{masks.size[0], masks.size[1], masks.size[2]};
  SAT_CHECK(scan.voxels.shape == expected && scan.geometry.size == masks.size, "preview: masks are ", expected,
            ", the scan is ", scan.voxels.shape);
  SAT_CHECK(int64_t(names.size()) == masks.prompts, "preview: ", names.size(), " names for ", masks.prompts, " masks");

  const std::vector<MaskProfile> profiles = profiles_of(masks);
  const View view = make_view(scan, planes_through(profiles));
  const std::array<int64_t, 3> cut = view.to_array(view.plane);
  const std::array<double, 3> cut_voxel{double(cut[0]), double(cut[1]), double(cut[2])};
  const std::array<double, 3> cut_mm = sat::apply(scan.geometry.voxel_to_world_mm, cut_voxel);

  std::vector<int64_t> voxels;
  std::vector<VoxelBox> boxes;
  for (const MaskProfile& profile : profiles) {
    voxels.push_back(profile.count());
    boxes.push_back(profile.box());
  }
  std::vector<int64_t> largest_first(voxels.size());
  std::iota(largest_first.begin(), largest_first.end(), int64_t(0));
  std::stable_sort(largest_first.begin(), largest_first.end(),
                   [&](int64_t a, int64_t b) { return voxels[size_t(a)] > voxels[size_t(b)]; });

  std::vector<Placed> panels;
  std::vector<std::string> places;
  int64_t row_height = 0, width = kMargin;
  for (const Panel& panel : kPanels) {
    const std::array<Range, 2> part =
        shown_part(view, panel, masks, in_plane(view, panel, boxes, largest_first), window);
    const double across_mm = part[0].length() * view.spacing_mm[panel.across];
    const double up_mm = part[1].length() * view.spacing_mm[panel.up];
    const double pixel_mm = std::max(across_mm / double(kPanelWidth), up_mm / double(kPanelHeight));
    const int64_t columns = std::max<int64_t>(std::lround(across_mm / pixel_mm), 1);
    const int64_t rows = std::max<int64_t>(std::lround(up_mm / pixel_mm), 1);
    places.push_back(std::string(1, "xyz"[panel.through]) + " = " + fixed(cut_mm[panel.through], 0) + " mm");
    const int64_t caption = text_width(panel.name + (" " + places.back()), kTextScale);
    const int64_t cell = std::max(columns, caption);
    panels.push_back({panel, view, part, width + (cell - columns) / 2, 0, columns, rows, pixel_mm});
    row_height = std::max(row_height, rows);
    width += cell + kMargin;
  }
  const std::array<double, 3>& mm = view.spacing_mm;
  const std::vector<LegendEntry> entries = legend(masks, voxels, names, mm[0] * mm[1] * mm[2]);
  const LegendLayout layout = lay_out(entries, width - 2 * kMargin);
  width = std::max(width, layout.column_pixels * layout.columns + 2 * kMargin - 28);
  width = std::max(width, options.orientation_known ? 0 : text_width(kUnknownSides, kTextScale) + 2 * kMargin);
  const int64_t captions_y = kMargin + row_height + 8;
  const int64_t notes_y = captions_y + kLineHeight;
  const int64_t legend_y = notes_y + (options.orientation_known ? 0 : kLineHeight) + kMargin;
  const int64_t height = legend_y + layout.lines * kLineHeight + kMargin / 2;

  Tensor image({height, width, 3}, DType::u8);
  fill_rectangle(image, 0, 0, width, height, kPaper);

  for (size_t i = 0; i < panels.size(); ++i) {
    Placed& placed = panels[i];
    placed.y = kMargin + (row_height - placed.height) / 2;
    draw_scan(image, placed, window);
    const PixelBits pixels(placed, masks);
    for (int64_t prompt : in_plane(view, placed.panel, boxes, largest_first)) {
      draw_mask(image, placed, pixels, masks, prompt);
    }
    if (options.orientation_known) draw_letters(image, placed);
    draw_scale_bar(image, placed);
    const std::string name = placed.panel.name;
    const int64_t name_width = text_width(name + " ", kTextScale);
    const int64_t x =
        placed.x + std::min<int64_t>(0, placed.width - name_width - text_width(places[i], kTextScale)) / 2;
    draw_text(image, x, captions_y, name, kTextScale, kInk);
    draw_text(image, x + name_width, captions_y, places[i], kTextScale, kFaint);
  }
  if (!options.orientation_known) draw_text(image, kMargin, notes_y, kUnknownSides, kTextScale, kWarning);
  draw_legend(image, kMargin, legend_y, entries, layout);
  return image;
}

}  // namespace sat
