// sat inspect: what a checkpoint is, and what belongs to it.
#include <algorithm>
#include <string_view>

#include "examples/sat/command_line/command_line.h"
#include "examples/sat/output/output.h"
#include "sat/io/checkpoints/checkpoint.h"
#include "sat/io/files/hash.h"
#include "sat/io/words/text.h"
#include "sat/nn/image/ecamp/ecamp_file.h"
#include "sat/nn/image/image_file.h"
#include "sat/nn/probe/probe_file.h"
#include "sat/nn/sat/model_file.h"
#include "sat/nn/sat/recognise_config.h"
#include "sat/nn/text/embedding_bank.h"
#include "sat/nn/text/text_file.h"

namespace sat::cli {

namespace {

Json or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

Json shape_json(const Shape& shape) {
  Json sizes = Json::array();
  for (int64_t size : shape.sizes()) sizes.push(size);
  return sizes;
}

/// How many tensors of which type; all of them by name with `all`.
void add_tensors(Json& report, const Weights& weights, bool all) {
  Json types = Json::object(), list = Json::array();
  int64_t elements = 0;
  const std::vector<Weights::Entry> entries = weights.entries();
  for (const Weights::Entry& entry : entries) {
    elements += entry.shape.numel();
    const Json* before = types.find(name_of(entry.dtype));
    types.set(name_of(entry.dtype), (before ? before->integer() : 0) + 1);
    if (!all) continue;
    list.push(Json::object()
                  .set("name", entry.name)
                  .set("shape", shape_json(entry.shape))
                  .set("dtype", name_of(entry.dtype)));
  }
  report.set("tensors", int64_t(entries.size())).set("elements", elements).set("types", std::move(types));
  if (all) report.set("all_tensors", std::move(list));
}

void describe_bank(Json& report, const std::string& path) {
  report.set("kind", "embedding bank");
  const EmbeddingBank bank = read_bank(path);
  report.set("phrases", int64_t(bank.phrases.size()));
  report.set("width", bank.embeddings.shape[1]).set("text", to_json(bank.text));
  report.set("text_model_sha256", or_null(bank.text_identity)).set("model_sha256", or_null(bank.model_identity));
  report.set("card", bank.card.entries.empty() ? Json() : to_json(bank.card));
}

void describe_probe(Json& report, const std::string& path) {
  report.set("kind", "probe");
  const ProbeFile file = read_probe(path);
  Json labels = Json::array();
  for (const std::string& label : file.probe.labels) labels.push(label);
  report.set("labels", std::move(labels)).set("width", file.probe.weight.shape[1]).set("source", to_json(file.source));
}

void describe_text(Json& report, const std::string& path, const CheckpointLimits& limits) {
  report.set("kind", "text encoder");
  const TextFile text = open_text_file({path}, limits);
  report.set("text", to_json(text.config)).set("identity", text.identity);
  report.set("from_pretraining", text.pretraining);
}

bool has_name_ending(const Weights& weights, std::string_view end) {
  const std::vector<Weights::Entry> entries = weights.entries();
  return std::any_of(entries.begin(), entries.end(), [&](const Weights::Entry& entry) {
    return entry.name.size() >= end.size() && entry.name.compare(entry.name.size() - end.size(), end.size(), end) == 0;
  });
}

/// Has it a class token, as encoders of images have?
bool is_image_model(const Weights& weights) { return has_name_ending(weights, "cls_token"); }

/// LayerScale makes it RAD-DINO's kind, its absence ECAMP's.
void describe_image_model(Json& report, const Weights& weights, const InspectRequest& request) {
  report.set("kind", "image model");
  if (!has_name_ending(weights, "ls1.gamma") && !has_name_ending(weights, "layer_scale1.lambda1")) {
    const EcampFile file = open_ecamp_file(request.file, request.limits);
    report.set("architecture", "ecamp").set("network", name_of(file.kind));
    report.set("identity", file.identity).set("remark", or_null(file.remark));
    return;
  }
  const ImageFile file = open_image_file(request.file, request.config, request.limits);
  const VitConfig& config = file.config;
  report.set("architecture", file.kind).set("identity", file.identity).set("remark", or_null(file.remark));
  report.set("config", Json::object()
                           .set("width", config.width)
                           .set("depth", config.depth)
                           .set("heads", config.heads)
                           .set("hidden", config.hidden)
                           .set("patch", config.patch)
                           .set("registers", config.registers)
                           .set("positions", Json::array({config.table[0], config.table[1]}))
                           .set("input", file.input));
}

/// What a checkpoint seems to be although it cannot be used.
void describe_damaged(Json& report, const Weights& weights) {
  try {
    report.set("architecture", recognise_config(canonical_weights(weights)).config.architecture);
  } catch (const Error&) {
    report.set("kind", "unknown");
  }
}

void describe_model(Json& report, const Weights& weights, const InspectRequest& request) {
  report.set("kind", "segmentation model");
  try {
    const ModelFile model = open_model_file(request.file, request.config, request.limits);
    report.set("architecture", model.config.architecture).set("identity", model.identity);
    report.set("text_model_sha256", or_null(model.text_identity)).set("config", to_json(model.config));
    report.set("training_heads", (model.weights / "mid_mask_embed_proj").has_any());
  } catch (const Cancelled&) {
    throw;
  } catch (const Error&) {
    describe_damaged(report, weights);
    throw;
  }
}

/// Reads every tensor and throws Error where one cannot be read or values are not finite, naming the first 20.
void check_values(const Weights& weights) {
  constexpr int64_t kNamed = 20;
  int64_t found = 0;
  std::string named;
  for (const Weights::Entry& entry : weights.entries()) {
    const int64_t wrong = count_not_finite(entry.load());
    if (wrong == 0 || ++found > kNamed) continue;
    named += (named.empty() ? "'" : ", '") + entry.name + "' (" + std::to_string(wrong) + " of " +
             std::to_string(entry.shape.numel()) + ")";
  }
  SAT_CHECK(found == 0, weights.source(), ": values that are not finite in ", found,
            found == 1 ? " tensor: " : " tensors: ", named, found > kNamed ? ", ..." : "");
}

/// A checkpoint that cannot be used is described too: what is wrong stands where the description would.
int describe(Json& report, const Checkpoint& checkpoint, const InspectRequest& request) {
  try {
    if (is_bank(checkpoint)) {
      describe_bank(report, request.file);
    } else if (is_probe(checkpoint)) {
      describe_probe(report, request.file);
    } else if (is_text_file(checkpoint.weights)) {
      describe_text(report, request.file, request.limits);
    } else if (is_image_model(checkpoint.weights)) {
      describe_image_model(report, checkpoint.weights, request);
    } else {
      describe_model(report, checkpoint.weights, request);
    }
    check_values(checkpoint.weights);
    return kDone;
  } catch (const Cancelled&) {
    throw;
  } catch (const Error& error) {
    const std::string problem = message_of(error);
    report.set("problem", problem);
    report.set("error", failure_json(kind_of(error), problem, {request.file, request.config}));
    return kFailed;
  }
}

/// What the file holds beside its tensors, which is skipped.
void add_skipped(Json& report, const Checkpoint& checkpoint) {
  if (checkpoint.skipped.empty()) return;
  std::vector<Json::Member> skipped;
  for (const auto& [name, what] : checkpoint.skipped) skipped.emplace_back(name, what);
  report.set("skipped", Json::object(std::move(skipped)));
}

std::string padded(const std::string& text, size_t width) {
  return text + std::string(text.size() < width ? width - text.size() : 0, ' ');
}

void print_value(const std::string& key, const Json& value, int indent) {
  const std::string name = std::string(size_t(indent), ' ') + key;
  if (value.kind() == Json::Kind::object && value.size() > 0) {
    print_line(name);
    for (const Json::Member& member : value.members()) print_value(member.first, member.second, indent + 2);
    return;
  }
  const std::string text = value.is_null()                       ? "not recorded"
                           : value.kind() == Json::Kind::string  ? value.string()
                           : value.kind() == Json::Kind::boolean ? (value.boolean() ? "yes" : "no")
                                                                 : value.dump();
  print_line(padded(name, 24) + " " + text);
}

void print_report(const Json& report) {
  for (const Json::Member& member : report.members()) {
    if (member.first == "error") continue;  // says what "problem" says
    if (member.first != "all_tensors") {
      print_value(member.first, member.second, 0);
      continue;
    }
    for (const Json& tensor : member.second.items()) {
      print_line("  " + padded(tensor["dtype"].string(), 5) + " " + padded(tensor["shape"].dump(), 22) + " " +
                 tensor["name"].string());
    }
  }
}

}  // namespace

int run(const InspectRequest& request) {
  const std::string& path = request.file;
  const Checkpoint checkpoint = open_checkpoint(path, request.limits);
  Json report = Json::object();
  report.set("file", printable(path)).set("file_sha256", sha256_of_file(path));
  const int status = describe(report, checkpoint, request);
  add_tensors(report, checkpoint.weights, request.all);
  add_skipped(report, checkpoint);
  if (request.as_json) {
    print(report.dump(2) + "\n");
  } else {
    print_report(report);
  }
  return status;
}

}  // namespace sat::cli
