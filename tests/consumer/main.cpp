// The smallest user of the installed library: reaches numbers, files and errors, and prints one line.
#include <sat/sat.h>

#include <cstdio>
#include <string>

int main() {
  const sat::Tensor zeros({1000});
  const std::string raw(static_cast<const char*>(zeros.raw()), static_cast<size_t>(zeros.bytes()));
  const size_t packed = sat::zlib_compress(raw).size();
  try {
    sat::read_file("there is no such file", 1 << 20);
  } catch (const sat::Error& error) {
    std::printf("%zu bytes became %zu; %s\n", raw.size(), packed, error.what());
    return packed < raw.size() ? 0 : 1;
  }
  return 1;
}
