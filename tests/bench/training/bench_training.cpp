// Times a training step of SAT on this machine, by itself or as one side of tests/bench/train_peers.sh.
// --help explains the options.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "sat/io/files/file.h"
#include "sat/io/words/json.h"
#include "sat/nn/train/optimiser/optimiser.h"
#include "sat/nn/train/segmentation_loss.h"
#include "sat/tensor/autograd/tape.h"
#include "sat/tensor/context.h"
#include "sat/tensor/memory/memory.h"
#include "tests/support/golden.h"

using namespace sat;

namespace {

constexpr const char* kHelp = R"(Times a training step of SAT on this machine: forward, backward, optimiser (AdamW).
  sat_bench_training [OPTION...]            some steps, and each operation's share of one
  sat_bench_training --plan [OPTION...]     what a step will take in memory, without a step
  sat_bench_training --serve [OPTION...]    stays alive and takes commands, as train_peers.sh gives them
Options:
  --size H W D        crop (96 96 96)
  --prompts N         of the one image of the batch (8)
  --network NAME      UNET (SAT-Nano's, default) or any other published architecture
  --precision NAME    exact (default) or fast
  --cpu LEVEL         plain, avx2, avx512 or amx (default: the best of this processor)
  --threads N         default: all processors
  --recompute N       stages, the largest first, whose inner results are made again in the backward pass (0)
  --repeats N         steps that the median is taken of, after one to warm up (3)
  --help
Weights and batch come from the generator of the recorded values.
)";

struct Arguments {
  std::vector<int64_t> size = {96, 96, 96};
  int64_t prompts = 8;
  std::string network = "UNET";
  ContextOptions context;
  int recompute = 0, repeats = 3;
  bool help = false, plan = false, serve = false;
};

Arguments parse(int argc, char** argv) {
  Arguments a;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    const auto value = [&] {
      SAT_CHECK(i + 1 < argc, option, " needs a value");
      return std::string(argv[++i]);
    };
    if (option == "--help") {
      a.help = true;
    } else if (option == "--plan") {
      a.plan = true;
    } else if (option == "--serve") {
      a.serve = true;
    } else if (option == "--size") {
      for (int64_t& size : a.size) size = std::stoll(value());
    } else if (option == "--prompts") {
      a.prompts = std::stoll(value());
    } else if (option == "--network") {
      a.network = value();
    } else if (option == "--precision") {
      a.context.precision = parse_precision(value());
    } else if (option == "--cpu") {
      a.context.cpu = parse_cpu_level(value());
    } else if (option == "--threads") {
      a.context.threads = std::stoi(value());
    } else if (option == "--recompute") {
      a.recompute = std::stoi(value());
    } else if (option == "--repeats") {
      a.repeats = std::stoi(value());
    } else {
      fail("unknown option ", option, "; --help lists them");
    }
  }
  return a;
}

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double median(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

/// Weights of the recorded values' generator; of a dry run only their sizes are of use.
Weights made_weights() {
  return Weights::made([](const std::string& name, const Shape& shape) {
    return Context::current().dry() ? Tensor(shape) : test::generated_weight(name, shape);
  });
}

/// One image; every mask a quarter of its voxels, at random.
SegmentationBatch make_batch(const Arguments& a, int64_t text_dim) {
  const int64_t voxels = a.size[0] * a.size[1] * a.size[2], bytes = (a.prompts + 7) / 8;
  const Shape image{1, a.size[0], a.size[1], a.size[2], 1}, queries{1, a.prompts, text_dim};
  SegmentationBatch batch;
  batch.masks.counted = full({1, a.prompts}, 1);
  batch.masks.bits = zeros(image.with(4, bytes), DType::u8);
  if (Context::current().dry()) {
    batch.images = Tensor(image);
    batch.queries = Tensor(queries);
    return batch;
  }
  batch.images = test::field("image", image, 1.5);
  batch.queries = test::field("queries", queries, 1);
  const auto draw = test::unit_stream("mask");
  uint8_t* bits = batch.masks.bits.data<uint8_t>();
  for (int64_t n = 0; n < a.prompts; ++n) {
    for (int64_t v = 0; v < voxels; ++v) {
      if (draw() < 0.25) bits[v * bytes + n / 8] |= uint8_t(1 << n % 8);
    }
  }
  return batch;
}

/// Seconds of a step's parts.
struct Times {
  double forward = 0, backward = 0, optimiser = 0;
  double all() const { return forward + backward + optimiser; }
};

/// Parameters, their optimiser and a batch. A model is made anew for each step, so that its tape sees all of it.
class Training {
 public:
  explicit Training(const Arguments& a)
      : weights_(made_weights().for_training()),
        config_(published_config(a.network)),
        batch_(make_batch(a, config_.text_dim)),
        recompute_(a.recompute) {}

  /// Called with "forward", "backward" and "optimiser" when they begin.
  std::function<void(const char*)> on_phase = [](const char*) {};

  Times step() {
    Times times;
    NamedTensors gradients = forward_and_backward(times);
    const double start = seconds();
    on_phase("optimiser");
    optimiser_.step(weights_.parameters(), gradients, 1e-4);
    gradients.clear();
    times.optimiser = seconds() - start;
    return times;
  }

  NamedTensors forward_and_backward(Times& times) {
    double start = seconds();
    on_phase("forward");
    Tape tape(recompute_);
    {
      RecordOn recording(&tape);
      loss = segmentation_loss(SatModel(weights_, config_, Heads::all), batch_);
    }
    times.forward = seconds() - start;
    start = seconds();
    on_phase("backward");
    tape.run(loss.total);
    NamedTensors gradients;
    for (const auto& [name, parameter] : weights_.parameters()) {
      if (Tensor gradient = tape.take_gradient(parameter); !gradient.empty()) gradients[name] = std::move(gradient);
    }
    times.backward = seconds() - start;
    return gradients;
  }

  SegmentationLoss loss;  // of the latest step, before it

 private:
  Weights weights_;
  SatConfig config_;
  SegmentationBatch batch_;
  Optimiser optimiser_{OptimiserOptions()};
  int recompute_;
};

/// What each op takes of each phase, without the ops inside it.
class Shares {
 public:
  void begin(const char* phase) { phase_ = phase; }

  void add(const ProfileEvent& event) {
    const double start = seconds() - event.seconds;
    double own = event.seconds;
    for (; !ended_.empty() && ended_.back().first >= start; ended_.pop_back()) own -= ended_.back().second;
    ended_.emplace_back(start, event.seconds);
    std::ostringstream key;
    key << event.name << " " << event.shape;
    seconds_[key.str()][phase_] += own;
  }

  /// The largest first; what takes less than a thousandth of all goes together.
  void print() const {
    std::vector<std::pair<double, std::string>> order;
    double all = 0;
    for (const auto& [key, phases] : seconds_) {
      double sum = 0;
      for (const auto& [phase, time] : phases) sum += time;
      order.emplace_back(sum, key);
      all += sum;
    }
    std::sort(order.rbegin(), order.rend());
    std::printf("%-50s %12s %12s\n", "operation, without those inside it", "forward ms", "backward ms");
    std::map<std::string, double> rest;
    for (const auto& [sum, key] : order) {
      const auto& phases = seconds_.at(key);
      if (sum < 1e-3 * all) {
        for (const auto& [phase, time] : phases) rest[phase] += time;
      } else {
        print_row(key, phases);
      }
    }
    print_row("others", rest);
  }

 private:
  static void print_row(const std::string& key, const std::map<std::string, double>& phases) {
    const auto of = [&](const char* phase) { return phases.count(phase) != 0 ? phases.at(phase) * 1e3 : 0; };
    std::printf("%-50s %12.1f %12.1f\n", key.c_str(), of("forward"), of("backward"));
  }

  std::string phase_;
  std::vector<std::pair<double, double>> ended_;  // start and seconds of ops that are not inside a later one
  std::map<std::string, std::map<std::string, double>> seconds_;
};

void print_plan(const Arguments& a) {
  Context context(Context(a.context).dry_run());
  UseContext use(context);
  Training training(a);
  for (int step = 0; step < 2; ++step) training.step();  // the first leaves the optimiser's moments
  std::printf("a step will take %.2f GB at its peak\n", double(context.memory()->peak_bytes()) * 1e-9);
}

/// The largest resident memory of this process since it began.
double resident_peak_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmHWM:", 0) == 0) return std::stod(line.substr(6)) * 1024;
  }
  return 0;
}

void bench(Arguments a) {
  Shares shares;
  bool recording = false;
  a.context.on_profile = [&](const ProfileEvent& event) {
    if (recording) shares.add(event);
  };
  Context context(a.context);
  UseContext use(context);
  Training training(a);
  training.on_phase = [&](const char* phase) { shares.begin(phase); };
  std::vector<double> all, forward, backward, optimiser;
  for (int i = 0; i <= a.repeats; ++i) {
    const Times times = training.step();
    if (i == 0 && a.repeats > 0) continue;
    all.push_back(times.all());
    forward.push_back(times.forward);
    backward.push_back(times.backward);
    optimiser.push_back(times.optimiser);
  }
  std::printf(
      "%s %lldx%lldx%lld, %lld prompts, %s, %s, %d threads, %d stages run again: median %.3f s (forward %.3f, "
      "backward %.3f, optimiser %.3f), peak %.2f GB, %.2f GB resident, loss %.6f\n",
      a.network.c_str(), (long long)a.size[0], (long long)a.size[1], (long long)a.size[2], (long long)a.prompts,
      name_of(a.context.precision), name_of(a.context.cpu), context.thread_count(), a.recompute, median(all),
      median(forward), median(backward), median(optimiser), double(context.memory()->peak_bytes()) * 1e-9,
      resident_peak_bytes() * 1e-9, double(training.loss.total.data<float>()[0]));
  std::fflush(stdout);
  if (a.repeats == 0) return;
  recording = true;
  training.step();
  shares.print();
}

/// Losses of the scales, and of every parameter's gradient its norm and evenly spaced samples.
Json described(const SegmentationLoss& loss, const NamedTensors& gradients) {
  constexpr int64_t kSamples = 64;
  Json scales = Json::array(), described = Json::object();
  for (const MaskLoss& scale : loss.scales) scales.push(double(scale.total.data<float>()[0]));
  for (const auto& [name, gradient] : gradients) {
    const float* values = gradient.data<float>();
    const int64_t count = gradient.numel(), samples = std::min(kSamples, count);
    double squares = 0;
    for (int64_t i = 0; i < count; ++i) squares += double(values[i]) * double(values[i]);
    Json row = Json::array({Json(std::sqrt(squares))});
    for (int64_t i = 0; i < samples; ++i) row.push(double(values[i * count / samples]));
    described.set(name, std::move(row));
  }
  return Json::object({{"scales", std::move(scales)}, {"gradients", std::move(described)}});
}

/// Answers each line of the standard input with one line of JSON, until it ends; the first line, unasked, names the
/// kernels.
///   run           one step: {"seconds": s, "forward": s, "backward": s, "optimiser": s, "loss": l}, where l is the
///                 loss before it
///   write STEM    STEM.json: described(), of the weights as they are; no step
void serve(const Arguments& a) {
  Context context(a.context);
  UseContext use(context);
  Training training(a);
  std::cout << "{\"version\": \"" << name_of(a.context.cpu) << "\"}" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command, stem;
    words >> command >> stem;
    if (command == "run") {
      const Times times = training.step();
      const double loss = double(training.loss.total.data<float>()[0]);
      const Json reply = Json::object({{"seconds", times.all()},
                                       {"forward", times.forward},
                                       {"backward", times.backward},
                                       {"optimiser", times.optimiser},
                                       {"loss", loss}});
      std::cout << reply.dump() << std::endl;
    } else if (command == "write") {
      Times unread;
      const NamedTensors gradients = training.forward_and_backward(unread);
      AtomicFile file(stem + ".json");
      file.write(described(training.loss, gradients).dump());
      file.commit();
      std::cout << "{}" << std::endl;
    } else {
      fail("cannot do '", line, "'");
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Arguments a = parse(argc, argv);
    if (a.help) {
      std::fputs(kHelp, stdout);
    } else if (a.serve) {
      serve(a);
    } else if (a.plan) {
      print_plan(a);
    } else {
      bench(a);
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sat_bench_training: %s\n", error.what());
    return 1;
  }
}
