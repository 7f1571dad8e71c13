// A tokenizer.json, held against the one kind that is known, and the ids it gives.
#include "sat/io/reports/report_tokenizer.h"

#include <algorithm>
#include <utility>

#include "sat/io/files/file.h"
#include "sat/io/reports/characters.h"
#include "sat/io/words/json.h"
#include "sat/io/words/text.h"
#include "sat/io/words/unicode.h"
#include "sat/tensor/error.h"

namespace sat {

/// What a file says.
struct ReportTokenizer::Parts {
  std::string source;
  std::vector<std::string> entries;  // by id
  PieceRules rules;
  std::vector<std::string> added;
};

namespace {

constexpr int64_t kMaxBytes = int64_t(16) << 20;
constexpr size_t kMaxEntries = 200'000;
constexpr size_t kMaxAdded = 1000;
constexpr int64_t kMaxWordCharacters = 1000;  // a word is searched in quadratic time
constexpr size_t kMaxPrefix = 16;

/// A part of the file, and where it stands.
struct Part {
  const Json& json;
  std::string where;

  Part at(const char* key) const {
    SAT_CHECK(json.kind() == Json::Kind::object, where, " must be an object");
    const Json* found = json.find(key);
    SAT_CHECK(found, where, ": no \"", key, "\"");
    return {*found, where + "." + key};
  }
  Part at(size_t i) const { return {json[i], where + "[" + std::to_string(i) + "]"}; }

  /// The value by one of Json's accessors, with the place in what it throws.
  template <class T>
  T get(T (Json::*accessor)() const) const {
    try {
      return (json.*accessor)();
    } catch (const Error& error) {
      fail(where, ": ", error.what());
    }
  }
  std::string string() const { return get<const std::string&>(&Json::string); }
  size_t size() const { return get<size_t>(&Json::size); }

  void must_be(const char* type) const {
    const std::string met = at("type").string();
    SAT_CHECK(met == type, where, " is ", quoted(met), ", only ", type, " is known here");
  }
};

/// Refuses a file that also does `key`.
void must_lack(const Part& file, const char* key) {
  const Json* found = file.json.find(key);
  SAT_CHECK(!found || found->is_null(), file.where, ".", key, " is given; only files without one are known");
}

/// A "Sequence" of parts under `key`, of these types and no others.
std::vector<Part> sequence(const Part& part, const char* key, const std::vector<const char*>& types) {
  part.must_be("Sequence");
  const Part list = part.at(key);
  std::string known;
  for (const char* type : types) known += (known.empty() ? "" : ", ") + std::string(type);
  SAT_CHECK(list.json.kind() == Json::Kind::array && list.size() == types.size(), list.where, " must be ", known);
  std::vector<Part> parts;
  for (size_t i = 0; i < types.size(); ++i) {
    parts.push_back(list.at(i));
    parts.back().must_be(types[i]);
  }
  return parts;
}

/// The vocabulary in the order of its ids.
std::vector<std::string> entries_of(const Part& vocabulary) {
  const std::vector<Json::Member>& members = vocabulary.get<const std::vector<Json::Member>&>(&Json::members);
  SAT_CHECK(!members.empty() && members.size() <= kMaxEntries, vocabulary.where, " has ", members.size(),
            " entries, 1 to ", kMaxEntries, " are read");
  std::vector<const std::string*> by_id(members.size());
  for (const auto& [entry, value] : members) {
    const int64_t id = Part{value, vocabulary.where + "[" + quoted(entry) + "]"}.get<int64_t>(&Json::integer);
    SAT_CHECK(id >= 0 && id < int64_t(members.size()), vocabulary.where, ": entry ", quoted(entry), " has the id ", id,
              "; ", members.size(), " entries have the ids 0 to ", members.size() - 1);
    SAT_CHECK(!by_id[size_t(id)], vocabulary.where, ": the entries ", quoted(*by_id[size_t(id)]), " and ",
              quoted(entry), " have the same id ", id);
    by_id[size_t(id)] = &entry;
  }
  std::vector<std::string> entries;
  entries.reserve(by_id.size());
  for (const std::string* entry : by_id) entries.push_back(*entry);
  return entries;
}

/// The strings that stand for an entry as a whole.
std::vector<std::string> added_of(const Part& list, const std::vector<std::string>& entries) {
  SAT_CHECK(list.json.kind() == Json::Kind::array && list.size() <= kMaxAdded, list.where,
            " must be a list of at most ", kMaxAdded);
  std::vector<std::string> added;
  for (size_t i = 0; i < list.size(); ++i) {
    const Part token = list.at(i);
    const std::string content = token.at("content").string();
    for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized"}) {
      SAT_CHECK(!token.at(flag).get<bool>(&Json::boolean), token.where, " (", quoted(content), ") has ", flag,
                "; only tokens that are matched as written are known");
    }
    const int64_t id = token.at("id").get<int64_t>(&Json::integer);
    SAT_CHECK(!content.empty() && id >= 0 && id < int64_t(entries.size()) && entries[size_t(id)] == content,
              token.where, ": ", quoted(content), " with the id ", id, " is not in the vocabulary so");
    SAT_CHECK(std::find(added.begin(), added.end(), content) == added.end(), token.where, ": ", quoted(content),
              " is added twice");
    added.push_back(content);
  }
  for (const char* needed : {"[PAD]", "[UNK]", "[CLS]", "[MASK]", "[SEP]"}) {
    SAT_CHECK(std::find(added.begin(), added.end(), needed) != added.end(), list.where, " lack '", needed, "'");
  }
  return added;
}

PieceRules rules_of(const Part& model) {
  PieceRules rules;
  rules.unknown = model.at("unk_token").string();
  rules.continued = model.at("continuing_subword_prefix").string();
  rules.most_characters = model.at("max_input_chars_per_word").get<int64_t>(&Json::integer);
  SAT_CHECK(!rules.continued.empty() && rules.continued.size() <= kMaxPrefix, model.where,
            ".continuing_subword_prefix has ", rules.continued.size(), " bytes, 1 to ", kMaxPrefix, " are known");
  SAT_CHECK(rules.most_characters >= 1 && rules.most_characters <= kMaxWordCharacters, model.where,
            ".max_input_chars_per_word is ", rules.most_characters, ", 1 to ", kMaxWordCharacters, " are known");
  return rules;
}

}  // namespace

ReportTokenizer ReportTokenizer::read(const std::string& path) { return parse(read_file(path, kMaxBytes), path); }

ReportTokenizer ReportTokenizer::parse(std::string_view json, const std::string& source) {
  SAT_CHECK(int64_t(json.size()) <= kMaxBytes, source, ": a tokenizer of ", json.size(), " bytes, at most ", kMaxBytes,
            " are read");
  const Json whole = Json::parse(json, source);
  const Part file{whole, source};
  const Part model = file.at("model");
  model.must_be("WordPiece");
  sequence(file.at("normalizer"), "normalizers", {"Lowercase", "NFKD", "StripAccents"});
  const std::vector<Part> splits = sequence(file.at("pre_tokenizer"), "pretokenizers", {"Whitespace", "Digits"});
  SAT_CHECK(!splits[1].at("individual_digits").get<bool>(&Json::boolean), splits[1].where,
            " splits digits apart; only numbers that stay together are known");
  for (const char* key : {"truncation", "padding", "post_processor"}) must_lack(file, key);
  Parts parts;
  parts.source = source;
  parts.rules = rules_of(model);
  parts.entries = entries_of(model.at("vocab"));
  parts.added = added_of(file.at("added_tokens"), parts.entries);
  return ReportTokenizer(std::move(parts));
}

ReportTokenizer::ReportTokenizer(Parts parts)
    : pieces_(parts.entries, parts.source, parts.rules), pad_(id_of("[PAD]")), mask_(id_of("[MASK]")) {
  for (const std::string& entry : parts.entries) {
    continues_.push_back(entry.compare(0, parts.rules.continued.size(), parts.rules.continued) == 0);
  }
  for (const std::string& text : parts.added) added_.push_back({decode_utf8(text, "an added token"), id_of(text)});
  std::sort(added_.begin(), added_.end(), [](const Added& a, const Added& b) { return a.text.size() > b.text.size(); });
}

bool ReportTokenizer::continues_word(int64_t id) const {
  return id >= 0 && id < int64_t(continues_.size()) && continues_[size_t(id)];
}

const ReportTokenizer::Added* ReportTokenizer::added_at(std::u32string_view text) const {
  for (const Added& added : added_) {
    if (text.substr(0, added.text.size()) == added.text) return &added;
  }
  return nullptr;
}

ReportIds ReportTokenizer::encode(std::string_view utf8, ReportLength length) const {
  const std::u32string text = decode_utf8(utf8, "a report");
  const std::u32string_view view(text);
  ReportIds report;
  size_t done = 0;
  const auto append_until = [&](size_t end) {
    for (const std::u32string& word : split_report(normalise_report(view.substr(done, end - done)))) {
      pieces_.append(report.ids, word);
    }
  };
  for (size_t at = 0; at < text.size();) {
    const Added* added = added_at(view.substr(at));
    if (!added) {
      ++at;
      continue;
    }
    append_until(at);
    report.ids.push_back(added->id);
    done = at += added->text.size();
  }
  append_until(text.size());
  report.used = std::min(int64_t(report.ids.size()), std::max<int64_t>(0, length.at_most));
  report.ids.resize(size_t(report.used));
  report.ids.resize(size_t(std::max(report.used, length.at_least)), pad_);
  return report;
}

}  // namespace sat
