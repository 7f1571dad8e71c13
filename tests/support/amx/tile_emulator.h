// Runs code compiled for AMX on processors that have none: the tile instructions raise SIGILL there, and a handler
// does what the manual says they do. Everything else, AVX-512 included, the processor must have itself.
#pragma once

#include <csignal>
#include <cstdint>
#include <optional>

namespace sat::test {

/// While it lives, tile instructions of any thread are emulated; one at a time. An illegal instruction that is none of
/// them, or a tile instruction that AMX would refuse, goes to the handler that was there before.
class TileEmulator {
 public:
  TileEmulator();
  ~TileEmulator();
  TileEmulator(const TileEmulator&) = delete;
  TileEmulator& operator=(const TileEmulator&) = delete;

  /// Has it what the code around the tiles needs: AVX-512 with bf16 conversions?
  static bool runs_here();

  static int64_t loads();     // tile loads since the emulator began
  static int64_t products();  // tile products since then

 private:
  struct sigaction previous_;
};

/// What a test of code for the processor's tiles needs: the tiles, or their emulator while this lives, or neither.
struct TilesHere {
  std::optional<TileEmulator> emulator;
  bool run;
  TilesHere();
};

}  // namespace sat::test
