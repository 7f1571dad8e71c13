// Private. SHA-256 (FIPS 180-4), to name the exact model and scan that a result came from.
// Knows no keys and no other hash.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace sat {

/// SHA-256 of bytes that arrive in pieces.
class Sha256 {
 public:
  enum class Rounds : uint8_t { best, plain };  // best: by instructions for it, where the processor has them
  explicit Sha256(Rounds rounds = Rounds::best);
  void update(const void* bytes, int64_t count);
  /// The digest as 64 lower-case hexadecimal digits; call once, last.
  std::string finish();

 private:
  void (*digest_)(std::array<uint32_t, 8>& state, const uint8_t* block);  // takes in 64 bytes
  std::array<uint32_t, 8> state_{0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
                                 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19};
  std::array<uint8_t, 64> pending_{};
  int64_t length_ = 0;  // bytes so far
};

std::string sha256(const std::string& bytes);
std::string sha256_of_file(const std::string& path);  // throws Error as FileReader does, also for an empty file

}  // namespace sat
