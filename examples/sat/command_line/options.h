// Options that several commands share: how they are spelled, read and explained.
// Only files of this folder see CLI11.
#pragma once

#include <CLI/App.hpp>
#include <CLI/Validators.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "examples/sat/command_line/command_line.h"

namespace sat::cli {

/// "6G", "500M", "1.5G", "4096"
int64_t parse_bytes(const std::string& text);

/// Words with commas between them, none of them empty.
std::vector<std::string> parse_list(const std::string& text);

/// An option whose value `parse` reads; what it throws is wrong usage.
template <class T, class Parse>
CLI::Option* add_parsed(CLI::App* command, const std::string& name, T& value, Parse parse, const std::string& help) {
  const auto read = [name, parse, &value](const std::string& text) {
    try {
      value = parse(text);
    } catch (const Error& error) {
      throw CLI::ValidationError(name, error.what());
    }
  };
  return command->add_option_function<std::string>(name, read, help);
}

CLI::Option* add_file(CLI::App* command, const std::string& name, std::string& path, const std::string& help);

/// Words that belong to no option, at least one.
CLI::Option* add_words(CLI::App* command, const std::string& name, std::vector<std::string>& words,
                       const std::string& help);

void add_prompts(CLI::App* command, PromptChoice& prompts);
void add_geometry(CLI::App* command, NiftiForm& geometry);
void add_modality(CLI::App* command, std::string& modality);
void add_threads(CLI::App* command, int& threads);
void add_cpu(CLI::App* command, CpuLevel& cpu);
void add_precision(CLI::App* command, Precision& precision);
void add_half(CLI::App* command, DType& half);

/// Where it computes. Devices hold what `fast` rounds in one of two half types.
void add_device(CLI::App* command, DeviceChoice& device, const char* fallback);

}  // namespace sat::cli
