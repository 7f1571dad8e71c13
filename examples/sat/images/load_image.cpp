// Which format a file has, which reader takes it, and the rules by which its values become 8 bits.
#include "examples/sat/images/load_image.h"

#include <charconv>
#include <string_view>
#include <utility>

#include "examples/sat/images/decode.h"
#include "sat/io/files/file.h"

namespace sat::cli {

namespace {

DecodedImage decode(const EncodedImage& file) {
  if (is_dicom(file.bytes)) return decode_dicom(file);  // first: some begin as a TIFF does
  if (is_png(file.bytes)) return decode_png(file);
  if (is_jpeg(file.bytes)) return decode_jpeg(file);
  if (is_tiff(file.bytes)) return decode_tiff(file);
  SAT_CHECK(!file.bytes.empty(), file.path, ": the file is empty");
  fail(file.path, ": not an image that is read here: it does not begin as PNG, JPEG, TIFF or DICOM do");
}

std::optional<double> number_of(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

/// The window by the rule that was asked for, or by the one that stands in for it.
IntensityWindow choose_window(DecodedImage& decoded, const EncodedImage& file) {
  WindowRule& rule = decoded.facts.rule;
  rule = file.options.window;
  if (rule == WindowRule::dicom && !decoded.window) {
    decoded.warnings.push_back("it asks for no window: its range of values is taken");
    rule = WindowRule::range;
  }
  const IntensityWindow range = range_of(decoded.values, file.path);
  if (rule == WindowRule::range && range.low == range.high) {
    decoded.warnings.push_back("all its values are equal");
  }
  switch (rule) {
    case WindowRule::given: return file.options.given;
    case WindowRule::dicom: return *decoded.window;
    case WindowRule::saturate: return {0, 255};
    case WindowRule::range: break;
  }
  return range;
}

}  // namespace

bool is_dicom(std::string_view bytes) {
  if (bytes.size() >= 132 && bytes.substr(128, 4) == "DICM") return true;
  // Without preamble and meta header: an element of group 8, the lower byte of its number even or odd.
  return bytes.size() >= 132 && bytes.substr(0, 2) == std::string_view("\x08\0", 2) && bytes[3] == 0;
}

const char* name_of(WindowRule rule) {
  switch (rule) {
    case WindowRule::range: return "range";
    case WindowRule::given: return "given";
    case WindowRule::dicom: return "dicom";
    case WindowRule::saturate: return "saturate";
  }
  return "range";
}

void read_window(const std::string& text, ImageOptions& options) {
  for (const WindowRule rule : {WindowRule::range, WindowRule::dicom, WindowRule::saturate}) {
    if (text != name_of(rule)) continue;
    options.window = rule;
    return;
  }
  const size_t comma = text.find(',');
  const std::optional<double> low = number_of(std::string_view(text).substr(0, comma));
  const std::optional<double> high = number_of(comma == std::string::npos ? "" : text.substr(comma + 1));
  SAT_CHECK(low && high, "the window is '", text, "', needs LOW,HIGH (two numbers), range, dicom or saturate");
  options.window = WindowRule::given;
  options.given = {*low, *high};
  check_window(options.given, "the window '" + text + "'");
}

Json to_json(const ImageFacts& facts) {
  Json json = Json::object({{"format", facts.format},
                            {"photometric", facts.photometric},
                            {"bits", facts.bits},
                            {"height", facts.size.height},
                            {"width", facts.size.width},
                            {"channels", facts.channels},
                            {"orientation", facts.orientation},
                            {"turned", facts.turned}});
  if (facts.window) {
    json.set("window",
             Json::object({{"rule", name_of(facts.rule)}, {"low", facts.window->low}, {"high", facts.window->high}}));
  }
  return json;
}

LoadedImage load_image(const std::string& path, const ImageOptions& options) {
  if (options.window == WindowRule::given) check_window(options.given, path);
  const std::string bytes = read_file(path, options.max_bytes);
  const EncodedImage file{path, bytes, options};
  DecodedImage decoded = decode(file);

  LoadedImage loaded;
  if (decoded.values.empty()) {
    loaded.image = decoded.image;
    if (options.window == WindowRule::given)
      decoded.warnings.push_back("it has 8 bits or less, which are taken as they are: the window is not used");
  } else {
    decoded.facts.window = choose_window(decoded, file);
    loaded.image = apply_window(decoded.values, *decoded.facts.window);
  }
  if (decoded.inverted) loaded.image = inverted(loaded.image);
  loaded.facts = std::move(decoded.facts);
  loaded.warnings = std::move(decoded.warnings);
  const int orientation = loaded.facts.orientation;
  if (orientation != 1 && (decoded.turn || options.exif)) {
    loaded.image = turned_upright(loaded.image, orientation);
    loaded.facts.turned = true;
  } else if (orientation != 1) {
    loaded.warnings.push_back("its EXIF orientation is " + std::to_string(orientation) +
                              ", which is not applied: it may lie on its side or be mirrored");
  }
  loaded.facts.size = loaded.image.size();
  loaded.facts.channels = loaded.image.channels();
  return loaded;
}

}  // namespace sat::cli
