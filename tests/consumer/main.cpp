// The smallest user of the installed library: reaches numbers, files and errors, and prints one line.
#include <sat/sat.h>

#include <cstdio>

int main() {
  const sat::Tensor ones = sat::from_values({2, 2}, {1, 1, 1, 1});
  const std::string text = sat::Json::parse("{\"version\": 1}", "a literal").dump();
  try {
    ones.slice(1, 3);
  } catch (const sat::Error& error) {
    std::printf("%lld elements, %s, refused: %s\n", static_cast<long long>(ones.numel()), text.c_str(), error.what());
    return 0;
  }
  return 1;
}
