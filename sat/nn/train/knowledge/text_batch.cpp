// Draws by number, windows of long texts.
#include "sat/nn/train/knowledge/text_batch.h"

#include <utility>

#include "sat/nn/train/data/random.h"

namespace sat {

TextEncoder::Tokens cut_at_random(const TextEncoder& encoder, const std::string& text,
                                  const std::function<double()>& unit) {
  std::vector<int64_t> ids = encoder.ids(text);
  const auto length = int64_t(ids.size()), most = encoder.config().max_tokens;
  if (length <= most || unit() >= 0.5) return encoder.cut(std::move(ids));
  const auto start = int64_t(unit() * double(length - most + 1));
  const int64_t end = ids.back();
  ids = {ids.begin() + start, ids.begin() + start + most};
  ids.back() = end;
  return encoder.cut(std::move(ids));
}

TextBatch draw_texts(const KnowledgePairs& pairs, const TextEncoder& encoder, uint64_t seed, int64_t first,
                     int64_t count) {
  TextBatch batch;
  for (int64_t number = first; number < first + count; ++number) {
    KeyedRandom random(seed, uint64_t(number), 0, Purpose::pairs);
    const std::function<double()> unit = [&random] { return random.uniform(); };
    KnowledgePair pair = pairs.draw(unit);
    batch.names.push_back(cut_at_random(encoder, pair.label, unit));
    batch.texts.push_back(cut_at_random(encoder, pair.text, unit));
    batch.labels.push_back(std::move(pair.label));
  }
  return batch;
}

}  // namespace sat
