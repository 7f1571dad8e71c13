// ECAMP's networks by the marks that their tensors leave.
#include "sat/nn/image/ecamp/ecamp_file.h"

#include <vector>

#include "sat/io/files/hash.h"
#include "sat/io/words/text.h"
#include "sat/nn/sat/stored_weights.h"

namespace sat {

namespace {

constexpr size_t kNamed = 5;  // foreign tensors, in a message

std::string value_of(const std::map<std::string, std::string>& map, const char* key) {
  const auto found = map.find(key);
  return found == map.end() ? std::string() : found->second;
}

}  // namespace

EcampKind recognise_ecamp(const Weights& w) {
  const bool decodes = (w / "decoder_disc").has_any() || (w / "decoder_cup").has_any() || (w / "decoder").has_any();
  std::vector<EcampKind> kinds;
  if ((w / "bert_encoder").has_any()) kinds.push_back(EcampKind::pretraining);
  if ((w / "head").has_any() || (w / "fc_norm").has_any()) kinds.push_back(EcampKind::classification);
  if ((w / "encoder").has("cls_token") || decodes) kinds.push_back(EcampKind::segmentation);
  if ((w / "backbone").has_any() || (w / "embedding0").has_any()) kinds.push_back(EcampKind::detection);
  if (kinds.empty() && w.has("cls_token")) return EcampKind::encoder;
  SAT_CHECK(!kinds.empty(), w.source(), ": no network of ECAMP's (it has neither cls_token nor encoder.cls_token nor ",
            "backbone.encoder.cls_token)");
  SAT_CHECK(kinds.size() == 1, w.source(), ": tensors of more than one network: ", name_of(kinds[0]), " and ",
            name_of(kinds[1]));
  return kinds[0];
}

EcampFile open_ecamp_file(const std::string& path, const CheckpointLimits& limits) {
  const Checkpoint checkpoint = open_checkpoint(path, limits);
  std::vector<Weights::Entry> entries = checkpoint.weights.entries();
  for (Weights::Entry& entry : entries) entry.name = without_wrappers(entry.name);
  EcampFile file;
  file.path = path;
  file.weights = Weights(std::move(entries), path).finite();
  file.kind = recognise_ecamp(file.weights);
  file.identity = value_of(checkpoint.metadata, "identity");
  if (file.identity.empty()) file.identity = sha256_of_file(path);
  if (!value_of(checkpoint.metadata, "generated").empty()) file.remark = "untrained weights";
  return file;
}

void check_all_read(const Weights& w, EcampKind kind) {
  const std::vector<std::string> foreign = w.never_read();
  std::string named;
  for (size_t i = 0; i < foreign.size() && i < kNamed; ++i) named += (i ? ", " : "") + quoted(foreign[i]);
  SAT_CHECK(foreign.empty(), w.source(), ": ", foreign.size(), " tensors do not belong to ", name_of(kind), ": ", named,
            foreign.size() > kNamed ? ", ..." : "");
}

}  // namespace sat
