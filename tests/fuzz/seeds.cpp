// Writes the fuzzers' first inputs: seeds FOLDER makes one folder a fuzzer in it. Small, and each of another kind, so
// that a few seconds of fuzzing already begin inside the formats.
#include <cstdio>
#include <filesystem>
#include <string>

#include "sat/io/arrays/npy.h"
#include "sat/io/checkpoints/safetensors.h"
#include "sat/io/datasets/cache/case_cache.h"
#include "sat/io/features/feature_writer.h"
#include "sat/io/nifti/nifti.h"
#include "sat/io/words/json.h"
#include "sat/nn/probe/probe_file.h"
#include "sat/nn/sat/sat_config.h"
#include "sat/nn/text/embedding_bank.h"
#include "sat/nn/text/text_encoder.h"
#include "tests/support/checkpoint_bytes.h"
#include "tests/support/golden.h"
#include "tests/support/images/dicom_bytes.h"
#include "tests/support/tiny_model.h"

using namespace sat;
using namespace sat::test;

namespace {

class Seeds {
 public:
  explicit Seeds(std::string root) : root_(std::move(root)) {}

  /// Where the next seed of a fuzzer goes.
  std::string next(const std::string& fuzzer) {
    std::filesystem::create_directories(root_ + "/" + fuzzer);
    return root_ + "/" + fuzzer + "/seed" + std::to_string(++count_);
  }
  void write(const std::string& fuzzer, const std::string& bytes) { write_bytes(next(fuzzer), bytes); }
  /// A file that somebody else writes under a name of its own, taken over as a seed.
  void take(const std::string& fuzzer, const std::string& path) { write(fuzzer, read_text(path)); }

 private:
  std::string root_;
  int count_ = 0;
};

/// Two tensors, as a checkpoint of any kind holds them.
std::map<std::string, Tensor> two_tensors() {
  return {{"a.weight", field("a", {2, 3}, 1)}, {"b.bias", field("b", {4}, 1)}};
}

void scans(Seeds& seeds, const TempDir& folder) {
  for (const char* extension : {".nii", ".nii.gz"}) {
    for (const std::array<int64_t, 3> size : {std::array<int64_t, 3>{9, 8, 5}, {1, 1, 1}, {17, 3, 2}}) {
      const Volume scan = tiny_scan(size);
      const std::string path = folder / "scan" + extension;
      write_nifti(path, scan.voxels, header_for(scan.geometry));
      seeds.take("nifti", path);
      seeds.take("segment", path);
    }
  }
  for (const char* name : {"qform_only_v1", "qform_only_v2", "one_volume_4d", "sform_contradicts_v2", "scaled_i2",
                           "scaled_f8", "neither_v1", "quaternion_too_long_v2"}) {
    const std::string path = golden_path(std::string("nifti/") + name + ".nii");
    seeds.take("nifti", path);
    seeds.take("segment", path);
  }
}

void checkpoints(Seeds& seeds, const TempDir& folder) {
  write_safetensors(folder / "two", two_tensors(), {{"format", "pt"}});
  seeds.take("safetensors", folder / "two");
  seeds.write("safetensors", safetensors(R"({"x":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}})", "01234567"));
  EmbeddingBank bank;
  bank.phrases = {"liver", "left kidney"};
  bank.embeddings = field("bank", {2, 4}, 1);
  bank.modality_embed = field("modality", {4, 4}, 0.1);
  bank.text_identity = std::string(64, 'a');
  write_bank(folder / "bank", bank);
  seeds.take("bank", folder / "bank");
  seeds.take("safetensors", folder / "bank");

  const std::string body = pickle::whole(pickle::dict(
      {{"state_dict",
        pickle::dict({{"a", pickle::tensor()}, {"b", pickle::list({pickle::integer(1), pickle::real(2)})}})},
       {"epoch", pickle::integer(70000)},
       {"name", pickle::text("net")}}));
  seeds.write("pickle", body);
  seeds.write("pickle", pickle::whole(pickle::tuple({pickle::integers({1, -2, 300}), pickle::text("x")})));
  seeds.write("pickle", pickle::whole(pickle::call(pickle::global("collections", "OrderedDict"), {})));
  const std::string six = raw(std::vector<float>{1, 2, 3, 4, 5, 6});
  seeds.write("torch", torch_zip(body, {{"0", six}}));
  seeds.write("torch", torch_legacy(body, {{"0", 6, six}}));
  seeds.write("zip", torch_zip(body, {{"0", six}}));
  seeds.write("zip", zip({{"a/b", "text"}, {"c", ""}}));
  ZipLies wide;
  wide.zip64 = true;
  seeds.write("zip", zip({{"a", "text"}}, wide));
}

void features(Seeds& seeds, const TempDir& folder) {
  FeatureSet set{field("features", {3, 2}, 1), {"a.png", "b, c.png", "d"}, {}, ""};
  for (const char* name : {"x.safetensors", "x.csv", "x.npy"}) {
    set.path = folder / name;
    write_features(set, "0");
    seeds.take("features", set.path);
  }
  seeds.take("features", manifest_path(set.path));
  seeds.take("npy", set.path);
  FeatureWriter(folder / "y.npy", {}, {2}, "0").append("b.png", "", set.features.select(0));
  seeds.take("features", folder / "y.npy.partial");
  write_npy(folder / "ids", from_ids({2, 1}, {1, -2}));
  seeds.take("npy", folder / "ids");
}

void probes(Seeds& seeds, const TempDir& folder) {
  ProbeFile file;
  file.probe = {{"a", "b"},   false,     field("w", {2, 3}, 1), field("b", {2}, 1), field("m", {3}, 1),
                full({3}, 1), {0.5, 0.5}};
  file.training = Json::object();
  write_probe(folder / "probe", file);
  seeds.take("probe", folder / "probe");
  seeds.write("probe", "image,a,b\nx.png,1,0\ny.png,,1\n");
  seeds.write("probe", "image,kind\nx.png,one\n\"y, z\",two\n");
}

void images(Seeds& seeds) {
  for (const char* name : {"grey1.png", "grey16.png", "interlaced8.png", "palette4.png", "rgba8.png", "rgb_420.jpg",
                           "progressive.jpg", "turned.jpg", "grey_lzw.tif", "deep_big.tif", "tiles_rgb.tif",
                           "planes.tif", "palette.tif", "jpeg.tif", "big.tif"}) {
    seeds.take("image", golden_path(std::string("images/files/") + name));
  }
  DicomImage dicom;
  dicom.columns = 2;
  dicom.pixels = wide_pixels({3, 700});
  dicom.slope = "2";
  dicom.centre = "300";
  dicom.width = "200";
  seeds.write("image", dicom.bytes());
}

void words(Seeds& seeds) {
  seeds.write("json", R"({"a": [1, -2.5e3, true, null], "b": {"c": "\u00e9\n\"\\"}, "d": []})");
  seeds.write("json", R"(["\ud83d\ude00", 1e308, 0.1, -0])");
  seeds.write("config", to_json(tiny_config()).dump());
  seeds.write("config", to_json(published_config("UNET")).dump(2));
  seeds.write("config", to_json(published_text_config(parse_text_kind("ours"))).dump());
  const std::string vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nleft\nkid\n##ney\n##s\n.\n";
  seeds.write("vocabulary", vocabulary + "\nLeft kidneys. <mask> \xC3\xA9\xE4\xB8\xAD[MASK]");
  seeds.write("vocabulary", vocabulary);
  seeds.write("prompts", "liver\nleft kidney\n# a comment\n\nspleen\n");
  seeds.write("prompts", "\xEF\xBB\xBFliver, left kidney,\"a, b\"\r\nspleen");
  std::string report = R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[)";
  std::string vocabulary_of_reports;
  const std::vector<std::string> entries = {"[PAD]", "[UNK]", "[CLS]",    "[MASK]", "[SEP]", ".",   "there",
                                            "is",    "no",    "evidence", "of",     "edema", "##s", "mild"};
  for (size_t id = 0; id < entries.size(); ++id) {
    const std::string comma = id > 0 ? "," : "", number = std::to_string(id);
    vocabulary_of_reports += comma + "\"" + entries[id] + "\":" + number;
    if (id >= 5) continue;
    report += comma + "{\"id\":" + number + ",\"content\":\"" + entries[id] +
              R"(","special":true,"single_word":false,"lstrip":false,"rstrip":false,"normalized":false})";
  }
  report += R"(],"normalizer":{"type":"Sequence","normalizers":[{"type":"Lowercase"},{"type":"NFKD"},)"
            R"({"type":"StripAccents"}]},"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Whitespace"},)"
            R"({"type":"Digits","individual_digits":false}]},"post_processor":null,"decoder":null,"model":{)"
            R"("type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##",)"
            R"("max_input_chars_per_word":100,"vocab":{)" +
            vocabulary_of_reports + "}}}";
  seeds.write("report_tokenizer",
              report + '\0' + "Mild edema. There is no evidence of edemas.. [MASK] 2.5 \xEF\xAC\x81");
  seeds.write("report_tokenizer", report);
  seeds.write("csv", "img_path,report,llm_output\np/1.jpg,\"Heart, \"\"big\"\".\nLungs clear.\",There is no edema.\n");
  seeds.write("csv", "\xEF\xBB\xBFimage,a\r\nx,1\r\n\r\ny,\r\n");
  seeds.write(
      "json_lines",
      "{\"image\": \"a.nii.gz\", \"label\": [\"liver\"], \"modality\": \"ct\", \"dataset\": \"x\"}\n"
      "{\"image\": \"b/a.nii.gz\", \"label\": [\"liver\", \"spleen\"], \"modality\": \"MRI\", \"orientation_code\": "
      "\"RAS\"}\n");
  for (const char* line :
       {"segment\nscan.nii.gz\n--prompts\nliver,left kidney\n--modality\nct\n-o\nout\n--threads\n2\n--max-ram\n6G\n",
        "plan\nscan.nii.gz\n--modality\nct\n--prompts-count\n30\n--architecture\nUNET\n--json\n",
        "prompts\nsearch\nkidney\n", "convert\nmodel.pth\nmodel.safetensors\n", "inspect\nmodel.safetensors\n--json\n",
        "probe\nfit\nf.npy\nl.csv\n-o\np.safetensors\n--candidates\n1,0.1\n--group\npatient\n",
        "bench\n--op\nconv3d_norm\n--size\n96,96,96\n--list\n", "bank\n--help\n", "--version\n"}) {
    seeds.write("command_line", line);
  }
}

void datasets(Seeds& seeds, const TempDir& folder) {
  write_npy(folder / "case.npy", field("case", {1, 3, 4, 5}, 1));
  LabelledCase one;
  one.id = "x", one.dataset = "d", one.modality = "ct", one.image = folder / "case.npy", one.converted = true;
  Tensor mask = zeros({2, 2, 2}, DType::u8);
  mask.data<uint8_t>()[0] = mask.data<uint8_t>()[7] = 1;
  write_npy(folder / "mask.npy", mask);
  one.structures = {{"liver", {folder / "mask.npy"}, {}, VoxelBox{{0, 1, 2}, {2, 3, 4}}}, {"spleen", {}, {}, {}}};
  const CaseCache cache(folder / "cases");
  cache.open(one);
  const std::string bytes = read_text(cache.path_of(one));
  const std::string inside = bytes.substr(8, bytes.size() - 28);
  const size_t parts = inside.find('{');
  seeds.write("cached_case", std::string{char(parts & 255), char(parts >> 8)} + inside);
  seeds.write("case_list", R"({"dataset": "d", "modality": "ct", "image": "*_ct.nii.gz", "label_map": "*_label.nii.gz",
    "labels": {"liver": 1, "kidney": [2, 3]}, "ignore": [9], "empty": "absent", "cases": {"a": {"patient": "p",
    "unlabelled": ["liver"], "modality": "mri", "orientation": "ASR"}}, "validation_fraction": 0.5, "seed": 1})");
  seeds.write("case_list",
              R"({"root": ".", "dataset": "d", "modality": "ct", "image": "*_ct.nii.gz", "empty": "unlabelled",
    "masks": "*_{}.nii.gz", "labels": {"liver": "label", "both": ["label", "ct"]}, "exclude": ["b"], "train": ["a*"]})");
  seeds.write("case_list",
              R"({"image": "a", "mask": "m", "label": ["x", "y"], "modality": "CT", "dataset": "D", "patient_id": "1"})"
              "\n"
              R"({"label": ["x"], "modality": "MRI", "dataset": "E", "official_split": "test", "sample_id": 1,)"
              R"( "renorm_image": "i.npy", "renorm_segmentation_dir": "s", "renorm_y1x1z1_y2x2z2": [[0,0,0,1,2,3]]})");
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: seeds FOLDER\n");
    return 2;
  }
  Seeds seeds(arguments[1]);
  const TempDir folder;
  scans(seeds, folder);
  checkpoints(seeds, folder);
  images(seeds);
  features(seeds, folder);
  probes(seeds, folder);
  datasets(seeds, folder);
  words(seeds);
  return 0;
}
