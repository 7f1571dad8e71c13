// How a device is named on a command line.
#include <charconv>

#include "sat/cuda/device.h"
#include "sat/tensor/error.h"

namespace sat::cuda {

int parse_device(const std::string& name) {
  if (name == "cpu") return -1;
  if (name == "auto") return devices().empty() ? -1 : 0;
  if (name == "cuda") return 0;
  int index = -1;
  const char *first = name.data() + 5, *last = name.data() + name.size();
  const bool prefixed = name.rfind("cuda:", 0) == 0 && name.size() > 5;
  SAT_CHECK(prefixed && std::from_chars(first, last, index).ptr == last && index >= 0, "unknown device '", name,
            "'; it is cpu, cuda, cuda:0, cuda:1, .. or auto");
  return index;
}

}  // namespace sat::cuda
