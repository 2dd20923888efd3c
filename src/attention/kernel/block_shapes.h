// How the waves of a thread block divide its work.
#pragma once

namespace tessera::kernel::lanes {

struct BlockShape {
  int row_waves = 4;
  int key_waves = 1;
  int row_tiles = 1;   // of the instruction's rows, for each wave; with more than one the query
                       // stays in shared memory
  int wave_keys = 32;  // keys of a step, for each wave
  int stages = 1;      // steps in shared memory at a time
};

// NVIDIA. A decoded token's few rows: the waves divide the keys; two blocks fit a multiprocessor of
// sm_90, with 128 KiB of keys and values on their way. Prompts: two tiles of rows share each
// fragment of keys and values; two blocks as well.
inline constexpr BlockShape kNvidiaFewRows{
    .row_waves = 1, .key_waves = 4, .row_tiles = 1, .wave_keys = 16, .stages = 3};
inline constexpr int kNvidiaFewRowsBlocks = 2;
inline constexpr BlockShape kNvidiaManyRows{
    .row_waves = 4, .key_waves = 1, .row_tiles = 2, .wave_keys = 64, .stages = 2};
inline constexpr int kNvidiaManyRowsBlocks = 2;

// AMD: nothing copies into LDS in the background; other blocks of the compute unit fill the gaps.
inline constexpr BlockShape kAmdFewRows{.row_waves = 1, .key_waves = 4, .wave_keys = 16};
inline constexpr BlockShape kAmdManyRows{.row_waves = 4, .key_waves = 1, .wave_keys = 32};

}  // namespace tessera::kernel::lanes
