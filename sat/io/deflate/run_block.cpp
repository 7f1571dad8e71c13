// Tokens of runs, their Huffman codes and the bits of RFC 1951.
#include "sat/io/deflate/run_block.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <numeric>

namespace sat {

namespace {

constexpr int kLiterals = 256, kEnd = 256, kFirstLength = 257, kSymbols = 286;
constexpr int kLongestCode = 15;                                     // bits
constexpr int kLongestLengthCode = 7;                                // of a code that tells the lengths of codes
constexpr int64_t kLeastRepeat = 3, kMostRepeat = 258;               // bytes
constexpr int kLengthSymbols = 19, kFewZeros = 17, kManyZeros = 18;  // of codes' lengths: 3 to 10, and 11 to 138 zeros
constexpr std::array<uint8_t, kLengthSymbols> kLengthOrder{16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                           11, 4,  12, 3, 13, 2, 14, 1, 15};

/// How a repeat of some length is told: a symbol, and further bits.
struct Repeat {
  uint16_t symbol = 0;
  uint8_t extra_bits = 0, extra = 0;
};

constexpr std::array<Repeat, kMostRepeat + 1> repeats() {
  std::array<Repeat, kMostRepeat + 1> all{};
  int64_t length = kLeastRepeat;
  for (int symbol = kFirstLength; symbol < kSymbols - 1; ++symbol) {
    const int extra_bits = std::max(0, (symbol - kFirstLength) / 4 - 1);
    for (int extra = 0; extra < 1 << extra_bits && length < kMostRepeat; ++extra, ++length) {
      all[size_t(length)] = {uint16_t(symbol), uint8_t(extra_bits), uint8_t(extra)};
    }
  }
  all[kMostRepeat] = {kSymbols - 1, 0, 0};
  return all;
}
constexpr std::array<Repeat, kMostRepeat + 1> kRepeats = repeats();

/// A run is told as some literals and a repeat, of up to kMostTold bytes together; of a longer one parts of 258 bytes
/// that are repeats alone, told as length 0, come in between. Tables of the length say how, since branches on it would
/// be guessed wrong.
constexpr int64_t kMostTold = kMostRepeat + 1;
constexpr int64_t literals_of(int64_t told) { return told > kLeastRepeat ? 1 : told; }
constexpr int64_t repeat_of(int64_t told) { return told == 0 ? kMostRepeat : told > kLeastRepeat ? told - 1 : 0; }

/// Calls tell(value, length) with every run, in parts that can be told.
template <class Tell>
void for_each_told(const std::vector<uint32_t>& runs, Tell tell) {
  for (const uint32_t run : runs) {
    const int64_t length = run >> 8;
    tell(uint8_t(run), std::min(length, kMostTold));
    int64_t rest = length - kMostTold;
    for (; rest >= kMostRepeat; rest -= kMostRepeat) tell(uint8_t(run), 0);
    if (rest > 0) tell(uint8_t(run), rest);
  }
}

/// Lengths in bits of a Huffman code for symbols that occur so often, none above `longest`; 0 for those that do not
/// occur. At least two do.
std::vector<uint8_t> code_lengths(const std::vector<uint32_t>& counts, int longest) {
  std::vector<uint16_t> rarest;  // symbols that occur
  for (size_t s = 0; s < counts.size(); ++s) {
    if (counts[s] > 0) rarest.push_back(uint16_t(s));
  }
  std::stable_sort(rarest.begin(), rarest.end(), [&](uint16_t a, uint16_t b) { return counts[a] < counts[b]; });
  const size_t leaves = rarest.size();
  // Nodes in the order of their weights: the leaves, and the pairs that were joined. A pair comes after its halves.
  std::vector<uint64_t> weight(2 * leaves - 1);
  std::vector<size_t> parent(2 * leaves - 1);
  for (size_t i = 0; i < leaves; ++i) weight[i] = counts[rarest[i]];
  size_t leaf = 0, pair = leaves;
  for (size_t made = leaves; made < 2 * leaves - 1; ++made) {
    const auto lightest = [&] {
      return leaf < leaves && (pair == made || weight[leaf] <= weight[pair]) ? leaf++ : pair++;
    };
    for (int half = 0; half < 2; ++half) {
      const size_t node = lightest();
      weight[made] += weight[node];
      parent[node] = made;
    }
  }
  std::vector<int> depth(2 * leaves - 1);
  std::array<size_t, 64> codes{};  // of each length; a code longer than 63 bits would need more bytes than exist
  for (size_t i = 2 * leaves - 2; i-- > 0;) {
    depth[i] = depth[parent[i]] + 1;
    if (i < leaves) ++codes[size_t(std::min(depth[i], longest))];
  }
  // Codes cut short to `longest` take more room than there is: shorter ones are lengthened until all fit.
  uint64_t room = 0;
  for (int length = 1; length <= longest; ++length) room += uint64_t(codes[size_t(length)]) << (longest - length);
  for (; room > uint64_t(1) << longest; --room) {
    int shorter = longest - 1;
    while (codes[size_t(shorter)] == 0) --shorter;
    --codes[size_t(longest)], --codes[size_t(shorter)];
    codes[size_t(shorter) + 1] += 2;
  }
  std::vector<uint8_t> lengths(counts.size());
  size_t next = 0;
  for (int length = longest; length > 0; --length) {
    for (size_t i = 0; i < codes[size_t(length)]; ++i) lengths[rarest[next++]] = uint8_t(length);
  }
  return lengths;
}

/// Bits as they are written: the lowest first.
struct Code {
  uint64_t bits = 0;
  int count = 0;

  Code then(const Code& next) const { return {bits | next.bits << count, count + next.count}; }
};

/// The canonical codes of these lengths.
std::vector<Code> codes_of(const std::vector<uint8_t>& lengths) {
  std::array<uint32_t, kLongestCode + 2> next{};
  for (const uint8_t length : lengths) {
    if (length > 0) ++next[size_t(length) + 1];
  }
  for (size_t length = 1; length < next.size(); ++length) next[length] = (next[length] + next[length - 1]) << 1;
  std::vector<Code> codes(lengths.size());
  for (size_t s = 0; s < lengths.size(); ++s) {
    const int length = lengths[s];
    if (length == 0) continue;
    uint32_t code = next[size_t(length)]++;
    for (int bit = 0; bit < length; ++bit, code >>= 1) codes[s].bits = codes[s].bits << 1 | (code & 1);
    codes[s].count = length;
  }
  return codes;
}

class BitWriter {
 public:
  explicit BitWriter(int64_t most_bytes) : bytes_(size_t(most_bytes) + 8, '\0') {}

  /// At most 56 bits.
  void put(const Code& code) {
    put_all([&](auto put_one) { put_one(code); });
  }

  /// What `tell` hands to its argument, one code after another; the state stays in registers meanwhile.
  template <class Tell>
  void put_all(Tell tell) {
    char* to = bytes_.data() + at_;
    uint64_t pending = pending_;
    int filled = filled_;
    tell([&](const Code& code) {
      pending |= code.bits << filled;
      filled += code.count;
      std::memcpy(to, &pending, sizeof pending);  // whole bytes stay, the rest is written again
      to += filled >> 3;
      pending >>= filled & ~7;
      filled &= 7;
    });
    at_ = size_t(to - bytes_.data());
    pending_ = pending;
    filled_ = filled;
  }
  void to_whole_byte() { put({0, (8 - filled_) & 7}); }

  std::string take() {
    bytes_.resize(at_);
    return std::move(bytes_);
  }

 private:
  std::string bytes_;
  size_t at_ = 0;
  uint64_t pending_ = 0;
  int filled_ = 0;
};

/// The lengths of codes as a block's head tells them: symbols of their own, zeros in a row together.
struct ToldLength {
  uint8_t symbol;
  Code extra;
};

std::vector<ToldLength> told_lengths(const std::vector<uint8_t>& lengths) {
  std::vector<ToldLength> told;
  for (size_t at = 0; at < lengths.size();) {
    const auto other = std::find_if(lengths.begin() + int64_t(at), lengths.end(), [](uint8_t x) { return x != 0; });
    const size_t zeros = std::min<size_t>(size_t(other - lengths.begin()) - at, 138);
    if (zeros < 3) {
      told.push_back({lengths[at++], {}});
      continue;
    }
    told.push_back(zeros > 10 ? ToldLength{kManyZeros, {zeros - 11, 7}} : ToldLength{kFewZeros, {zeros - 3, 3}});
    at += zeros;
  }
  return told;
}

void put_head(BitWriter& out, const std::vector<uint8_t>& symbol_lengths) {
  std::vector<uint8_t> lengths = symbol_lengths;
  lengths.push_back(1);  // of the one distance
  const std::vector<ToldLength> told = told_lengths(lengths);
  std::vector<uint32_t> counts(kLengthSymbols);
  for (const ToldLength& length : told) ++counts[length.symbol];
  const std::vector<uint8_t> of_lengths = code_lengths(counts, kLongestLengthCode);
  const std::vector<Code> codes = codes_of(of_lengths);
  size_t used = kLengthSymbols;
  while (of_lengths[kLengthOrder[used - 1]] == 0) --used;
  out.put({0b100, 3});  // not the last block; codes of its own
  out.put({symbol_lengths.size() - 257, 5});
  out.put({0, 5});
  out.put({used - 4, 4});
  for (size_t i = 0; i < used; ++i) out.put({of_lengths[kLengthOrder[i]], 3});
  for (const ToldLength& length : told) out.put(codes[length.symbol].then(length.extra));
}

}  // namespace

void RunBlock::add_bytes(const uint8_t* bytes, int64_t count) {
  for (int64_t at = 0; at < count;) {
    const uint8_t value = bytes[at];
    const uint64_t eight = value * 0x0101010101010101u;
    const int64_t start = at;
    while (at + 8 <= count) {
      uint64_t next;
      std::memcpy(&next, bytes + at, sizeof next);
      if (next != eight) break;
      at += 8;
    }
    while (at < count && bytes[at] == value) ++at;
    add(value, at - start);
  }
}

std::string RunBlock::deflate() const {
  std::vector<uint32_t> counts(kSymbols);
  std::array<uint32_t, kMostTold + 1> of_length{};
  for_each_told(runs_, [&](uint8_t value, int64_t length) {
    counts[value] += uint32_t(literals_of(length));
    ++of_length[size_t(length)];
  });
  for (int64_t length = 0; length <= kMostTold; ++length) {
    if (repeat_of(length) > 0) counts[kRepeats[size_t(repeat_of(length))].symbol] += of_length[size_t(length)];
  }
  counts[kEnd] = 1;
  if (runs_.empty()) counts[0] = 1;  // a code needs two symbols
  const std::vector<uint8_t> lengths = code_lengths(counts, kLongestCode);
  const std::vector<Code> codes = codes_of(lengths);

  std::array<std::array<Code, kLeastRepeat + 1>, kLiterals> literals;  // of each value, as often
  for (size_t value = 0; value < kLiterals; ++value) {
    for (size_t times = 1; times <= kLeastRepeat; ++times) {
      literals[value][times] = literals[value][times - 1].then(codes[value]);
    }
  }
  std::array<Code, kMostTold + 1> repeat{};  // of each told length: what follows the literals
  uint64_t bits = 0;                         // of all tokens
  for (size_t length = 0; length < repeat.size(); ++length) {
    if (repeat_of(int64_t(length)) == 0) continue;
    const Repeat& told = kRepeats[size_t(repeat_of(int64_t(length)))];
    repeat[length] = codes[told.symbol].then({told.extra, told.extra_bits}).then({0, 1});  // one byte back
    bits += uint64_t(of_length[length]) * uint64_t(repeat[length].count);
  }
  for (size_t value = 0; value < kLiterals; ++value) bits += uint64_t(counts[value]) * lengths[value];

  constexpr int64_t kMostElse = 1024;  // bytes: the head, and the end
  BitWriter out(int64_t(bits / 8) + kMostElse);
  put_head(out, lengths);
  out.put_all([&](auto put) {
    for_each_told(runs_, [&](uint8_t value, int64_t length) {
      put(literals[value][size_t(literals_of(length))].then(repeat[size_t(length)]));
    });
  });
  out.put(codes[kEnd]);
  out.put({0b000, 3});  // a stored block
  out.to_whole_byte();
  out.put({0xFFFF0000, 32});  // of no bytes
  return out.take();
}

}  // namespace sat
