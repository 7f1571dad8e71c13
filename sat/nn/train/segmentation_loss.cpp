// SAT's segmentation loss, scale by scale.
#include "sat/nn/train/segmentation_loss.h"

#include <algorithm>
#include <utility>

#include "sat/tensor/parallel.h"

namespace sat {

Tensor coarser_masks(const Tensor& bits, int64_t step) {
  const Shape& fine = bits.shape;
  SAT_CHECK(fine.rank() == 5 && bits.dtype == DType::u8 && step > 0 && fine[1] % step == 0 && fine[2] % step == 0 &&
                fine[3] % step == 0,
            "coarser_masks: masks ", bits.dtype, " ", fine, " do not divide into steps of ", step);
  const Shape shape({fine[0], fine[1] / step, fine[2] / step, fine[3] / step, fine[4]});
  Tensor coarse(shape, DType::u8);
  const uint8_t* from = bits.address<uint8_t>();
  uint8_t* to = coarse.address<uint8_t>();
  parallel_for(shape[0] * shape[1] * shape[2], 64, [&](int64_t first, int64_t last) {
    for (int64_t line = first; line < last; ++line) {
      const int64_t b = line / (shape[1] * shape[2]), h = line / shape[2] % shape[1], w = line % shape[2];
      const uint8_t* row = from + ((b * fine[1] + h * step) * fine[2] + w * step) * fine[3] * fine[4];
      for (int64_t d = 0; d < shape[3]; ++d) {
        std::copy_n(row + d * step * fine[4], fine[4], to + (line * shape[3] + d) * fine[4]);
      }
    }
  });
  return coarse;
}

SegmentationLoss segmentation_loss(const SatModel& model, const SegmentationBatch& batch, const Dropout& dropped) {
  const std::vector<Tensor> channels(size_t(model.config().in_channels), batch.images);
  const ImageFeatures image = model.encode_image(concat_channels(channels));
  const Tensor decoded = model.decode(batch.queries, image.memory, dropped);
  const size_t scales = std::min(model.scales(), image.per_voxel.size());
  float weights = 0;
  for (size_t s = 0; s < scales; ++s) weights += 1 / float(1 << s);

  SegmentationLoss loss;
  for (size_t s = 0; s < scales; ++s) {
    const MaskTargets targets{to_compute_device(s == 0 ? batch.masks.bits : coarser_masks(batch.masks.bits, 1 << s)),
                              batch.masks.counted};
    loss.scales.push_back(
        mask_loss(image.per_voxel[s], model.mask_vectors(decoded, s), targets, 1 / float(1 << s) / weights));
    loss.total = s == 0 ? loss.scales[0].total : add(loss.total, loss.scales[s].total);
  }
  return loss;
}

}  // namespace sat
