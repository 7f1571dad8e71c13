// From exceptions to kinds and words.
#include "examples/sat/output/failure.h"

#include <new>

#include "sat/io/words/text.h"

namespace sat::cli {

const char* name_of(FailureKind kind) {
  switch (kind) {
    case FailureKind::usage: return "usage";
    case FailureKind::input: return "input";
    case FailureKind::memory: return "memory";
    case FailureKind::device: return "device";
    case FailureKind::output: return "output";
    case FailureKind::interrupted: return "interrupted";
    case FailureKind::internal: return "internal";
  }
  return "?";
}

FailureKind kind_of(const std::exception& error) {
  if (const auto* known = dynamic_cast<const Failure*>(&error)) return known->kind();
  if (dynamic_cast<const Cancelled*>(&error)) return FailureKind::interrupted;
  if (dynamic_cast<const MemoryError*>(&error) || dynamic_cast<const std::bad_alloc*>(&error)) {
    return FailureKind::memory;
  }
  return dynamic_cast<const Error*>(&error) ? FailureKind::input : FailureKind::internal;
}

std::string message_of(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error)) return "out of memory";
  if (dynamic_cast<const Cancelled*>(&error)) return "interrupted";
  return printable(error.what());
}

Json failure_json(FailureKind kind, const std::string& message, const std::vector<std::string>& paths) {
  std::string file;
  for (const std::string& path : paths) {
    const std::string shown = printable(path);
    if (shown.size() > file.size() && message.find(shown) != std::string::npos) file = shown;
  }
  Json error = Json::object().set("kind", name_of(kind)).set("message", message);
  return error.set("file", file.empty() ? Json() : Json(file));
}

}  // namespace sat::cli
