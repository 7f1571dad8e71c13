// A box that ECAMP's detector found on an image. Knows numbers only.
#pragma once

#include <cstdint>

namespace sat {

struct Detection {
  double left = 0, top = 0, right = 0, bottom = 0;  // pixels of the image that the network saw
  double objectness = 0, score = 0;                 // that there is something, and that it is of this class
  int64_t category = 0;
};

}  // namespace sat
