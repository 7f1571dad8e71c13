// Squared distances layer by layer of constant d: first to the elements of a line, then of a plane, then of all.
#include "sat/nn/evaluation/segmentation/surface_distance.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "sat/tensor/error.h"
#include "sat/tensor/parallel.h"

namespace sat {

namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();
constexpr int64_t kPlacesAtOnce = int64_t(1) << 22;
constexpr int64_t kAsksAtOnce = 4096;

struct Range {
  int64_t first = 0, last = 0;  // half-open
  int64_t count() const { return last - first; }
};

template <class Of>
Range range_of(const std::vector<SurfaceElement>& elements, Of of) {
  const auto [least, most] =
      std::minmax_element(elements.begin(), elements.end(),
                          [&](const SurfaceElement& a, const SurfaceElement& b) { return a.*of < b.*of; });
  return {(*least).*of, int64_t((*most).*of) + 1};
}

double squared(double x) { return x * x; }

/// The elements to measure from, by line: those of line (h, w) follow each other.
class ElementLines {
 public:
  explicit ElementLines(const std::vector<SurfaceElement>& elements)
      : elements_(elements), h_(range_of(elements, &SurfaceElement::h)), starts_(size_t(h_.count() + 1)) {
    for (const SurfaceElement& element : elements) ++starts_[size_t(element.h - h_.first + 1)];
    for (size_t h = 1; h < starts_.size(); ++h) starts_[h] += starts_[h - 1];
  }

  const Range& h() const { return h_; }
  const SurfaceElement* plane(int64_t h) const { return elements_.data() + starts_[size_t(h - h_.first)]; }
  const SurfaceElement* plane_end(int64_t h) const { return plane(h + 1); }

 private:
  const std::vector<SurfaceElement>& elements_;
  Range h_;
  std::vector<int64_t> starts_;  // of each plane
};

/// out[i] = the squared distance of place d.first + i to the nearest element of a line, which has some.
void measure_line(double* out, const SurfaceElement* line, const SurfaceElement* end, const Range& d, double spacing) {
  for (int64_t at = d.first; at < d.last; ++at) {
    while (line + 1 < end && std::abs(line[1].d - at) <= std::abs(line[0].d - at)) ++line;
    out[at - d.first] = squared(double(line[0].d - at) * spacing);
  }
}

/// The parabolas of a column that are lowest somewhere: of line w, height(w) + ((x - w) * spacing)^2 at x.
class Envelope {
 public:
  explicit Envelope(int64_t most) : lowest_(size_t(most)) {}

  void clear() { count_ = 0; }

  /// Lines come with rising w.
  void add(double w, double height) {
    const Parabola added{w, height};
    while (count_ >= 2 && hidden(lowest_[count_ - 2], lowest_[count_ - 1], added)) --count_;
    lowest_[count_++] = added;
    at_ = 0;
  }

  /// x may only rise from one question to the next.
  double lowest(double x) {
    double value = at(lowest_[at_], x);
    for (; at_ + 1 < count_; ++at_) {
      const double next = at(lowest_[at_ + 1], x);
      if (next > value) break;
      value = next;
    }
    return value;
  }

 private:
  struct Parabola {
    double x = 0, height = 0;
  };
  static double at(const Parabola& p, double x) { return p.height + squared(x - p.x); }

  /// Is the middle one nowhere lowest? (Maurer, Qi and Raghavan 2003)
  static bool hidden(const Parabola& left, const Parabola& middle, const Parabola& right) {
    const double a = middle.x - left.x, b = right.x - middle.x, c = right.x - left.x;
    return c * middle.height - b * left.height - a * right.height > a * b * c;
  }

  std::vector<Parabola> lowest_;
  size_t count_ = 0, at_ = 0;
};

/// Squared distances within planes: to the elements of plane h, at places (w, d) of some layers.
class PlaneDistances {
 public:
  PlaneDistances(const ElementLines& elements, const Range& w, int64_t most_layers,
                 const std::array<double, 3>& spacing)
      : elements_(elements),
        w_(w),
        spacing_(spacing),
        filled_(size_t(elements.h().count())),
        squares_(size_t(elements.h().count() * w.count() * most_layers)) {}

  /// All planes are filled again for these layers.
  void start(const Range& d) { d_ = d; }

  void fill(int64_t h) {
    const SurfaceElement *line = elements_.plane(h), *end = elements_.plane_end(h);
    filled_[size_t(h - elements_.h().first)] = line != end;
    std::vector<double> places, squares;  // of lines with elements; squares [lines, D]
    while (line != end) {
      const SurfaceElement* next = line;
      while (next != end && next->w == line->w) ++next;
      places.push_back(double(line->w) * spacing_[1]);
      squares.resize(squares.size() + size_t(d_.count()));
      measure_line(squares.data() + squares.size() - d_.count(), line, next, d_, spacing_[2]);
      line = next;
    }
    if (places.empty()) return;
    Envelope envelope(int64_t(places.size()));
    for (int64_t d = 0; d < d_.count(); ++d) {
      envelope.clear();
      for (size_t i = 0; i < places.size(); ++i) envelope.add(places[i], squares[i * size_t(d_.count()) + size_t(d)]);
      double* out = squares_.data() + (h - elements_.h().first) * w_.count() * d_.count() + d;
      for (int64_t w = w_.first; w < w_.last; ++w, out += d_.count()) *out = envelope.lowest(double(w) * spacing_[1]);
    }
  }

  /// To the nearest element of all planes. Planes are asked outwards from the place's own, as long as one can be
  /// nearer than what was found.
  double nearest(const SurfaceElement& place) const {
    const Range& h = elements_.h();
    const int64_t in_plane = (place.w - w_.first) * d_.count() + place.d - d_.first, step = w_.count() * d_.count();
    double best = kInfinite;
    const auto ask = [&](int64_t plane) {  // false: no plane further on can be nearer
      const double across = squared(double(plane - place.h) * spacing_[0]);
      if (across >= best) return false;
      const int64_t at = plane - h.first;
      if (filled_[size_t(at)]) best = std::min(best, across + squares_[size_t(at * step + in_plane)]);
      return true;
    };
    const int64_t own = std::clamp<int64_t>(place.h, h.first, h.last - 1);
    bool before = true, behind = true;
    for (int64_t away = 0; before || behind; ++away) {
      before = before && own - away >= h.first && ask(own - away);
      behind = behind && own + away + 1 < h.last && ask(own + away + 1);
    }
    return std::sqrt(best);
  }

 private:
  const ElementLines& elements_;
  Range w_, d_;
  std::array<double, 3> spacing_;
  std::vector<uint8_t> filled_;  // of each plane: it has elements
  std::vector<double> squares_;  // [H, W, D]
};

}  // namespace

std::vector<double> distances_to(const std::vector<SurfaceElement>& from, const std::vector<SurfaceElement>& to,
                                 const std::array<double, 3>& spacing_mm) {
  for (const double spacing : spacing_mm) {
    SAT_CHECK(std::isfinite(spacing) && spacing > 0, "distances_to: spacing is ", spacing, " mm, needs a length");
  }
  std::vector<double> distances(from.size(), kInfinite);
  if (from.empty() || to.empty()) return distances;
  const ElementLines elements(to);
  const Range w = range_of(from, &SurfaceElement::w), d = range_of(from, &SurfaceElement::d);
  const int64_t layers = std::clamp<int64_t>(kPlacesAtOnce / (elements.h().count() * w.count()), 1, d.count());
  PlaneDistances planes(elements, w, layers, spacing_mm);
  for (int64_t first = d.first; first < d.last; first += layers) {
    const Range some{first, std::min(first + layers, d.last)};
    planes.start(some);
    parallel_for(elements.h().count(), 1, [&](int64_t plane, int64_t) { planes.fill(elements.h().first + plane); });
    parallel_for(int64_t(from.size()), kAsksAtOnce, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const SurfaceElement& place = from[size_t(i)];
        if (place.d >= some.first && place.d < some.last) distances[size_t(i)] = planes.nearest(place);
      }
    });
  }
  return distances;
}

}  // namespace sat
