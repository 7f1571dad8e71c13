// Records of SAT's lists, line by line.
#include "sat/io/datasets/case_records.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "sat/io/files/file.h"
#include "sat/io/words/json.h"
#include "sat/io/words/modality.h"
#include "sat/io/words/text.h"

namespace sat {

namespace {

constexpr int64_t kLargestList = int64_t(2) << 30;

enum class Split : uint8_t { train, validation, unknown };

struct Record {
  LabelledCase one;
  Split split = Split::unknown;
};

std::string resolved(const std::string& root, const std::string& path) {
  SAT_CHECK(!path.empty(), "a path is empty");
  return path[0] == '/' ? path : root + "/" + path;
}

/// The text of a member; a number as written, which SAT's own conversion uses for sample_id.
std::string text_or(const Json& record, const char* key, const std::string& otherwise) {
  const Json* value = record.find(key);
  if (!value || value->is_null()) return otherwise;
  return value->kind() == Json::Kind::number ? value->number_text() : value->string();
}

Split split_of(const std::string& word) {
  if (word == "train" || word == "training") return Split::train;
  if (word == "val" || word == "validation" || word == "test") return Split::validation;
  return Split::unknown;
}

/// [y1, x1, z1, y2, x2, z2], ends excluded, y being axis 0; none for `false`.
std::optional<VoxelBox> box_of(const Json& json) {
  if (json.kind() == Json::Kind::boolean) {
    SAT_CHECK(!json.boolean(), "a box is `true`, needs six numbers or `false`");
    return std::nullopt;
  }
  const std::vector<int64_t> ends = json.integers();
  SAT_CHECK(ends.size() == 6, "a box has ", ends.size(), " numbers, needs six");
  VoxelBox box;
  for (size_t axis = 0; axis < 3; ++axis) {
    SAT_CHECK(ends[axis] >= 0 && ends[axis] < ends[axis + 3] && ends[axis + 3] <= 65536, "a box goes from ", ends[axis],
              " to ", ends[axis + 3], " along axis ", axis);
    box.start[axis] = ends[axis];
    box.end[axis] = ends[axis + 3];
  }
  return box;
}

void add_converted(LabelledCase& one, const Json& record, const std::vector<std::string>& names,
                   const std::string& root) {
  one.converted = true;
  one.image = resolved(root, record["renorm_image"].string());
  const std::string folder = resolved(root, record["renorm_segmentation_dir"].string());
  const std::vector<Json>& boxes = record["renorm_y1x1z1_y2x2z2"].items();
  SAT_CHECK(boxes.size() == names.size(), "there are ", boxes.size(), " boxes of ", names.size(), " labels");
  for (size_t i = 0; i < names.size(); ++i) {
    const std::optional<VoxelBox> box = box_of(boxes[i]);
    SAT_CHECK(names[i].find('/') == std::string::npos, "label ", quoted(names[i]), " is no name of a file");
    StructureSource source{names[i], {}, {}, box};
    if (box) source.paths.push_back(folder + "/" + names[i] + ".npy");
    one.structures.push_back(std::move(source));
  }
}

void add_raw(LabelledCase& one, const Json& record, const std::vector<std::string>& names, const std::string& root) {
  one.image = resolved(root, record["image"].string());
  const Json& mask = record["mask"];
  const Json* values = record.find("label_values");
  SAT_CHECK(!values || values->size() == names.size(), "there are label_values of ", values ? values->size() : 0,
            " labels, and ", names.size(), " labels");
  const bool apart = mask.kind() == Json::Kind::array;
  SAT_CHECK(!apart || mask.size() == names.size(), "there are ", apart ? mask.size() : 0, " masks of ", names.size(),
            " labels");
  SAT_CHECK(!apart || !values, "label_values are for one label map, and `mask` names a mask a label");
  for (size_t i = 0; i < names.size(); ++i) {
    StructureSource source{names[i], {resolved(root, (apart ? mask[i] : mask).string())}, {}, {}};
    if (!apart) {
      source.values = {int64_t(i) + 1};
      if (values) {
        const Json& own = (*values)[i];
        source.values = own.kind() == Json::Kind::array ? own.integers() : std::vector<int64_t>{own.integer()};
        SAT_CHECK(!source.values.empty() && !std::count(source.values.begin(), source.values.end(), 0), "label ",
                  quoted(names[i]), " needs values that are not 0, the background");
      }
    }
    one.structures.push_back(std::move(source));
  }
}

Record read_record(const Json& record, const std::string& root, const std::string& id) {
  Record read;
  LabelledCase& one = read.one;
  one.id = id;
  one.dataset = text_or(record, "dataset", "");
  SAT_CHECK(!one.dataset.empty(), "the record names no data set");
  one.modality = record["modality"].string();
  parse_modality(one.modality);
  one.orientation = text_or(record, "orientation_code", one.orientation);
  one.patient = text_or(record, "patient_id", id);
  one.empty = record.find("empty") ? parse_empty_label(record["empty"].string()) : EmptyLabel::absent;
  read.split = split_of(text_or(record, "official_split", ""));
  const std::vector<std::string> names = record["label"].strings();
  SAT_CHECK(!names.empty(), "there is no label");
  for (const std::string& name : names) {
    SAT_CHECK(!name.empty() && name != "none", quoted(name), " is no name of a structure");
    SAT_CHECK(std::count(names.begin(), names.end(), name) == 1, "label ", quoted(name), " comes twice");
  }
  if (record.find("renorm_image")) {
    add_converted(one, record, names, root);
  } else {
    add_raw(one, record, names, root);
  }
  return read;
}

/// What a case is called: its sample_id, or its image's path as the record has it.
std::string id_of(const Json& record, const std::string& line) {
  const Json* image = record.find("renorm_image");
  if (!image) image = record.find("image");
  return text_or(record, "sample_id", image ? image->string() : line);
}

}  // namespace

LabelledData read_case_records(const std::string& path, const DatasetOptions& options) {
  const size_t slash = path.rfind('/');
  const std::string root = slash == std::string::npos ? "." : path.substr(0, slash);
  const std::vector<std::string> lines = lines_of(read_file(path, kLargestList), path);
  std::vector<Record> records;
  std::set<std::pair<std::string, std::string>> seen;  // data set and id
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].find_first_not_of(" \t") == std::string::npos) continue;
    const std::string where = path + ", line " + std::to_string(i + 1);
    std::string id = "line " + std::to_string(i + 1);
    try_case(path, id, options.on_problem, [&] {
      const Json record = Json::parse(lines[i], where);
      SAT_CHECK(record.kind() == Json::Kind::object, where, ": a record is an object");
      id = id_of(record, id);
      try {
        Record read = read_record(record, root, id);
        SAT_CHECK(seen.emplace(read.one.dataset, id).second, "case ", quoted(id), " of ", quoted(read.one.dataset),
                  " comes twice");
        records.push_back(std::move(read));
      } catch (const Error& error) {
        fail(where, ": ", error.what());
      }
    });
  }

  std::map<std::string, std::vector<std::string>> patients;  // by data set, those whose split is open
  for (const Record& record : records) {
    if (record.split == Split::unknown) patients[record.one.dataset].push_back(record.one.patient);
  }
  std::set<std::pair<std::string, std::string>> held_out;
  if (options.validation_fraction >= 0) {
    for (const auto& [dataset, names] : patients) {
      for (const std::string& name : validation_patients(names, dataset, options.validation_fraction, options.seed)) {
        held_out.emplace(dataset, name);
      }
    }
  }
  LabelledData data;
  for (Record& record : records) {
    const bool validation =
        record.split == Split::validation ||
        (record.split == Split::unknown && held_out.count({record.one.dataset, record.one.patient}) > 0);
    (validation ? data.validation : data.train).push_back(std::move(record.one));
  }
  return data;
}

}  // namespace sat
