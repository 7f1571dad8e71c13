// The bits of a whole small network's logits on a device, in every precision.
#include <cstring>

#include "sat/nn/sat/sat_model.h"
#include "tests/cuda/counts/kernel_runs.h"
#include "tests/cuda/device_context.h"
#include "tests/support/golden.h"
#include "tests/support/parity/sat_parity.h"
#include "tests/support/tiny_model.h"

namespace sat::test {

std::vector<std::string> network_bits() {
  std::vector<std::string> lines;
  SatConfig config = tiny_config();
  config.channels = {16, 24, 32};  // which the tensor cores' variants take
  for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
    cuda::DeviceOptions options;
    if (type != DType::f32) options.half = type;
    DeviceContext device(type == DType::f32 ? Precision::exact : Precision::fast, options);
    const SatModel model(generated_weights(""), config);
    const Tensor logits = model.logits(field("window", {1, 32, 16, 24, 1}, 1.5), field("queries", {5, 12}, 1));
    const Tensor here = logits.to(Device::cpu);
    Hash hash;
    hash.add(here.raw(), here.bytes());
    lines.push_back(std::string("network/") + name_of(type) + " " + hash.text());
  }
  return lines;
}

}  // namespace sat::test
