// The order of a blocked product's terms.
#include "sat/tensor/cpu/vector/product.h"

namespace sat::cpu {

const float kZeros[kDepth] = {};

Share share_of(const Product& product) {
  Share share{};
  share.spans = divide_up(divide_up(product.out, kPanel), kTilePanels);
  // Groups of one size, a multiple of the tile; smaller ones where there would be too few to share out.
  const int64_t enough = std::min(16 / share.spans, divide_up(product.rows, 48));
  const int64_t wanted = product.centred ? 1 : std::max(divide_up(product.rows, kGroupRows), enough);
  share.group_rows = divide_up(divide_up(product.rows, wanted), kTileRows) * kTileRows;
  share.groups = divide_up(product.rows, share.group_rows);
  share.grain = divide_up(share.spans * share.groups, kMostPieces);
  return share;
}

std::vector<Terms> order_of_terms(const Product& product) {
  std::vector<Terms> order;
  const int64_t depth = product.long_sum() ? kLongSumDepth : kDepth;
  const int64_t most = product.taps == 1 ? depth : std::min(depth, kTapChannels);
  for (int input = 0; input < 2; ++input) {
    const int64_t channels = product.in[size_t(input)];
    const int64_t runs = divide_up(channels, most), run = runs > 0 ? divide_up(channels, runs) : 0;
    for (int64_t channel = 0; channel < channels; channel += run) {
      const int64_t width = std::min(run, channels - channel);
      const int64_t taps = std::min({std::max<int64_t>(1, depth / width), kBlockTaps, product.taps});
      for (int64_t tap = 0; tap < product.taps; tap += taps) {
        order.push_back({input, channel, width, tap, std::min(taps, product.taps - tap)});
      }
    }
  }
  if (order.empty()) order.push_back({0, 0, 0, 0, 1});  // no terms: the sums are still set to zero
  return order;
}

}  // namespace sat::cpu
