// Reading and preparing images, batch by batch.
#include "examples/sat/radiographs/input/image_reader.h"

#include "sat/io/files/hash.h"
#include "sat/nn/run/plan.h"
#include "sat/tensor/ops.h"

namespace sat::cli {

namespace {

const char* name_of(ImagePreparation::Fit fit) {
  constexpr const char* kNames[] = {"crop", "crop rounded", "squeeze"};
  return kNames[size_t(fit)];
}

}  // namespace

ReadyImage ImageReader::ready(const ListedImage& image) const {
  if (!image.error.empty()) fail(image.error);
  ReadyImage one;
  one.listed = image;
  one.identity = sha256_of_file(image.path);
  one.loaded = load_image(image.path, reading);
  one.prepared = prepare_image(one.loaded.image, preparation);
  return one;
}

Json ImageReader::to_json() const {
  Json window = cli::name_of(reading.window);
  if (reading.window == WindowRule::given) {
    window = Json::array({Json(reading.given.low), Json(reading.given.high)});
  }
  return Json::object({{"fit", name_of(preparation.fit)},
                       {"filter", preparation.filter == ResizeFilter::bicubic ? "bicubic" : "bilinear"},
                       {"size", preparation.size},
                       {"grey", preparation.grey},
                       {"mean", preparation.mean},
                       {"std", preparation.deviation},
                       {"window", window},
                       {"exif", reading.exif}});
}

Tensor joined_inputs(const std::vector<ReadyImage>& images) {
  if (images.size() == 1) return images[0].prepared.input;
  Tensor batch(images[0].prepared.input.shape.with(0, int64_t(images.size())));
  for (size_t i = 0; i < images.size(); ++i) copy_into(batch, int64_t(i), images[i].prepared.input);
  return batch;
}

void in_batches(const ImageReader& reader, const std::vector<ListedImage>& images, int64_t batch,
                const BatchSteps& steps) {
  Context& context = Context::current();
  std::vector<ReadyImage> ready;
  int64_t done = 0;
  const auto flush = [&] {
    if (ready.empty()) return;
    steps.batch(ready);
    ready.clear();
  };
  for (const ListedImage& image : images) {
    context.stop_if_cancelled();
    try {
      if (steps.wanted(image)) ready.push_back(reader.ready(image));
    } catch (const Cancelled&) {
      throw;
    } catch (const MemoryError&) {
      throw;
    } catch (const Error& error) {
      steps.failed(image, error);
    }
    ++done;
    if (int64_t(ready.size()) == batch || done == int64_t(images.size())) {
      flush();
      steps.progress(done);
    }
  }
}

int64_t fitting_batch(int64_t asked, int64_t limit, const std::function<int64_t(int64_t batch)>& needed) {
  for (int64_t count = asked;; count = count / 2) {
    const int64_t bytes = needed(count) + kProgramBytes;
    if (limit == 0 || bytes <= limit) return count;
    if (count > 1) continue;
    fail_as<MemoryError>("one image needs ", bytes, " bytes (", (bytes >> 20) + 1, " MiB) of memory, the limit is ",
                         limit, " bytes (", limit >> 20, " MiB)");
  }
}

}  // namespace sat::cli
