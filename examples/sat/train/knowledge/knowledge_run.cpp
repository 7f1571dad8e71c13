// From files to a task, and from parameters to files.
#include "examples/sat/train/knowledge/knowledge_run.h"

#include <utility>

#include "examples/sat/interrupt.h"
#include "examples/sat/train/knowledge/name_chart.h"
#include "sat/io/files/file.h"
#include "sat/io/pictures/png.h"

namespace sat::cli {

namespace {

std::optional<TextEncoderConfig> encoder_config_of(const KnowledgePart& part, TextKind kind) {
  if (part.encoder_config.kind() == Json::Kind::object) {
    return text_config_from_json(part.encoder_config, "\"knowledge.encoder_config\"");
  }
  if (part.encoder_config.string() == "file") return std::nullopt;
  return native_text_config(kind);
}

SatConfig encoder_of(const KnowledgeScansPart& scans) {
  SatConfig encoder = atlas_encoder_config(scans.encoder, scans.crop);
  if (scans.channels.empty()) return encoder;
  encoder.architecture = "of the config";
  encoder.channels = scans.channels;
  encoder.encoder_blocks = scans.blocks;
  encoder.decoder_blocks.assign(scans.channels.size() - 1, 1);
  return encoder;
}

KnowledgePairs pairs_of(const KnowledgePart& part) {
  KnowledgePairs pairs;
  if (!part.umls_definitions.file.empty()) {
    pairs.add(read_umls_definitions(part.umls_definitions.file), part.umls_definitions.ratio);
  }
  if (!part.umls_graph.file.empty()) pairs.add(read_umls_graph(part.umls_graph.file), part.umls_graph.ratio);
  const auto add = [&](ConceptFile file, const KnowledgeFilePart& of) {
    pairs.add(std::move(file.definitions), of.ratio);
    pairs.add(std::move(file.relations), of.relations_ratio);
  };
  if (!part.web.file.empty()) add(read_web_knowledge(part.web.file), part.web);
  if (!part.supplement.file.empty()) add(read_supplement(part.supplement.file), part.supplement);
  return pairs;
}

AtlasSampler sampler_of(const KnowledgeScansPart& scans, uint64_t seed, const std::string& folder, ProgressView& view) {
  OnCaseProblem on_problem;
  if (scans.skip_problems) {
    on_problem = [&](const CaseProblem& problem) { view.line("left out: " + problem.reason); };
  }
  DatasetOptions options;
  options.on_problem = on_problem;
  std::vector<LabelledCase> cases;
  for (const std::string& path : scans.data) {
    for (LabelledCase& one : read_dataset(path, options).train) {
      pretraining_modality(one.modality);  // throws for one without a row
      cases.push_back(std::move(one));
    }
  }
  const CaseCache cache(scans.cache.empty() ? folder + "/cache" : scans.cache);
  std::vector<PreparedCase> prepared =
      prepare_cases(cache, cases, on_problem, [&](int64_t number, const LabelledCase&) {
        if (interrupted()) throw Cancelled("interrupted");
        view.count("preparing", "cases", number, int64_t(cases.size()));
      });
  SAT_CHECK(!prepared.empty(), "no scan to learn from could be read");
  AtlasSamplerOptions sampling;
  sampling.crop = scans.crop;
  sampling.others = scans.others;
  sampling.seed = seed;
  return AtlasSampler(cache, std::move(prepared), sampling);
}

Json to_json(const NameSimilarity& similarity) {
  return Json::object({{"learnt", similarity.learnt},
                       {"held_out", similarity.held_out},
                       {"others", similarity.others},
                       {"held_out_nearest", similarity.nearest}});
}

}  // namespace

KnowledgeRun::KnowledgeRun(const TrainConfig& config, const std::string& folder, ProgressView& view)
    : part_(*config.knowledge) {
  std::optional<SatConfig> encoder;
  if (part_.scans) encoder = encoder_of(*part_.scans);
  if (part_.random_encoder) {
    const RandomEncoderPart& random = *part_.random_encoder;
    vocabulary_ = WordPiece::read(part_.vocabulary, TokenizerFamily::mpnet);
    TextBackboneConfig sizes = mpnet_base();
    sizes.vocabulary = vocabulary_->size();
    sizes.hidden = random.hidden;
    sizes.layers = random.layers;
    sizes.heads = random.heads;
    sizes.feedforward = random.feedforward;
    start_ = random_knowledge_start(sizes, encoder, config.seed);
  } else {
    const TextKind kind = open_text_file(part_.encoder).config.kind;
    start_ = open_knowledge_start(part_.encoder, encoder_config_of(part_, kind), encoder, config.seed);
    vocabulary_ = WordPiece::read(part_.vocabulary,
                                  start_.text.kind == TextKind::ours ? TokenizerFamily::mpnet : TokenizerFamily::bert);
  }
  pairs_ = pairs_of(part_);
  KnowledgeTaskOptions options;
  options.pairs = part_.pairs;
  options.open_bert_layer = part_.open_bert_layer;
  options.monitored_pairs = part_.monitored_pairs;
  options.accumulation = config.accumulation;
  options.last_step = RateSchedule(config.stages).steps();
  options.seed = config.seed;
  std::optional<KnowledgeTask::Atlas> atlas;
  if (part_.scans) {
    options.crops = part_.scans->crops;
    options.workers = int(part_.scans->workers);
    atlas.emplace(KnowledgeTask::Atlas{*encoder, sampler_of(*part_.scans, config.seed, folder, view)});
  }
  task_.emplace(start_, *vocabulary_, pairs_, std::move(atlas), options);
}

std::string KnowledgeRun::export_to(const std::string& folder, const NamedTensors& values,
                                    const std::string& identity) const {
  write_trained_text(folder + "/text.safetensors", start_, values, identity);
  write_pretraining(folder + "/pretraining.safetensors", start_, values);
  if (part_.compare.empty()) return folder + "/text.safetensors and pretraining.safetensors";
  compare(folder, values);
  return folder + "/text.safetensors, pretraining.safetensors and embeddings.png";
}

void KnowledgeRun::compare(const std::string& folder, const NamedTensors& values) const {
  const std::vector<NameGroup> groups = read_name_groups(part_.compare);
  const std::vector<std::string> names = names_of(groups);
  NamedTensors first;
  for (const Weights::Entry& entry : start_.weights.entries()) first[entry.name] = entry.load();
  const Tensor before = text_encoder_of(start_, first, *vocabulary_).pooled(names);
  const Tensor after = text_encoder_of(start_, values, *vocabulary_).pooled(names);
  write_png(folder + "/embeddings.png", draw_names(groups, before, after));
  const Json json = Json::object(
      {{"before", to_json(similarity_of(groups, before))}, {"after", to_json(similarity_of(groups, after))}});
  write_file_atomically(folder + "/similarity.json", json.dump(1) + "\n");
}

}  // namespace sat::cli
