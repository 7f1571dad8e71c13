// The table of ops: each row is an op on inputs of awkward sizes, with its definition in double, which also says what
// its gradient is. Whoever has a context, on the CPU or on a device, can have all rows checked in it; the table
// compares and asserts nothing by itself.
#pragma once

#include <functional>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "sat/tensor/context.h"
#include "sat/tensor/ops.h"
#include "sat/tensor/tensor.h"
#include "tests/support/golden.h"

namespace sat::test {

/// An array in double, for definitions.
struct Doubles {
  Shape shape;
  std::vector<double> values;

  explicit Doubles(const Shape& sizes) : shape(sizes), values(size_t(sizes.numel())) {}
  explicit Doubles(const Tensor& x);  // f32, f16 or u8 in the CPU's memory
  double& operator[](int64_t i) { return values[size_t(i)]; }
  double operator[](int64_t i) const { return values[size_t(i)]; }
  int64_t numel() const { return shape.numel(); }
  Tensor rounded() const;  // to f32
};

/// One input: field(name, shape, scale, offset) of golden.h, held as a type; as u8, rounded down.
struct OpInput {
  std::string name;
  Shape shape;
  double scale = 1, offset = 0;
  DType dtype = DType::f32;
  bool published = false;  // a weight, which stays in the CPU's memory until the op's own function packs it
  bool constant = false;   // no gradient is asked for; nor is one of any type but f32
};

using Tensors = std::vector<Tensor>;
using Arrays = std::vector<Doubles>;

/// What a row says of its op's gradient.
enum class Gradient : uint8_t {
  checked,   // it follows from the definition
  refused,   // there is none, and under a tape the op throws
  elsewhere  // another row checks it: this one's inputs are no ends of a graph (a pending norm's numbers), or rounded
};

struct OpRow {
  std::string name;  // the op, and what tells the row from its other rows
  std::vector<OpInput> inputs;
  std::function<Tensor(const Tensors&)> run;      // where the current context computes; may write no input
  std::function<Doubles(const Arrays&)> defined;  // of the same inputs
  Tolerance tolerance = {};                       // exact where the row says nothing
  bool on_cpu_alone = false;                      // names a kernel that only the CPU has
  bool on_tiles = false;                    // of these, one that needs matrix units, or loops that stand in for them
  std::optional<Tolerance> on_device = {};  // where a device is held to less; the row says why
  Gradient gradient = Gradient::checked;
  double gradient_error = 1e-5;  // most of it along a direction, of what is usual there
  double step = 1e-7;            // of differences: short, since many ops have kinks; longer where numbers are large
};

/// Has all rows from `first` on say so of their gradients.
void set_from(std::vector<OpRow>& rows, size_t first, Gradient gradient);

/// All of them.
const std::vector<OpRow>& op_rows();

/// Inputs in the CPU's memory, the same on every call.
Tensors inputs_of(const OpRow& row);
/// What the definition says of them, as f32.
Tensor defined_by(const OpRow& row);
/// The op on these inputs in the current context, in the CPU's memory afterwards.
Tensor computed_by(const OpRow& row, const Tensors& inputs);

/// Every row that the context's device computes, in that context, against its definition: one line for each that is off
/// there, or refused. Tolerances are multiplied by `slack`; a device's own are taken where a row has them.
std::vector<std::string> row_complaints(Context& context, double slack = 1);

/// Whether the row's gradient is compared with differences of the definition: where that takes few operations.
bool checks_gradient(const OpRow& row);
/// The gradient of sum(result * cotangent) with respect to each input, in the CPU's memory; empty where none is asked
/// for. Recorded and run backwards in the current context; throws Error where the op refuses.
Tensors gradients_by(const OpRow& row, const Tensors& inputs);
/// How fast sum(result * cotangent) grows as one input moves along a direction.
struct Slope {
  size_t input;
  std::vector<double> direction;
  double defined;  // by central differences of the definition
};
/// Of each input that a gradient is asked for: along a random direction, and of one element.
std::vector<Slope> defined_slopes(const OpRow& row);
/// "" or one line: the first slope that a gradient misses.
std::string gradient_mismatch(const OpRow& row, const Tensors& gradients, const std::vector<Slope>& slopes,
                              double slack = 1);
/// row_complaints() of gradients.
std::vector<std::string> gradient_complaints(Context& context, double slack = 1);

/// The parts of a row's name, one after another.
template <class... Parts>
std::string words(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}

// The table's chapters, a file each.
void add_matrix_rows(std::vector<OpRow>& rows);
void add_attention_rows(std::vector<OpRow>& rows);
void add_row_rows(std::vector<OpRow>& rows);
void add_image_rows(std::vector<OpRow>& rows);
void add_sequence_rows(std::vector<OpRow>& rows);
void add_conv_rows(std::vector<OpRow>& rows);
void add_block_rows(std::vector<OpRow>& rows);
void add_score_rows(std::vector<OpRow>& rows);
void add_training_rows(std::vector<OpRow>& rows);
void add_chain_rows(std::vector<OpRow>& rows);

/// What features with a pending norm stand for: values [B, H, W, D, C], the others [B, C].
Doubles taken(const Doubles& values, const Doubles& center, const Doubles& factor, const Doubles& shift, double slope);
/// A cross-correlation: x [B, H, W, D, in], weight [out, in, kh, kw, kd].
Doubles convolved(const Doubles& x, const Doubles& weight, const Conv3dOptions& options);
/// Transposed, kernel = stride = 2: weight [in, out, 2, 2, 2], bias [out].
Doubles up_sampled(const Doubles& x, const Doubles& weight, const Doubles& bias);
/// Instance norm and leaky ReLU.
Doubles normed(const Doubles& x, const Doubles& gain, const Doubles& bias, double eps, double slope);
/// The mask loss: features [B, H, W, D, C], masks [B, N, C], a bit a prompt, and how much each prompt counts.
Doubles mask_loss_defined(const Doubles& features, const Doubles& masks, const Doubles& bits, const Doubles& counted,
                          double weight);
/// [a, b] along the last axis.
Doubles joined(const Doubles& a, const Doubles& b);

}  // namespace sat::test
