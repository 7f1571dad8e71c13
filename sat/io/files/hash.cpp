// The SHA-256 compression function, in the standard's own letters and in the processor's own instructions.
#include "sat/io/files/hash.h"

#include <cpuid.h>
#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "sat/io/files/file.h"
#include "sat/tensor/context.h"

namespace sat {

namespace {

constexpr int64_t kPiece = 1 << 18;  // of a file

/// First 32 bits of the fractional parts of the cube roots of the first 64 primes.
constexpr std::array<uint32_t, 64> kRound{
    0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5, 0x3956C25B, 0x59F111F1, 0x923F82A4, 0xAB1C5ED5,
    0xD807AA98, 0x12835B01, 0x243185BE, 0x550C7DC3, 0x72BE5D74, 0x80DEB1FE, 0x9BDC06A7, 0xC19BF174,
    0xE49B69C1, 0xEFBE4786, 0x0FC19DC6, 0x240CA1CC, 0x2DE92C6F, 0x4A7484AA, 0x5CB0A9DC, 0x76F988DA,
    0x983E5152, 0xA831C66D, 0xB00327C8, 0xBF597FC7, 0xC6E00BF3, 0xD5A79147, 0x06CA6351, 0x14292967,
    0x27B70A85, 0x2E1B2138, 0x4D2C6DFC, 0x53380D13, 0x650A7354, 0x766A0ABB, 0x81C2C92E, 0x92722C85,
    0xA2BFE8A1, 0xA81A664B, 0xC24B8B70, 0xC76C51A3, 0xD192E819, 0xD6990624, 0xF40E3585, 0x106AA070,
    0x19A4C116, 0x1E376C08, 0x2748774C, 0x34B0BCB5, 0x391C0CB3, 0x4ED8AA4A, 0x5B9CCA4F, 0x682E6FF3,
    0x748F82EE, 0x78A5636F, 0x84C87814, 0x8CC70208, 0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7, 0xC67178F2};

using State = std::array<uint32_t, 8>;

void digest_plain(State& state, const uint8_t* block) {
  std::array<uint32_t, 64> w;
  for (size_t t = 0; t < 16; ++t) {
    const uint8_t* at = block + 4 * t;
    w[t] = uint32_t(at[0]) << 24 | uint32_t(at[1]) << 16 | uint32_t(at[2]) << 8 | uint32_t(at[3]);
  }
  for (size_t t = 16; t < 64; ++t) {
    const uint32_t s0 = std::rotr(w[t - 15], 7) ^ std::rotr(w[t - 15], 18) ^ w[t - 15] >> 3;
    const uint32_t s1 = std::rotr(w[t - 2], 17) ^ std::rotr(w[t - 2], 19) ^ w[t - 2] >> 10;
    w[t] = w[t - 16] + s0 + w[t - 7] + s1;
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (size_t t = 0; t < 64; ++t) {
    const uint32_t S1 = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
    const uint32_t t1 = h + S1 + ((e & f) ^ (~e & g)) + kRound[t] + w[t];
    const uint32_t S0 = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
    const uint32_t t2 = S0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1;
    d = c, c = b, b = a, a = t1 + t2;
  }
  const State added{a, b, c, d, e, f, g, h};
  for (size_t i = 0; i < 8; ++i) state[i] += added[i];
}

/// The same by the processor's own rounds, eight times as fast: those keep a, b, e, f in one register and c, d, g, h
/// in another, and take four words of the schedule at a time.
__attribute__((target("sha,sse4.1"))) void digest_sha(State& state, const uint8_t* block) {
  auto* const words = reinterpret_cast<__m128i*>(state.data());
  const __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128(words), 0xB1);
  const __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128(words + 1), 0x1B);
  __m128i abef = _mm_alignr_epi8(cdab, efgh, 8), cdgh = _mm_blend_epi16(efgh, cdab, 0xF0);
  const __m128i abef_before = abef, cdgh_before = cdgh;
  const __m128i big_endian = _mm_set_epi64x(0x0C0D0E0F08090A0B, 0x0405060700010203);
  __m128i w[4];
  for (int t = 0; t < 16; ++t) {
    __m128i& now = w[t % 4];
    if (t < 4) {
      now = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(block) + t), big_endian);
    } else {
      const __m128i last = w[(t + 3) % 4];
      const __m128i seven_back = _mm_alignr_epi8(last, w[(t + 2) % 4], 4);
      now = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(now, w[(t + 1) % 4]), seven_back), last);
    }
    const __m128i round = _mm_loadu_si128(reinterpret_cast<const __m128i*>(kRound.data()) + t);
    const __m128i sum = _mm_add_epi32(now, round);
    cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
    abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0E));
  }
  const __m128i feba = _mm_shuffle_epi32(_mm_add_epi32(abef, abef_before), 0x1B);
  const __m128i dchg = _mm_shuffle_epi32(_mm_add_epi32(cdgh, cdgh_before), 0xB1);
  _mm_storeu_si128(words, _mm_blend_epi16(feba, dchg, 0xF0));
  _mm_storeu_si128(words + 1, _mm_alignr_epi8(dchg, feba, 8));
}

bool has_sha() {
  constexpr unsigned kSsse3 = 1u << 9, kSse41 = 1u << 19, kSha = 1u << 29;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || (ecx & kSsse3) == 0 || (ecx & kSse41) == 0) return false;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ebx & kSha) != 0;
}

}  // namespace

Sha256::Sha256(Rounds rounds) : digest_(rounds == Rounds::best && has_sha() ? digest_sha : digest_plain) {}

void Sha256::update(const void* bytes, int64_t count) {
  const uint8_t* at = static_cast<const uint8_t*>(bytes);
  while (count > 0) {
    const int64_t filled = length_ % 64;
    if (filled == 0 && count >= 64) {
      digest_(state_, at);
      at += 64, count -= 64, length_ += 64;
      continue;
    }
    const int64_t taken = std::min(count, 64 - filled);
    std::memcpy(pending_.data() + filled, at, size_t(taken));
    at += taken, count -= taken, length_ += taken;
    if (filled + taken == 64) digest_(state_, pending_.data());
  }
}

std::string Sha256::finish() {
  const uint64_t bits = uint64_t(length_) * 8;
  const std::array<uint8_t, 64> padding{0x80};
  update(padding.data(), 1 + (119 - length_ % 64) % 64);  // a one bit, then zeros up to the length's eight bytes
  std::array<uint8_t, 8> length;
  for (size_t i = 0; i < 8; ++i) length[i] = uint8_t(bits >> (56 - 8 * i));
  update(length.data(), 8);
  std::string digits;
  for (uint32_t word : state_) {
    for (int shift = 28; shift >= 0; shift -= 4) digits += "0123456789abcdef"[word >> shift & 15];
  }
  return digits;
}

std::string sha256(const std::string& bytes) {
  Sha256 hash;
  hash.update(bytes.data(), int64_t(bytes.size()));
  return hash.finish();
}

std::string sha256_of_file(const std::string& path) {
  FileReader file(path);
  std::vector<uint8_t> piece(size_t(std::min(file.size(), kPiece)));
  Sha256 hash;
  while (file.left() > 0) {
    Context::current().stop_if_cancelled();
    hash.update(piece.data(), file.read(piece.data(), int64_t(piece.size())));
  }
  return hash.finish();
}

}  // namespace sat
