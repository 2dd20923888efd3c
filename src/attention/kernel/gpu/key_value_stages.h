// How a thread block of a GPU brings K and V of an item's steps into shared memory, as the matrix
// instructions read them there.
//
// Where the machine copies in the background, K and V of the next steps are on their way while one
// is computed: step i + kStages - 1 is requested when step i begins, and the block table is read
// for the step behind that. Elements of 8 bits arrive as they are. Where waves divide the keys they
// stay so, to be widened in registers (byte_fragments.h); otherwise, when their step begins, each
// thread widens what it has requested itself. Without such copies they are widened on the way.
#pragma once

#include <cstdint>
#include <type_traits>

#include "attention/kernel/gpu/block_shapes.h"
#include "attention/kernel/gpu/lane_elements.h"
#include "attention/kernel/kernel_args.h"
#include "device/gpu/simt.h"
#include "tessera/dtype.h"

namespace tessera::kernel::lanes {

// Rows of K and V have kHeadSize elements; but kGeneral takes rows of at most that many, whose rest
// reads as 0.
template <class P, DType kCache, int kHeadSize, BlockShape kShape, bool kGeneral>
class KeyValueStages {
 public:
  static constexpr int kStages = kShape.stages;
  static constexpr int kKeys = kShape.wave_keys * kShape.key_waves;
  static constexpr int kThreads = P::WAVE * kShape.row_waves * kShape.key_waves;
  // Rows are padded so that lanes that read a column meet different banks.
  static constexpr int kRowStride = kHeadSize + 8;
  static constexpr int kValueStride = P::kTransposes ? kRowStride : kKeys + 4;
  static constexpr bool kBytes = IsByte(kCache);
  // Whether keys and values of 8 bits are read as they are.
  static constexpr bool kReadsBytes =
      kBytes && kStages > 1 && P::kBytes&& kShape.row_waves == 1 && kHeadSize <= 128;
  static constexpr int kByteStride = kHeadSize + (kReadsBytes ? 16 : 0);
  static_assert(kKeys <= kThreads);

 private:
  using Storage = std::conditional_t<kBytes, uint8_t, uint16_t>;
  static constexpr int kAligned = 16 / sizeof(Storage);  // elements of 16 bytes
  // 16-bit elements: [key][dim], V transposed where loads cannot do that.
  struct Stage {
    alignas(16) uint16_t keys[kKeys * kRowStride];
    alignas(16) uint16_t values[(P::kTransposes ? kKeys : kHeadSize) * kValueStride];
  };
  // 8-bit elements as they arrive, [key][dim].
  static constexpr bool kRaw = kBytes && kStages > 1;
  static_assert(!kRaw || P::kTransposes);
  struct RawStage {
    alignas(16) uint8_t keys[kKeys * kByteStride];
    alignas(16) uint8_t values[kKeys * kByteStride];
  };
  struct Scales {  // of each key and value
    float keys[kKeys];
    float values[kKeys];
  };
  struct None {};

 public:
  struct Shared {
    std::conditional_t<kReadsBytes, None, Stage> stages[kRaw ? 1 : kStages];
    std::conditional_t<kRaw, RawStage, None> raw[kRaw ? kStages : 1];
    std::conditional_t<kBytes, Scales, None> scales[kBytes ? kStages : 1];
    KeyPlace places[kStages][kKeys];
  };

  SIMT_METHOD KeyValueStages(const KernelArgs& args, const WorkItem& item, Shared* shared)
      : args_(args),
        item_(item),
        shared_(shared),
        aligned_((reinterpret_cast<uintptr_t>(args.keys) % 16 |
                  reinterpret_cast<uintptr_t>(args.values) % 16 |
                  (args.block_stride | args.key_head_stride | args.key_token_stride |
                   args.value_head_stride | args.value_token_stride) %
                      kAligned) == 0) {
    if constexpr (kGeneral) {
      aligned_ = aligned_ && (args.head_size | args.value_size) % kAligned == 0;
    }
    // Places are looked up a step before they are used.
    if constexpr (kStages > 1) FindPlaces(item.key_end - item.key_begin);
  }

  // Of the block table, what this thread has looked up.
  SIMT_METHOD int32_t FirstBlock() const { return found_.block; }

  // Requests the step that begins where `left` keys of the item are left: the one behind the last.
  // Without copies in the background, only its places are looked up.
  SIMT_METHOD void Fetch(int32_t left) {
    if constexpr (kStages == 1) {
      FindPlaces(left);
    } else {
      if (!published_) {
        PublishPlaces();
        simt::Sync();
      }
      published_ = false;
      CopyStep(left);
      FindPlaces(left - kKeys);
    }
  }

  // The step where `left` keys are left becomes readable: the one behind the last.
  SIMT_METHOD void Deposit(int32_t left) {
    if constexpr (kStages > 1) simt::WaitForCopies<kStages - 2>();
    // Those of the step that is fetched next, which needs no barrier of its own for them.
    PublishPlaces();
    published_ = true;
#if !defined(TESSERA_DROP_STAGING_BARRIER)  // defined only by the test that shows that the emulator
                                            // notices
    // All threads' parts of this step have arrived, and the last step's are no longer read.
    simt::Sync();
#endif
    if constexpr (kStages == 1) {
      CopyStep(left);
      simt::Sync();
    }
  }

  // Whether the readable step is still to be widened, by all threads.
  static constexpr bool kWidens = kRaw && !kReadsBytes;
  SIMT_METHOD void Widen() {
    WidenStep();
    simt::Sync();
  }

  // Of the readable step: K as [key][kRowStride], V as [key][kValueStride] or [dim][kValueStride].
  SIMT_METHOD const uint16_t* Keys() const { return ReadableStage().keys; }
  SIMT_METHOD const uint16_t* Values() const { return ReadableStage().values; }
  // With kReadsBytes: both as [key][kByteStride].
  SIMT_METHOD const uint8_t* KeyBytes() const { return shared_->raw[next_stage_].keys; }
  SIMT_METHOD const uint8_t* ValueBytes() const { return shared_->raw[next_stage_].values; }
  SIMT_METHOD float KeyScale(int key) const { return shared_->scales[next_stage_].keys[key]; }
  SIMT_METHOD float ValueScale(int key) const { return shared_->scales[next_stage_].values[key]; }

 private:
  static constexpr int kPieces = kHeadSize / 8;  // of eight elements, of a row of K or V
  static constexpr int kCopies = (kKeys * kPieces + kThreads - 1) / kThreads;  // by each thread
  // Those that are under way together, as far as registers allow.
  static constexpr int kTogether = kHeadSize > 128 ? 4 : kCopies;
  static_assert(kCopies % kTogether == 0);

  SIMT_METHOD const Stage& ReadableStage() const { return shared_->stages[kRaw ? 0 : next_stage_]; }
  SIMT_METHOD int KeySize() const { return kGeneral ? args_.head_size : kHeadSize; }
  SIMT_METHOD int ValueSize() const { return kGeneral ? args_.value_size : kHeadSize; }

  // Each of the first kKeys threads looks up one key of the step that begins where `left` keys of
  // the item are left. What it finds is used a step later only: nobody waits for the block table.
  SIMT_METHOD void FindPlaces(int32_t left) {
    if (simt::Thread() < kKeys && simt::Thread() < left) {
      found_ = FindKey(args_, item_, item_.key_end - left + simt::Thread());
    }
  }
  SIMT_METHOD void PublishPlaces() {
    if (simt::Thread() < kKeys) {
      shared_->places[next_stage_][simt::Thread()] = PlaceOf(args_, item_, found_);
    }
  }

  // Copies the step whose places were published: its first `count` keys. Keys past the item's end
  // become zeros: there may be NaN in memory.
  SIMT_METHOD void CopyStep(int32_t count) {
    if constexpr (kBytes) {
      if (args_.key_scale_offset != 0) CopyScales(count);
    }
    if constexpr (kRaw) {
      CopyRawStep(count);
    } else {
      CopyWideStep(count);
    }
    simt::CommitCopies();
    next_stage_ = next_stage_ + 1 == kStages ? 0 : next_stage_ + 1;
  }

  SIMT_METHOD void CopyWideStep(int32_t count) {
    Stage* stage = shared_->stages + next_stage_;
    const KeyPlace* places = shared_->places[next_stage_];
    if (aligned_) {
      SIMT_ROLLED
      for (int i = 0; i < kCopies; i += kTogether) {
        KeyPlace place[kTogether];  // read together, not each one when its turn comes
        SIMT_UNROLL
        for (int j = 0; j < kTogether; ++j) place[j] = places[KeyOfPiece(i + j) % kKeys];
        SIMT_UNROLL
        for (int j = 0; j < kTogether; ++j) CopyPieces<true>(stage, i + j, place[j], count);
        if constexpr (!P::kTransposes) {
          SIMT_UNROLL
          for (int j = 0; j < (kTogether + 1) / 2; ++j) {
            TransposePieces<true>(stage, i / 2 + j, count);
          }
        }
      }
    } else {
      SIMT_ROLLED
      for (int i = 0; i < kCopies; ++i) {
        CopyPieces<false>(stage, i, places[KeyOfPiece(i) % kKeys], count);
        if (!P::kTransposes) TransposePieces<false>(stage, i, count);
      }
    }
  }

  // A step is kKeys * kPieces pieces; the thread's i-th one is:
  SIMT_METHOD static unsigned PieceOf(int i) {
    return static_cast<unsigned>(i * kThreads + simt::Thread());
  }
  SIMT_METHOD static int KeyOfPiece(int i) { return static_cast<int>(PieceOf(i) / kPieces); }

  template <bool kAlignedRows>
  SIMT_METHOD void CopyPieces(Stage* stage, int i, const KeyPlace& place, int count) {
    const int key = KeyOfPiece(i), dim = static_cast<int>(PieceOf(i) % kPieces * 8);
    if (kKeys * kPieces % kThreads != 0 && key >= kKeys) return;
    CopyPiece<kAlignedRows>(stage->keys + key * kRowStride + dim,
                            static_cast<const Storage*>(args_.keys) + dim + place.key,
                            Left(key < count, KeySize(), dim));
    if constexpr (P::kTransposes) {
      CopyPiece<kAlignedRows>(stage->values + key * kRowStride + dim,
                              static_cast<const Storage*>(args_.values) + dim + place.value,
                              Left(key < count, ValueSize(), dim));
    }
  }

  // Pieces of V at the same dims of two neighbouring keys become eight words of V transposed. Four
  // lanes read neighbouring pieces of a row.
  template <bool kAlignedRows>
  SIMT_METHOD void TransposePieces(Stage* stage, int i, int count) {
    const unsigned piece = PieceOf(i);
    if (piece >= kKeys * kPieces / 2) return;
    const int key = static_cast<int>(piece / 4 % (kKeys / 2) * 2);
    const int dim = static_cast<int>(piece % 4 + piece / (2 * kKeys) * 4) * 8;
    const KeyPlace* places = shared_->places[next_stage_] + key;
    const Storage* values = static_cast<const Storage*>(args_.values) + dim;
    const simt::Piece a =
        ReadPiece<kAlignedRows>(values + places[0].value, Left(key < count, ValueSize(), dim));
    const simt::Piece b =
        ReadPiece<kAlignedRows>(values + places[1].value, Left(key + 1 < count, ValueSize(), dim));
    uint16_t* to = stage->values + dim * kValueStride + key;
    SIMT_UNROLL
    for (int w = 0; w < 4; ++w) {
      simt::StoreWord(to + 2 * w * kValueStride, (a.words[w] & 0xffffu) | (b.words[w] << 16));
      simt::StoreWord(to + (2 * w + 1) * kValueStride,
                      (a.words[w] >> 16) | (b.words[w] & 0xffff0000u));
    }
  }

  // Elements of a key's row from `dim` on; none of a key that is not read.
  SIMT_METHOD static int Left(bool read, int size, int dim) {
    if constexpr (kGeneral) return read ? size - dim : 0;
    return read ? 8 : 0;
  }

  template <bool kAlignedRows>
  SIMT_METHOD static void CopyPiece(uint16_t* to, const Storage* from, int left) {
    if constexpr (kAlignedRows && !kBytes) {
      simt::CopyAsync16(to, from, left > 0);
    } else {
      simt::StorePiece(to, ReadPiece<kAlignedRows>(from, left));
    }
  }

  // Eight elements as 16 bits, those behind the first `left` ones 0.
  template <bool kAlignedRows>
  SIMT_METHOD static simt::Piece ReadPiece(const Storage* from, int left) {
    if (left <= 0) return simt::Piece{};
    if constexpr (kBytes) {
      const uint32_t first = kAlignedRows ? simt::LoadWord(from) : simt::LoadBytes(from, left);
      const uint32_t second =
          kAlignedRows ? simt::LoadWord(from + 4) : simt::LoadBytes(from + 4, left - 4);
      const TwoPairs a = WidenBytes<kCache>(first), b = WidenBytes<kCache>(second);
      return {{a.low, a.high, b.low, b.high}};
    } else if constexpr (kAlignedRows) {
      return simt::LoadPiece(from);
    } else if constexpr (kGeneral) {
      simt::Piece piece;
      SIMT_UNROLL
      for (int i = 0; i < 4; ++i) {
        piece.words[i] = (2 * i < left ? from[2 * i] : 0u) |
                         (2 * i + 1 < left ? static_cast<uint32_t>(from[2 * i + 1]) << 16 : 0u);
      }
      return piece;
    } else {
      return simt::LoadUnalignedPiece(from);
    }
  }

  // Caches with a scale for each token and head.
  SIMT_METHOD void CopyScales(int32_t count) {
    const int key = simt::Thread();
    if (key >= kKeys) return;
    const uint8_t* row =
        static_cast<const uint8_t*>(args_.keys) + shared_->places[next_stage_][key].key;
    Scales& scales = shared_->scales[next_stage_];
    CopyScale(&scales.keys[key], row + args_.key_scale_offset, key < count);
    CopyScale(&scales.values[key], row + args_.value_scale_offset, key < count);
  }
  SIMT_METHOD static void CopyScale(float* to, const uint8_t* from, bool valid) {
    if (reinterpret_cast<uintptr_t>(from) % 4 == 0) {
      simt::CopyAsync4(to, from, valid);
    } else {
      *to = valid ? simt::FromBits(simt::LoadBytes(from, 4)) : 0.0f;
    }
  }

  // The same division into pieces for 16 bytes of 8-bit elements.
  static constexpr int kRawPieces = kHeadSize / 16;
  static constexpr int kRawCopies = (kKeys * kRawPieces + kThreads - 1) / kThreads;

  SIMT_METHOD void CopyRawStep(int32_t count) {
    RawStage& raw = shared_->raw[next_stage_];
    const KeyPlace* places = shared_->places[next_stage_];
    const auto* keys = static_cast<const Storage*>(args_.keys);
    const auto* values = static_cast<const Storage*>(args_.values);
    if (aligned_) {
      KeyPlace place[kRawCopies];
      SIMT_UNROLL
      for (int i = 0; i < kRawCopies; ++i) place[i] = places[PieceOf(i) / kRawPieces % kKeys];
      SIMT_UNROLL
      for (int i = 0; i < kRawCopies; ++i) {
        const int key = static_cast<int>(PieceOf(i) / kRawPieces);
        const int dim = static_cast<int>(PieceOf(i) % kRawPieces * 16);
        if (kKeys * kRawPieces % kThreads != 0 && key >= kKeys) continue;
        simt::CopyAsync16(raw.keys + key * kByteStride + dim, keys + dim + place[i].key,
                          Left(key < count, KeySize(), dim) > 0);
        simt::CopyAsync16(raw.values + key * kByteStride + dim, values + dim + place[i].value,
                          Left(key < count, ValueSize(), dim) > 0);
      }
    } else {
      SIMT_ROLLED
      for (int i = 0; i < kRawCopies; ++i) {
        const int key = static_cast<int>(PieceOf(i) / kRawPieces);
        const int dim = static_cast<int>(PieceOf(i) % kRawPieces * 16);
        if (kKeys * kRawPieces % kThreads != 0 && key >= kKeys) continue;
        simt::StorePiece(
            raw.keys + key * kByteStride + dim,
            ReadBytes(keys + dim + places[key].key, Left(key < count, KeySize(), dim)));
        simt::StorePiece(
            raw.values + key * kByteStride + dim,
            ReadBytes(values + dim + places[key].value, Left(key < count, ValueSize(), dim)));
      }
    }
  }

  SIMT_METHOD static simt::Piece ReadBytes(const uint8_t* from, int left) {
    if (left <= 0) return simt::Piece{};
    if (left >= 16 && reinterpret_cast<uintptr_t>(from) % 4 == 0) {
      return {{simt::LoadWord(from), simt::LoadWord(from + 4), simt::LoadWord(from + 8),
               simt::LoadWord(from + 12)}};
    }
    return {{simt::LoadBytes(from, left), simt::LoadBytes(from + 4, left - 4),
             simt::LoadBytes(from + 8, left - 8), simt::LoadBytes(from + 12, left - 12)}};
  }

  // The step that has arrived becomes the readable stage; not with kReadsBytes.
  SIMT_METHOD void WidenStep() {
    const RawStage& raw = shared_->raw[next_stage_];
    Stage& stage = shared_->stages[0];
    SIMT_ROLLED
    for (int i = 0; i < kRawCopies; ++i) {
      const int key = static_cast<int>(PieceOf(i) / kRawPieces);
      const int dim = static_cast<int>(PieceOf(i) % kRawPieces * 16);
      if (kKeys * kRawPieces % kThreads != 0 && key >= kKeys) continue;
      WidenPiece(simt::LoadPiece(raw.keys + key * kByteStride + dim),
                 stage.keys + key * kRowStride + dim);
      WidenPiece(simt::LoadPiece(raw.values + key * kByteStride + dim),
                 stage.values + key * kRowStride + dim);
    }
  }
  SIMT_METHOD static void WidenPiece(const simt::Piece& bytes, uint16_t* to) {
    SIMT_UNROLL
    for (int i = 0; i < 4; i += 2) {
      const TwoPairs a = WidenBytes<kCache>(bytes.words[i]);
      const TwoPairs b = WidenBytes<kCache>(bytes.words[i + 1]);
      simt::StorePiece(to + 4 * i, {{a.low, a.high, b.low, b.high}});
    }
  }

  const KernelArgs& args_;
  const WorkItem& item_;
  Shared* shared_;
  KeyInBlock found_ = {0, 0};  // to be published next
  bool aligned_;               // rows of K and V begin at multiples of 16 bytes, whole pieces each
  bool published_ = false;     // the places of the step that is fetched next
  int next_stage_ = 0;  // to be copied into next, which until then is the one that is computed
};

}  // namespace tessera::kernel::lanes
