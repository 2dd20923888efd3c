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

// A shape, and how many blocks of it fit a processor.
struct NvidiaShape {
  BlockShape shape;
  int blocks;
};

// NVIDIA. A decoded token's few rows: the waves divide the keys; two blocks fit a multiprocessor of
// sm_90, with 128 KiB of keys and values on their way. Elements of 8 bits come in steps of twice as
// many keys; those of larger heads take a stage of their own in 16 bits.
constexpr NvidiaShape NvidiaFewRows(int head_size, bool bytes) {
  BlockShape shape{.row_waves = 1, .key_waves = 4, .row_tiles = 1, .wave_keys = 16, .stages = 3};
  if (bytes && head_size <= 128) {
    shape.wave_keys = 32;
    shape.stages = 2;
  } else if (bytes) {
    shape.stages = 4;
  }
  return {shape, head_size > 128 ? 1 : 2};
}
// Prompts: two tiles of rows share each fragment of keys and values; two blocks as well. Of larger
// heads the registers hold one tile.
constexpr NvidiaShape NvidiaManyRows(int head_size) {
  if (head_size > 128) {
    return {{.row_waves = 4, .key_waves = 1, .row_tiles = 1, .wave_keys = 32, .stages = 2}, 2};
  }
  return {{.row_waves = 4, .key_waves = 1, .row_tiles = 2, .wave_keys = 64, .stages = 2}, 2};
}

// AMD: nothing copies into LDS in the background; other blocks of the compute unit fill the gaps.
// Blocks of larger heads are smaller, for its 64 KiB and for the registers of waves of 32 lanes.
constexpr BlockShape AmdFewRows(int head_size) {
  return {.row_waves = 1, .key_waves = head_size > 128 ? 2 : 4, .wave_keys = 16};
}
constexpr BlockShape AmdManyRows(int head_size, int wave, bool bytes = false) {
  return {.row_waves = head_size > 128 ? 2 : 4,
          .key_waves = 1,
          .wave_keys = wave == 32 && (head_size > 128 || bytes) ? 16 : 32};
}

}  // namespace tessera::kernel::lanes
