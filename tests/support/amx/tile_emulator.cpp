// The tile instructions, decoded from the bytes that raised SIGILL. Written from the manual alone, so that it shares
// no mistake with the library's own portable tiles.
#include "tests/support/amx/tile_emulator.h"

#include <atomic>
#include <cmath>
#include <cstring>

#include "sat/tensor/context.h"

namespace sat::test {

namespace {

struct Tile {
  int rows = 0, row_bytes = 0;
  uint8_t bytes[16][64];
};

/// What a thread's XTILECFG and XTILEDATA hold; no palette before ldtilecfg and after tilerelease.
struct TileState {
  bool configured = false;
  Tile tiles[8];
};

thread_local TileState state;
std::atomic<int64_t> load_count{0}, product_count{0};

float as_float(uint16_t upper) {
  const uint32_t bits = uint32_t(upper) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/// Denormal numbers count as zero, on the way in and on the way out.
float flushed(float value) { return std::fpclassify(value) == FP_SUBNORMAL ? 0.f : value; }

template <class T>
T at(const void* from, int64_t index) {
  T value;
  std::memcpy(&value, static_cast<const char*>(from) + index * int64_t(sizeof(T)), sizeof value);
  return value;
}

bool configure(const uint8_t* from) {
  if (from[0] != 1 || from[1] != 0) return false;
  for (int i = 2; i < 16; ++i) {
    if (from[i] != 0) return false;
  }
  state = {};
  for (int i = 0; i < 16; ++i) {
    const int row_bytes = at<uint16_t>(from + 16, i), rows = from[48 + i];
    if (i >= 8 && (row_bytes || rows)) return false;
    if (row_bytes > 64 || rows > 16 || (row_bytes == 0) != (rows == 0)) return false;
    if (i < 8) {
      state.tiles[i].rows = rows;
      state.tiles[i].row_bytes = row_bytes;
      std::memset(state.tiles[i].bytes, 0, sizeof state.tiles[i].bytes);
    }
  }
  state.configured = true;
  return true;
}

/// c += a x b over pairs of bf16: even and odd members apart, then together, then into c.
bool multiply(Tile& c, const Tile& a, const Tile& b) {
  if (&a == &b || &a == &c || &b == &c) return false;
  if (a.rows != c.rows || b.row_bytes != c.row_bytes || a.row_bytes / 4 != b.rows) return false;
  for (int m = 0; m < c.rows; ++m) {
    for (int n = 0; n < c.row_bytes / 4; ++n) {
      float apart[2] = {0, 0};
      for (int k = 0; k < a.row_bytes / 4; ++k) {
        for (int member = 0; member < 2; ++member) {
          const float x = flushed(as_float(at<uint16_t>(a.bytes[m], 2 * k + member)));
          const float y = flushed(as_float(at<uint16_t>(b.bytes[k], 2 * n + member)));
          apart[member] = flushed(std::fma(x, y, apart[member]));
        }
      }
      const float sum = flushed(flushed(at<float>(c.bytes[m], n)) + flushed(apart[0] + apart[1]));
      std::memcpy(c.bytes[m] + 4 * n, &sum, sizeof sum);
    }
    std::memset(c.bytes[m] + c.row_bytes, 0, size_t(64 - c.row_bytes));
  }
  return true;
}

/// The general registers in the order of their encoding.
constexpr int kRegisters[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

/// The operand of an instruction: a place in memory, with the stride of a tile's rows, or a register.
struct Operand {
  bool memory, indexed;
  int reg, rm;
  uint64_t address, stride;
  const uint8_t* end;  // of the instruction
};

Operand operand_of(const uint8_t* from, uint8_t vex, const greg_t* registers) {
  Operand o{};
  const int mode = *from >> 6;
  o.reg = *from >> 3 & 7;
  o.rm = *from++ & 7;
  o.memory = mode != 3;
  o.indexed = o.memory && o.rm == 4;
  if (o.memory) {
    int base = o.rm;
    if (o.indexed) {
      const int index = (*from >> 3 & 7) | (vex & 0x40 ? 0 : 8);
      if (index != 4) o.stride = uint64_t(registers[kRegisters[index]]) << (*from >> 6);
      base = *from++ & 7;
    }
    if (mode == 0 && base == 5) {  // no base: relative to the next instruction, or absolute with an index
      const int32_t shift = at<int32_t>(from, 0);
      from += 4;
      o.address = uint64_t(int64_t(shift)) + (o.indexed ? 0 : reinterpret_cast<uint64_t>(from));
    } else {
      o.address = uint64_t(registers[kRegisters[base | (vex & 0x20 ? 0 : 8)]]);
    }
    if (mode == 1) o.address += uint64_t(int64_t(at<int8_t>(from, 0)));
    if (mode == 2) o.address += uint64_t(int64_t(at<int32_t>(from, 0)));
    from += mode == 1 ? 1 : mode == 2 ? 4 : 0;
  }
  o.end = from;
  return o;
}

/// Executes the tile instruction at `code`; null if it is none, or one that AMX would refuse.
const uint8_t* executed(const uint8_t* code, const greg_t* registers) {
  if (code[0] != 0xC4 || (code[1] & 0x1F) != 2 || (code[2] & 0x84) != 0) return nullptr;  // VEX.128, 0F 38, W0
  const int prefix = code[2] & 3, opcode = code[3];                                       // 0: none, 2: F3, 3: F2
  const Operand o = operand_of(code + 4, code[1], registers);
  if (opcode == 0x49 && prefix == 0 && o.memory && o.reg == 0) {  // ldtilecfg
    return configure(reinterpret_cast<const uint8_t*>(o.address)) ? o.end : nullptr;
  }
  if (!state.configured) return nullptr;
  if (opcode == 0x49 && prefix == 0 && code[4] == 0xC0) {  // tilerelease
    state = {};
    return o.end;
  }
  Tile& tile = state.tiles[o.reg];
  if (tile.rows == 0) return nullptr;
  if (opcode == 0x49 && prefix == 3 && !o.memory && o.rm == 0) {  // tilezero
    std::memset(tile.bytes, 0, sizeof tile.bytes);
    return o.end;
  }
  if (opcode == 0x4B && prefix == 3 && o.indexed) {  // tileloadd
    ++load_count;
    std::memset(tile.bytes, 0, sizeof tile.bytes);
    for (int r = 0; r < tile.rows; ++r) {
      std::memcpy(tile.bytes[r], reinterpret_cast<const void*>(o.address + uint64_t(r) * o.stride),
                  size_t(tile.row_bytes));
    }
    return o.end;
  }
  if (opcode == 0x4B && prefix == 2 && o.indexed) {  // tilestored
    for (int r = 0; r < tile.rows; ++r) {
      std::memcpy(reinterpret_cast<void*>(o.address + uint64_t(r) * o.stride), tile.bytes[r], size_t(tile.row_bytes));
    }
    return o.end;
  }
  if (opcode == 0x5C && prefix == 2 && !o.memory) {  // tdpbf16ps
    ++product_count;
    const int third = ~(code[2] >> 3) & 15;
    return third < 8 && multiply(tile, state.tiles[o.rm], state.tiles[third]) ? o.end : nullptr;
  }
  return nullptr;
}

struct sigaction fallback;

void on_illegal_instruction(int, siginfo_t*, void* raw) {
  greg_t* registers = static_cast<ucontext_t*>(raw)->uc_mcontext.gregs;
  const auto* next = executed(reinterpret_cast<const uint8_t*>(registers[REG_RIP]), registers);
  if (next) {
    registers[REG_RIP] = greg_t(reinterpret_cast<uint64_t>(next));
  } else {
    sigaction(SIGILL, &fallback, nullptr);  // the instruction runs again and meets it
  }
}

}  // namespace

TileEmulator::TileEmulator() {
  load_count = product_count = 0;
  struct sigaction action {};
  action.sa_sigaction = on_illegal_instruction;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGILL, &action, &previous_);
  fallback = previous_;
}

TileEmulator::~TileEmulator() { sigaction(SIGILL, &previous_, nullptr); }

bool TileEmulator::runs_here() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("fma");
}

int64_t TileEmulator::loads() { return load_count; }
int64_t TileEmulator::products() { return product_count; }

TilesHere::TilesHere() : run(amx_available() || TileEmulator::runs_here()) {
  if (run && !amx_available()) emulator.emplace();
}

}  // namespace sat::test
