// sat evaluate: how good masks are.
#include "examples/sat/command_line/commands.h"
#include "examples/sat/command_line/options.h"

namespace sat::cli {

namespace {

constexpr int64_t kMostSamples = 100000;

template <class Choice>
Choice choice_of(const std::string& word, const std::vector<std::pair<const char*, Choice>>& known) {
  std::string names;
  for (const auto& [name, choice] : known) {
    if (word == name) return choice;
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  fail("'", word, "' is none of ", names);
}

EvaluateRequest::Part parse_part(const std::string& word) {
  using Part = EvaluateRequest::Part;
  return choice_of<Part>(word, {{"all", Part::all}, {"training", Part::training}, {"validation", Part::validation}});
}

EvaluateRequest::OnError parse_on_error(const std::string& word) {
  using OnError = EvaluateRequest::OnError;
  return choice_of<OnError>(word, {{"skip", OnError::skip}, {"stop", OnError::stop}});
}

void add_model(CLI::App* command, EvaluateRequest& request) {
  ModelOptions& options = request.model;
  CLI::Option* model = add_file(command, "--model", options.model, "segment the labelled scans with this model now");
  command->add_flag("--shipped-model", request.shipped_model, "the same with the shipped model")->excludes(model);
  add_file(command, "--config", options.config, "JSON description of a model that has none of its own");
  CLI::Option* bank = add_file(command, "--bank", options.bank, "prompts encoded before (sat bank)");
  CLI::Option* vocabulary = add_file(command, "--vocab", options.vocabulary, "the text encoder's word pieces");
  add_file(command, "--text-model", options.text_model, "text encoder, to encode prompts now")
      ->excludes(bank)
      ->needs(vocabulary);
  command->add_flag("--keep-masks", request.keep_masks, "also write the model's masks, to DIR/masks/CASE/");
  add_parsed(command, "--max-ram", request.session.max_ram, parse_bytes, "as for sat segment")->type_name("BYTES");
  command->add_option("--scratch", request.session.scratch, "as for sat segment; default: DIR")->type_name("DIR");
  add_device(command, request.device, "auto");
  add_precision(command, options.precision);
}

}  // namespace

CLI::App* add_evaluate(CLI::App& program, EvaluateRequest& request) {
  CLI::App* command = program.add_subcommand("evaluate", "Score masks against labels, and compare two sets of scores");
  add_words(command, "PREDICTIONS LABELS", request.paths,
            "a folder of masks and what is true; LABELS alone with a\nmodel; two results.csv with --compare");
  command->add_option("-o,--output", request.output, "where results.csv, summary.json and scores.png go")
      ->type_name("DIR");
  add_parsed(command, "--part", request.part, parse_part, "of LABELS: all (default), training or validation cases")
      ->type_name("P");
  add_parsed(command, "--structures", request.structures, parse_list,
             "score only these; default: all that are labelled")
      ->type_name("LIST");
  add_file(command, "--regions", request.regions, "which part of the body each structure belongs to (.json)");
  command->add_option("--tolerance", request.tolerance_mm, "of NSD in the scan's own space, in mm; default: 1")
      ->type_name("MM")
      ->check(CLI::Range(0.0, 1000.0));
  command->add_option("--samples", request.samples, "of the bootstrap; default: 1000")
      ->type_name("N")
      ->check(CLI::Range(int64_t(0), kMostSamples));
  command->add_option("--seed", request.seed, "of the bootstrap; default: 0")->type_name("N");
  add_parsed(command, "--on-error", request.on_error, parse_on_error,
             "skip (default): name a case that cannot be scored and go\non; stop: end there")
      ->type_name("DO");
  command->add_flag_callback(
      "--no-chart", [&request] { request.chart = false; }, "no scores.png");
  add_model(command, request);
  command->add_flag("--compare", request.compare, "test whether two results.csv of the same cases differ");
  add_parsed(command, "--score", request.scores, parse_list, "columns to compare; default: sat_dice,sat_nsd,dice,nsd")
      ->type_name("LIST");
  command->add_option("--json", request.json, "of --compare: write what was found; - writes it to stdout")
      ->type_name("FILE");
  add_threads(command, request.threads);
  add_cpu(command, request.cpu);
  command->add_flag("--quiet", request.quiet, "nothing on stderr but errors");
  command->footer(
      R"(LABELS is a folder with labels.json, or a .jsonl file of SAT's records. PREDICTIONS is a folder that sat
segment wrote, or one with CASE/STRUCTURE.nii.gz, or with label maps CASE.nii.gz and perhaps a
labels.json {"liver": 1, ...}; CASE is the case's name in LABELS or that of its scan.

Each structure is scored in SAT's protocol (nearest voxels at 1 x 1 x 3 mm; columns sat_...) and in the
scan's own space (Dice, NSD, distances in mm, volumes in ml). A structure that LABELS say nothing of is
not scored. A prediction that is missing, damaged, or on another grid than its labels is named, its
case is not scored, and the run ends with status 2 (1 where no case is left). docs/evaluation.md has the
rules for empty masks and for means.

Examples:
  sat evaluate results/ labels/ -o scores
  sat evaluate labels/ --shipped-model --part validation -o scores
  sat evaluate --compare before/results.csv after/results.csv --score dice,hd95_mm --json -)");
  return command;
}

}  // namespace sat::cli
