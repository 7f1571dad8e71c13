// The stages of a case that `sat bench` measures: the published U-Nets with random weights, the query decoder,
// resampling a scan, and compressing a mask.
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <memory>

#include "examples/sat/bench/bench_case.h"
#include "sat/io/files/file.h"
#include "sat/io/scans/resample.h"
#include "sat/nn/sat/backbones/unet3d.h"
#include "sat/nn/sat/query_decoder.h"
#include "sat/nn/sat/sat_config.h"

namespace sat::cli {

namespace {

constexpr int64_t kTaps = 27;

std::array<int64_t, 3> grid_of(const std::vector<int64_t>& size) { return {size[0], size[1], size[2]}; }

Tensor batch_of_one(const Tensor& rows) { return rows.reshape({1, rows.shape[0], rows.shape[1]}); }

/// Whatever a network asks for, at the size that training leaves it: gains near 1, small biases, matrices that keep
/// the size of what passes through them.
Weights random_weights() {
  return Weights::made([seed = uint64_t(0)](const std::string& name, const Shape& shape) mutable {
    ++seed;
    if (shape.rank() > 1) return random_normal(shape, std::sqrt(2 * double(shape[0]) / double(shape.numel())), seed);
    Tensor x = random_normal(shape, 0.1, seed);
    const bool gain = name.size() > 11 && name.compare(name.size() - 11, 11, "norm.weight") == 0;
    for (int64_t i = 0; gain && i < x.numel(); ++i) x.data<float>()[i] += 1;
    return x;
  });
}

/// Convolutions alone: they are all but a thousandth of the work. Bytes: each one's input, output and weight.
Work unet_work(const SatConfig& config, const CaseSizes& sizes) {
  Work work;
  const auto& channels = config.channels;
  const auto voxels = [&](size_t stage) { return double(product_of(sizes.size)) / std::pow(8.0, double(stage)); };
  const auto count = [&](int64_t taps, int64_t in, int64_t out, double in_voxels, double out_voxels) {
    work.flop += 2 * double(taps * in * out) * out_voxels;
    work.bytes += 4 * (double(in) * in_voxels + double(out) * out_voxels + double(taps * in * out));
  };
  for (size_t s = 0; s < channels.size(); ++s) {
    for (int64_t j = 0; j < config.encoder_blocks[s]; ++j) {
      const int64_t in = j > 0 ? channels[s] : s > 0 ? channels[s - 1] : config.in_channels;
      count(kTaps, in, channels[s], voxels(j == 0 && s > 0 ? s - 1 : s), voxels(s));
    }
  }
  for (size_t d = 0; d + 1 < channels.size(); ++d) {
    const size_t s = channels.size() - 2 - d;
    count(1, channels[s + 1], channels[s], voxels(s + 1), voxels(s));  // each voxel takes one of the eight taps
    for (int64_t j = 0; j < config.decoder_blocks[d]; ++j) {
      count(kTaps, j == 0 ? 2 * channels[s] : channels[s], channels[s], voxels(s), voxels(s));
    }
  }
  return work;
}

BenchOperation unet_operation(const std::string& name, const std::string& architecture) {
  const SatConfig config = published_config(architecture);
  BenchOperation op;
  op.name = name;
  op.what = "the U-Net of " + architecture + " on one window, random weights";
  op.size_names = {"H", "W", "D"};
  op.cases = {{{}, {96, 96, 96}}};
  op.standard = architecture == "UNET" ? 1 : 0;
  op.work = [config](const CaseSizes& sizes) { return unet_work(config, sizes); };
  op.inputs = [](const CaseSizes& sizes) -> Inputs {  // one channel: the image is grey
    return {{"x", random_normal(volume_shape(sizes.size, 1), 1, 1)}};
  };
  op.refusal = [stride = config.total_stride()](const CaseSizes& sizes) {
    for (int64_t length : sizes.size) {
      if (length % stride != 0) return "multiples of " + std::to_string(stride) + " voxels";
    }
    return std::string();
  };
  const auto prepare = [config](const CaseSizes&, const Inputs& inputs) -> Runner {
    const auto unet = std::make_shared<UNet3d>(random_weights(), config);
    return [unet, x = to_compute_device(inputs.at("x"))] { (*unet)(x); };
  };
  for (Precision precision : {Precision::exact, Precision::fast}) {
    op.variants.push_back({name_of(precision), prepare});
    op.variants.back().precision = precision;
  }
  return op;
}

BenchOperation query_decoder_operation() {
  const SatConfig config = published_config("UNET");
  BenchOperation op;
  op.name = "query_decoder";
  op.what = "the query decoder of UNET on N prompts and T tokens, its keys and values included";
  op.size_names = {"N", "T"};
  op.cases = {{{}, {32, 243}}, {{}, {497, 243}}};
  op.standard = 2;
  op.work = [config](const CaseSizes& sizes) -> Work {
    const double prompts = double(sizes.size[0]), tokens = double(sizes.size[1]), width = double(config.query_dim);
    const double weights = 4 * width * width + 2 * width * double(config.feedforward);
    const double flop =
        2 * prompts * (weights - 2 * width * width) + 2 * tokens * 2 * width * width + 4 * prompts * tokens * width;
    return {double(config.decoder_layers) * flop,
            4 * (double(config.decoder_layers) * weights + (2 * prompts + tokens) * width)};
  };
  op.inputs = [config](const CaseSizes& sizes) -> Inputs {
    return {{"queries", random_normal({sizes.size[0], config.query_dim}, 1, 1)},
            {"tokens", random_normal({sizes.size[1], config.query_dim}, 1, 2)},
            {"position", positional_code({sizes.size[1], 1, 1}, config.query_dim)}};
  };
  op.variants = {{"exact", [config](const CaseSizes&, const Inputs& inputs) -> Runner {
                    const auto decoder = std::make_shared<QueryDecoder>(
                        random_weights(), config.query_dim, config.heads, config.decoder_layers, config.feedforward);
                    return [decoder, queries = batch_of_one(inputs.at("queries")),
                            tokens = batch_of_one(inputs.at("tokens")), position = inputs.at("position")] {
                      (*decoder)(queries, decoder->project_memory(tokens, position));
                    };
                  }}};
  return op;
}

/// A scan with voxels of 0.8 x 0.8 x 2.5 mm, and the grid of the published models.
struct Resampling {
  AxisOrder order;
  SpacedGrid grid;
};

Resampling resampling(const CaseSizes& sizes) {
  Geometry scan;
  scan.size = grid_of(sizes.size);
  for (size_t axis = 0; axis < 3; ++axis) scan.voxel_to_world_mm.m[axis][axis] = axis < 2 ? 0.8 : 2.5;
  return {axis_order(scan.voxel_to_world_mm, "RAS"), space_grid(scan, {1, 1, 3})};
}

BenchOperation resample_operation() {
  BenchOperation op;
  op.name = "resample";
  op.what = "a scan of HxWxD voxels of 0.8 x 0.8 x 2.5 mm to 1 x 1 x 3 mm";
  op.size_names = {"H", "W", "D"};
  op.cases = {{{}, {256, 256, 96}}, {{}, {512, 512, 300}}};
  op.work = [](const CaseSizes& sizes) -> Work {
    const double voxels = double(product_of(sizes.size) + resampling(sizes).grid.geometry.voxels());
    return {0, 4 * voxels};
  };
  op.inputs = [](const CaseSizes& sizes) -> Inputs { return {{"scan", random_normal(Shape(sizes.size), 300, 1)}}; };
  op.variants = {{"trilinear", [](const CaseSizes& sizes, const Inputs& inputs) -> Runner {
                    return [to = resampling(sizes), scan = inputs.at("scan")] { resample(scan, to.order, to.grid); };
                  }}};
  return op;
}

/// An ellipsoid of a sixth of the grid's length, off the centre: the size of a large organ.
Tensor organ(const std::array<int64_t, 3>& size) {
  Tensor mask({size[0], size[1], size[2]}, DType::u8);
  uint8_t* voxel = mask.data<uint8_t>();
  for (int64_t h = 0; h < size[0]; ++h) {
    for (int64_t w = 0; w < size[1]; ++w) {
      for (int64_t d = 0; d < size[2]; ++d) {
        const double x = double(h) / double(size[0]) - 0.4, y = double(w) / double(size[1]) - 0.5;
        const double z = double(d) / double(size[2]) - 0.6;
        *voxel++ = 36 * (x * x + y * y + z * z) < 1;
      }
    }
  }
  return mask;
}

BenchOperation mask_compression_operation() {
  BenchOperation op;
  op.name = "mask_compression";
  op.what = "gzip of one mask of HxWxD bytes, as it is written beside a scan";
  op.size_names = {"H", "W", "D"};
  op.cases = {{{}, {256, 256, 96}}, {{}, {512, 512, 300}}};
  op.work = [](const CaseSizes& sizes) -> Work { return {0, double(product_of(sizes.size))}; };
  op.inputs = [](const CaseSizes& sizes) -> Inputs { return {{"mask", organ(grid_of(sizes.size))}}; };
  op.variants = {{"gzip", [](const CaseSizes&, const Inputs& inputs) -> Runner {
                    const std::filesystem::path folder = std::filesystem::temp_directory_path();
                    const std::string path = (folder / ("sat-bench-" + std::to_string(::getpid()) + ".gz")).string();
                    return [path, mask = inputs.at("mask")] {
                      AtomicFile file(path);  // never committed, so nothing stays
                      GzipWriter gzip(file, 4, Repeats::runs);
                      gzip.write(mask.raw(), mask.bytes());
                      gzip.finish();
                    };
                  }}};
  return op;
}

}  // namespace

std::vector<BenchOperation> bench_stages() {
  return {unet_operation("unet", "UNET"),
          unet_operation("unet_l", "UNET-L"),
          unet_operation("unet_h", "UNET-H"),
          query_decoder_operation(),
          resample_operation(),
          mask_compression_operation()};
}

}  // namespace sat::cli
