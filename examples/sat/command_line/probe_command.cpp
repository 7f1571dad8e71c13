// sat probe: linear probes on features of images.
#include "examples/sat/command_line/commands.h"
#include "examples/sat/command_line/options.h"
#include "sat/io/files/file.h"

namespace sat::cli {

namespace {

constexpr int64_t kMostSamples = 100000, kMostSteps = 10000000, kMostBatch = 1 << 20;

std::vector<double> parse_numbers(const std::string& text) {
  std::vector<double> numbers;
  for (const std::string& part : parse_list(text)) {
    double number = 0;
    SAT_CHECK(CLI::detail::lexical_cast(part, number), "'", part, "' is not a number");
    numbers.push_back(number);
  }
  return numbers;
}

void add_common(CLI::App* command, ProbeRequest& request) {
  LabelOptions& labels = request.label_options;
  add_parsed(command, "--columns", labels.columns, parse_list,
             "of LABELS: the labels, or the one with classes; default:\nall but the first, the group and the split")
      ->type_name("NAMES");
  command
      ->add_option("--group", labels.group,
                   "column of what belongs together, such as a patient: never\ntorn apart, and drawn together for "
                   "intervals")
      ->type_name("NAME");
  add_parsed(command, "--uncertain", labels.uncertain, parse_uncertain,
             "what -1 counts as: unknown, absent or present; default:\nit is refused")
      ->type_name("AS");
  command->add_flag("--flatten", request.flatten, "the tokens of an image one after the other as one row");
  command->add_option("--samples", request.samples, "of the bootstrap; default: 1000")
      ->type_name("N")
      ->check(CLI::Range(int64_t(0), kMostSamples));
  command->add_option("--seed", request.seed, "of all that is drawn; default: 0")->type_name("N");
  command->add_option("--json", request.json, "write a report; - writes it to stdout in place of the table")
      ->type_name("FILE");
  add_file(command, "--chart", request.chart, "draw ROC and precision-recall curves (.png)")
      ->check([](const std::string& path) {
        return has_extension(path, ".png") ? std::string() : "'" + path + "' must end in .png";
      });
  add_threads(command, request.threads);
  add_cpu(command, request.cpu);
}

void add_fit(CLI::App& parent, ProbeRequest& request) {
  CLI::App* command = parent.add_subcommand("fit", "Fit a linear probe");
  command->add_option("FEATURES", request.features, "features of images (.safetensors, .npy, .csv)")
      ->type_name("")
      ->required();
  command->add_option("LABELS", request.labels, "what is known of them (.csv)")->type_name("")->required();
  add_file(command, "-o,--output", request.output, "the probe to write (.safetensors)")->required();
  FitOptions& fit = request.fit;
  add_parsed(command, "--method", fit.method, parse_fit_method,
             "lbfgs (default): to the least penalised loss; sgd: the\nofficial recipe of DINOv2")
      ->type_name("M");
  add_parsed(command, "--candidates", fit.candidates, parse_numbers,
             "penalties (lbfgs; default: 1,0.1,0.01,0.001,0.0001) or\nrates for a batch of 256 (sgd; default: the 13 "
             "published)")
      ->type_name("LIST");
  add_parsed(command, "--select", fit.criterion, parse_criterion,
             "what validation images choose a candidate by: auc\n(default), auprc or loss")
      ->type_name("BY");
  command->add_flag("--balanced", fit.balanced, "each answer of a label weighs the same in total");
  command->add_flag_callback(
      "--standardise", [&request] { request.standardise = true; },
      "features less their mean, over their deviation; default\nfor lbfgs");
  command->add_flag_callback(
      "--no-standardise", [&request] { request.standardise = false; }, "default for sgd");
  command->add_option("--steps", fit.steps, "of sgd; default: 12500")
      ->type_name("N")
      ->check(CLI::Range(int64_t(1), kMostSteps));
  command->add_option("--batch", fit.batch, "of sgd; default: 128")
      ->type_name("N")
      ->check(CLI::Range(int64_t(1), kMostBatch));
  add_parsed(command, "--task", request.label_options.task, parse_label_task,
             "labels or classes; default: what the columns hold")
      ->type_name("T");
  CLI::Option* split =
      command->add_option("--split", request.label_options.split, "column that says train, val or test");
  split->type_name("NAME");
  CLI::Option* list =
      add_file(command, "--val-list", request.validation_list, "names of validation images, one a line");
  CLI::Option* other =
      add_file(command, "--val-features", request.validation_features, "features of validation images");
  add_file(command, "--val-labels", request.validation_labels, "what is known of those; default: LABELS")->needs(other);
  CLI::Option* share = command->add_option("--val-share", request.validation_share,
                                           "held out to choose by, where nothing else says so;\ndefault: 0.2");
  share->type_name("S")->check(CLI::Range(0.0, 0.9));
  CLI::Option* test =
      command->add_option("--test-share", request.test_share, "held out to judge the chosen probe; default: 0");
  test->type_name("S")->check(CLI::Range(0.0, 0.9));
  split->excludes(list)->excludes(other)->excludes(share)->excludes(test);
  list->excludes(other)->excludes(share);
  other->excludes(share);
  add_common(command, request);
  command->callback([&request] { request.action = ProbeRequest::Action::fit; });
  command->footer(R"(LABELS has a header line and an image a line: its name as FEATURES has it, then 1, 0 or nothing
(unknown) for each label, or in one column the name of a class. A .npy without a manifest or
.ids.txt beside it names its rows 0, 1, 2, ...

The candidate that does best on validation images is kept, and for each label the threshold with the
best F1 there. What is said of those images is therefore too good; test images (--test-share, a
split that says test, or sat probe predict) are judged only. docs/probes.md says more.

Examples:
  sat probe fit features.safetensors labels.csv -o probe.safetensors --group patient --test-share 0.2
  sat probe fit train.npy train.csv -o probe.safetensors --val-features val.npy --val-labels val.csv)");
}

void add_predict(CLI::App& parent, ProbeRequest& request) {
  CLI::App* command = parent.add_subcommand("predict", "Apply a linear probe to features");
  command->add_option("FEATURES", request.features, "features of images (.safetensors, .npy, .csv)")
      ->type_name("")
      ->required();
  add_file(command, "--probe", request.probe, "the probe (.safetensors)")->required();
  add_file(command, "-o,--output", request.output, "the probabilities to write (.csv)")->required();
  add_file(command, "--labels", request.labels, "what is known of the images (.csv), to judge by");
  add_common(command, request);
  command->callback([&request] { request.action = ProbeRequest::Action::predict; });
  command->footer(
      R"(A probe is refused for features of another model, other layers or tokens, or images that were prepared
otherwise, where both files say so.

Examples:
  sat probe predict features.safetensors --probe probe.safetensors -o predictions.csv
  sat probe predict test.npy --probe probe.safetensors -o test.csv --labels labels.csv --chart roc.png)");
}

}  // namespace

CLI::App* add_probe(CLI::App& program, ProbeRequest& request) {
  CLI::App* command = program.add_subcommand("probe", "Fit a linear probe on features of images, and apply it");
  command->require_subcommand(1);
  add_fit(*command, request);
  add_predict(*command, request);
  return command;
}

}  // namespace sat::cli
