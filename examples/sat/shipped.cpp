// The program asks the system where it lies itself, so that an installed tree can be moved.
#include "examples/sat/shipped.h"

#include <filesystem>

#include "examples/sat/output/failure.h"

namespace sat::cli {

std::string find_shipped(const std::string& name) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) return "";
  for (const char* folder : {"../share/sat", "../weights"}) {
    const fs::path path = (program.parent_path() / folder / name).lexically_normal();
    if (fs::is_regular_file(path, error)) return path.string();
  }
  return "";
}

void complete_with_shipped(ModelOptions& options) {
  const bool shipped = options.model.empty();
  if (shipped) options.model = find_shipped(kDefaultModel);
  if (options.model.empty()) throw UsageError("no model lies beside the program; name one with --model");
  if (!options.bank.empty() || !options.text_model.empty()) return;
  if (!shipped) throw UsageError("--model needs --bank, or --text-model with --vocab");
  options.bank = find_shipped(kDefaultBank);
  if (options.bank.empty()) throw UsageError("no bank of prompts lies beside the program; name one with --bank");
}

}  // namespace sat::cli
