// The walk through a checkpoint's names.
#include "sat/tensor/weights.h"

#include <algorithm>
#include <set>

#include "sat/tensor/autograd/tape.h"
#include "sat/tensor/memory/memory.h"

namespace sat {

namespace {

/// An exponent of ones alone is NaN or infinity, in all three types.
template <class Bits>
int64_t count_full_exponents(const void* values, int64_t count, Bits exponent) {
  const Bits* bits = static_cast<const Bits*>(values);
  int64_t found = 0;
  for (int64_t i = 0; i < count; ++i) found += (bits[i] & exponent) == exponent ? 1 : 0;
  return found;
}

}  // namespace

int64_t count_not_finite(const Tensor& x) {
  if (x.numel() == 0) return 0;
  switch (x.dtype) {
    case DType::f32: return count_full_exponents<uint32_t>(x.raw(), x.numel(), 0x7F800000);
    case DType::bf16: return count_full_exponents<uint16_t>(x.raw(), x.numel(), 0x7F80);
    case DType::f16: return count_full_exponents<uint16_t>(x.raw(), x.numel(), 0x7C00);
    default: return 0;
  }
}

struct Weights::Table {
  std::vector<Entry> entries;  // sorted by name
  std::set<std::string> read;
  std::string source;
  Maker make;
  bool training = false;
  std::function<bool(const std::string&)> learns;
  std::map<std::string, Tensor> parameters;

  std::vector<Entry>::const_iterator from(const std::string& name) const {
    return std::lower_bound(entries.begin(), entries.end(), name,
                            [](const Entry& entry, const std::string& wanted) { return entry.name < wanted; });
  }
  const Entry* find(const std::string& name) const {
    const auto found = from(name);
    return found == entries.end() || found->name != name ? nullptr : &*found;
  }
};

Weights::Weights(std::vector<Entry> entries, std::string source) : table_(std::make_shared<Table>()) {
  table_->source = std::move(source);
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.name < b.name; });
  const auto twice = std::adjacent_find(entries.begin(), entries.end(),
                                        [](const Entry& a, const Entry& b) { return a.name == b.name; });
  SAT_CHECK(twice == entries.end(), table_->source, ": tensor '", twice->name, "' appears twice");
  entries.shrink_to_fit();
  table_->entries = std::move(entries);
}

Weights Weights::from_tensors(const std::map<std::string, Tensor>& tensors, const std::string& source) {
  std::vector<Entry> entries;
  for (const auto& [name, tensor] : tensors) {
    entries.push_back({name, tensor.shape, tensor.dtype, [t = tensor] { return t; }});
  }
  return Weights(std::move(entries), source);
}

Weights Weights::made(Maker make) {
  Weights weights;
  weights.table_->make = std::move(make);
  return weights;
}

Weights::Weights(std::shared_ptr<Table> table, std::string prefix)
    : table_(std::move(table)), prefix_(std::move(prefix)) {}

Weights Weights::for_training(const std::function<bool(const std::string& name)>& learns) const {
  Weights same(entries(), source());
  same.table_->make = table_->make;
  same.table_->training = true;
  same.table_->learns = learns;
  return same;
}

bool Weights::training() const { return table_->training; }

const std::map<std::string, Tensor>& Weights::parameters() const { return table_->parameters; }

Weights Weights::finite() const {
  std::vector<Entry> checked = entries();
  for (Entry& entry : checked) {
    entry.load = [table = table_, name = entry.name] {
      Tensor tensor = table->find(name)->load();
      const int64_t wrong = count_not_finite(tensor);
      SAT_CHECK(wrong == 0, table->source, ": tensor '", name, "' holds ", wrong, " of ", tensor.numel(),
                " values that are not finite (NaN or infinite): the file is damaged, or its training went wrong");
      return tensor;
    };
  }
  return Weights(std::move(checked), source());
}

Weights Weights::operator/(const std::string& step) const { return Weights(table_, full(step)); }
Weights Weights::operator/(int64_t step) const { return *this / std::to_string(step); }

std::string Weights::full(const std::string& name) const { return prefix_.empty() ? name : prefix_ + "." + name; }

Tensor Weights::get(const std::string& name, const Shape& shape) const {
  const std::string path = full(name);
  if (const auto known = table_->parameters.find(path); known != table_->parameters.end()) {
    SAT_CHECK(known->second.shape == shape, table_->source, ": tensor '", path, "' has shape ", known->second.shape,
              ", the model needs ", shape);
    return known->second;
  }
  Tensor tensor = load(path, shape);
  if (!training()) return tensor;
  if (!table_->learns || table_->learns(path)) Tape::watch(tensor);
  return table_->parameters[path] = tensor;
}

Tensor Weights::load(const std::string& path, const Shape& shape) const {
  if (table_->make) return table_->make(path, shape);
  const Entry* found = table_->find(path);
  SAT_CHECK(found, table_->source, ": tensor '", path, "' of shape ", shape, " is missing");
  SAT_CHECK(found->shape == shape, table_->source, ": tensor '", path, "' has shape ", found->shape,
            ", the model needs ", shape);
  table_->read.insert(path);
  const Tensor tensor = found->load();
  return tensor.buffer && tensor.buffer->foreign() ? tensor.clone() : tensor;
}

bool Weights::has(const std::string& name) const { return table_->find(full(name)) != nullptr; }

bool Weights::has_any() const {
  if (prefix_.empty()) return !table_->entries.empty();
  const auto next = table_->from(prefix_ + ".");
  return next != table_->entries.end() && next->name.compare(0, prefix_.size() + 1, prefix_ + ".") == 0;
}

Shape Weights::shape_of(const std::string& name) const {
  const Entry* found = table_->find(full(name));
  SAT_CHECK(found, table_->source, ": tensor '", full(name), "' is missing");
  return found->shape;
}

void Weights::ignore(const std::string& name) const { table_->read.insert(full(name)); }

void Weights::ignore_all() const {
  for (const Entry& entry : entries()) table_->read.insert(entry.name);
}

std::vector<std::string> Weights::never_read() const {
  std::vector<std::string> names;
  for (const Entry& entry : table_->entries) {
    if (!table_->read.count(entry.name)) names.push_back(entry.name);
  }
  return names;
}

std::vector<Weights::Entry> Weights::entries() const {
  std::vector<Entry> found;
  if (prefix_.empty()) return table_->entries;
  for (const Entry& entry : table_->entries) {
    if (entry.name.compare(0, prefix_.size() + 1, prefix_ + ".") == 0) found.push_back(entry);
  }
  return found;
}

const std::string& Weights::source() const { return table_->source; }

}  // namespace sat
