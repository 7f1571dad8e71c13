// How a device is named on a command line, and what is said of code that was not built for one.
#include <charconv>
#include <cstdlib>
#include <sstream>

#include "sat/cuda/device/device.h"
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

std::string remark_on_code(int arch, const std::string& architectures) {
  std::istringstream words(architectures);
  for (std::string word; words >> word;) {
    const int built_for = std::atoi(word.c_str());
    if (word.find("virtual") == std::string::npos && built_for / 10 == arch / 10 && built_for <= arch) return "";
  }
  return "this build has no machine code for sm_" + std::to_string(arch) +
         ": the driver translates its PTX of sm_80 at the first start, which takes a while, and kernels take the forms "
         "of "
         "sm_80";
}

}  // namespace sat::cuda
