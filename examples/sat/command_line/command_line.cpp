// The program's commands together: its own help, which command was meant, and what is said of words that fit none.
#include "examples/sat/command_line/command_line.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <sstream>

#include "examples/sat/command_line/commands.h"
#include "examples/sat/tools/nearest.h"
#include "sat/tensor/context.h"

namespace sat::cli {

namespace {

/// A sentence about the first word that CLI11 could not place, or "": a misspelt option says more than the option that
/// is then missing.
std::string unplaced(const CLI::App& program) {
  const CLI::App* command = &program;
  while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
  for (const std::string& word : program.remaining(true)) {
    if (word == "--") continue;
    const bool is_option = word.size() > 1 && word[0] == '-';
    std::vector<std::string> known;
    if (is_option) {
      for (const CLI::Option* option : command->get_options()) {
        if (option->nonpositional()) known.push_back(option->get_name());
      }
    } else {
      for (const CLI::App* each : command->get_subcommands([](const CLI::App*) { return true; })) {
        known.push_back(each->get_name());
      }
      if (known.empty()) return "'" + word + "' is one word too many";
    }
    const std::string name = word.substr(0, is_option ? word.find('=') : word.size());
    const std::vector<std::string> near = nearest_names(name, known, 1);
    return (is_option ? "unknown option " + name : "there is no command '" + name + "'") +
           (near.empty() ? "" : "; did you mean " + near[0] + "?");
  }
  return "";
}

}  // namespace

Request read_command_line(int count, const char* const* words) {
  CLI::App program("Segment medical scans by name, without Python and without a framework", "sat");
  program.set_help_flag("-h,--help", "this page");
  program.set_version_flag("--version", std::string("sat " SAT_VERSION " (") + name_of(best_cpu_level()) + ")",
                           "the version, and what of this processor is used");
  program.require_subcommand(0, 1);
  program.get_formatter()->label("Positionals", "Arguments");
  program.footer(R"(sat COMMAND --help explains a command.

Status at the end:
  0    done
  1    something failed
  2    of several cases some failed
  64   wrong usage
  129, 130, 143  ended by SIGHUP, SIGINT (Ctrl-C), SIGTERM

With --json whatever fails prints {"error": {"kind", "message", "file"}} on stdout. The kinds are usage,
input, memory, device, output, interrupted and internal; file is null where no file is to blame.

Examples:
  sat segment scan.nii.gz --modality ct --prompts "spinal cord,brainstem" -o results)");

  SegmentRequest segment;
  PlanRequest plan;
  PromptsRequest prompts;
  BankRequest bank;
  ConvertRequest convert;
  InspectRequest inspect;
  BenchRequest bench;
  ProbeRequest probe;
  EncodeRequest encode;
  ClassifyRequest classify;
  Segment2dRequest segment2d;
  DetectRequest detect;
  NearestRequest nearest;
  EvaluateRequest evaluate;
  TrainRequest train;
  const CLI::App* segment_command = add_segment(program, segment);
  const CLI::App* plan_command = add_plan(program, plan);
  const CLI::App* prompts_command = add_prompts_command(program, prompts);
  const CLI::App* encode_command = add_encode(program, encode);
  const CLI::App* classify_command = add_classify(program, classify);
  const CLI::App* segment2d_command = add_segment2d(program, segment2d);
  const CLI::App* detect_command = add_detect(program, detect);
  const CLI::App* nearest_command = add_nearest(program, nearest);
  const CLI::App* bank_command = add_bank(program, bank);
  const CLI::App* convert_command = add_convert(program, convert);
  const CLI::App* inspect_command = add_inspect(program, inspect);
  const CLI::App* bench_command = add_bench(program, bench);
  const CLI::App* probe_command = add_probe(program, probe);
  const CLI::App* evaluate_command = add_evaluate(program, evaluate);
  const CLI::App* train_command = add_train(program, train);
  try {
    program.parse(count, words);
  } catch (const CLI::Success& page) {
    std::ostringstream text;
    program.exit(page, text, text);
    return Page{text.str()};
  } catch (const CLI::ParseError& error) {
    const std::string word = unplaced(program);
    throw UsageError(word.empty() ? error.what() : word);
  }
  if (*segment_command) return segment;
  if (*plan_command) return plan;
  if (*prompts_command) return prompts;
  if (*bank_command) return bank;
  if (*convert_command) return convert;
  if (*inspect_command) return inspect;
  if (*bench_command) return bench;
  if (*probe_command) return probe;
  if (*encode_command) return encode;
  if (*classify_command) return classify;
  if (*segment2d_command) return segment2d;
  if (*detect_command) return detect;
  if (*nearest_command) return nearest;
  if (*evaluate_command) return evaluate;
  if (*train_command) return train;
  return Page{program.help(), false};
}

bool wants_json(int count, const char* const* words) {
  for (int i = 1; i < count; ++i) {
    const std::string_view word = words[i];
    const std::string_view command = words[1];
    const bool names_file =
        command == "bench" || command == "probe" || command == "evaluate";  // --json FILE, or - for stdout
    if (word == "--json=-" ||
        (word == "--json" && (!names_file || (i + 1 < count && std::string_view(words[i + 1]) == "-")))) {
      return true;
    }
  }
  return false;
}

std::vector<std::string> paths_of(const Request& request) {
  struct Paths {
    using List = std::vector<std::string>;
    static List all(List paths, const ImageModelChoice& choice, const List& more) {
      const ImageModelOptions& model = choice.model;
      paths.insert(paths.end(), more.begin(), more.end());
      paths.insert(paths.end(), {model.model, model.config, model.head, model.connector});
      return paths;
    }
    List operator()(const SegmentRequest& one) const {
      List paths = one.scans;
      const ModelOptions& options = one.model;
      for (const std::string& path : {one.prompts.file, one.output, options.model, options.config, options.bank,
                                      options.text_model, options.vocabulary, one.session.scratch}) {
        paths.push_back(path);
      }
      return paths;
    }
    List operator()(const PlanRequest& one) const {
      return {one.scan, one.prompts.file, one.model, one.config, one.text_model};
    }
    List operator()(const PromptsRequest& one) const { return {one.prompts.file}; }
    List operator()(const BankRequest& one) const {
      return {one.text_model, one.vocabulary, one.pair_with, one.config, one.output, one.prompts.file};
    }
    List operator()(const ConvertRequest& one) const {
      List paths = one.files;
      for (const std::string& path : {one.config, one.pair_with, one.text_config}) paths.push_back(path);
      return paths;
    }
    List operator()(const InspectRequest& one) const { return {one.file, one.config}; }
    List operator()(const BenchRequest& one) const { return {one.json, one.chart}; }
    List operator()(const ProbeRequest& one) const {
      return {one.features,
              one.labels,
              one.probe,
              one.output,
              one.json,
              one.chart,
              one.validation_features,
              one.validation_labels,
              one.validation_list};
    }
    List operator()(const EncodeRequest& one) const { return all(one.images, one.with, {one.output, one.components}); }
    List operator()(const ClassifyRequest& one) const { return all(one.images, one.with, {one.probe, one.output}); }
    List operator()(const Segment2dRequest& one) const { return all(one.images, one.with, {one.output}); }
    List operator()(const DetectRequest& one) const { return all(one.images, one.with, {one.output, one.pictures}); }
    List operator()(const NearestRequest& one) const {
      return all(one.queries, one.with, {one.in, one.folder, one.output});
    }
    List operator()(const EvaluateRequest& one) const {
      List paths = one.paths;
      const ModelOptions& options = one.model;
      for (const std::string& path : {one.output, one.regions, one.json, options.model, options.config, options.bank,
                                      options.text_model, options.vocabulary, one.session.scratch}) {
        paths.push_back(path);
      }
      return paths;
    }
    List operator()(const TrainRequest& one) const { return {one.config, one.output}; }
    List operator()(const Page&) const { return {}; }
  };
  return std::visit(Paths(), request);
}

}  // namespace sat::cli
