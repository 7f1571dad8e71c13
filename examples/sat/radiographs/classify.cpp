// sat classify: radiographs to a probability a label, by a probe on an encoder's features or by ECAMP's classifier.
#include <functional>

#include "examples/sat/command_line/command_line.h"
#include "examples/sat/interrupt.h"
#include "examples/sat/radiographs/ecamp_network.h"
#include "examples/sat/radiographs/image_encoder.h"
#include "examples/sat/radiographs/input/image_reports.h"
#include "sat/io/tables/csv.h"
#include "sat/io/words/text.h"
#include "sat/nn/probe/linear_probe.h"
#include "sat/nn/probe/probe_file.h"

namespace sat::cli {

namespace {

/// What turns a batch into probabilities [B, K], and what it is called.
struct Classifier {
  std::vector<std::string> labels;
  std::string remark;
  std::function<Tensor(const Tensor& images)> probabilities;
};

int classify(const ClassifyRequest& request, const std::vector<ListedImage>& images, const ImageReader& reader,
             int64_t batch, const Classifier& classifier, ProgressView& view) {
  std::string table = "image";
  for (const std::string& label : classifier.labels) {
    table += ',';
    append_csv_field(table, label);
  }
  table += classifier.remark.empty() ? "\n" : ",remark\n";
  ImageReports reports(view, request.as_json, int64_t(images.size()));
  BatchSteps steps;
  steps.wanted = [](const ListedImage&) { return true; };
  steps.batch = [&](const std::vector<ReadyImage>& ready) {
    const Tensor rows = classifier.probabilities(joined_inputs(ready));
    for (size_t i = 0; i < ready.size(); ++i) {
      const float* row = rows.data<float>() + int64_t(i) * rows.shape[1];
      Json scores = Json::object();
      append_csv_field(table, ready[i].listed.name);
      for (size_t k = 0; k < classifier.labels.size(); ++k) {
        scores.set(classifier.labels[k], double(row[k]));
        table += "," + significant(double(row[k]), 9);
      }
      if (!classifier.remark.empty()) {
        table += ',';
        append_csv_field(table, classifier.remark);
      }
      table += '\n';
      reports.done(ready[i], {{"scores", scores}});
    }
  };
  steps.failed = [&](const ListedImage& image, const std::exception& error) { reports.failed(image, error); };
  steps.progress = [&](int64_t looked_at) { reports.progress(looked_at); };
  in_batches(reader, images, batch, steps);
  view.clear();
  if (!request.output.empty() || !request.as_json) write_table(request.output, table);
  reports.finish("", {}, classifier.remark);
  return reports.status();
}

/// How the features were made that the probe was fitted on.
EncodeOptions options_of(const FeatureSource& source) {
  EncodeOptions options;
  options.layers = source.layers;
  if (!source.tokens.empty()) options.tokens = parse_image_tokens(source.tokens);
  options.normed = source.norm != "none";
  return options;
}

int by_probe(const ClassifyRequest& request, const std::vector<ListedImage>& images, ProgressView& view) {
  const ProbeFile probe = read_probe(request.probe);
  ImageModelChoice choice = request.with;
  if (choice.size == 0 && probe.source.preprocessing.kind() == Json::Kind::object) {
    if (const Json* size = probe.source.preprocessing.find("size")) choice.size = size->integer();
  }
  const ImageEncoder encoder(choice);
  UseContext use(encoder.context());
  const EncodeOptions options = failing_as(FailureKind::input, [&] { return options_of(probe.source); });
  const int64_t batch = encoder.batch(&options);
  Classifier classifier;
  classifier.labels = probe.probe.labels;
  classifier.remark = encoder.model().remark().empty() ? probe.source.remark : encoder.model().remark();
  const FeatureSource source = encoder.source(options);
  classifier.probabilities = [&](const Tensor& inputs) {
    const Tensor features = encoder.model().encode(inputs, options).features;
    const int64_t B = features.shape[0], channels = features.numel() / B;  // tokens of an image are one row
    check_fits(probe, request.probe, source, channels, request.with.model.model);
    return probe_probabilities(probe.probe, features.reshape({B, channels}));
  };
  check_fits(probe, request.probe, source, probe.probe.channels(), request.with.model.model);
  watch_for_interrupts();
  return classify(request, images, encoder.reader(), batch, classifier, view);
}

int by_ecamp(const ClassifyRequest& request, const std::vector<ListedImage>& images, ProgressView& view) {
  const EcampNetwork network(request.with, EcampKind::classification, "classify");
  UseContext use(network.context());
  Classifier classifier;
  classifier.labels = class_names(request.labels, network.model().classes());
  classifier.remark = network.model().remark();
  classifier.probabilities = [&](const Tensor& inputs) {
    return probabilities_of(network.model().classify(inputs), request.one_class);
  };
  const int64_t batch = network.batch();
  watch_for_interrupts();
  return classify(request, images, network.reader(), batch, classifier, view);
}

}  // namespace

int run(const ClassifyRequest& request) {
  const std::vector<ListedImage> images = list_images(request.images);
  ProgressView view(request.quiet);
  view.start("classify");
  view.stage("loading the model");
  return request.probe.empty() ? by_ecamp(request, images, view) : by_probe(request, images, view);
}

}  // namespace sat::cli
