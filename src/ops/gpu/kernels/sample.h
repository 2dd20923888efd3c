// What the kernels that choose tokens share. semantics: ops/cpu/sampler.h.
//
// Rows are read in chunks by many blocks, which leave each chunk's largest logit, where it is, and
// the sum of its weights; then one block a row chooses. Edits (bias, forbidden tokens, penalties)
// are made in the row itself and taken back afterwards, so that no copy of it is needed.
//
// Weights, 2^((logit - largest) * scale), are summed as integers of 2^-40: sums do not depend on
// their order, and a weight below 2^-41 of the largest counts as nothing.
#pragma once

#include <cstdint>

#include "device/gpu/simt.h"
#include "ops/gpu/kernels/elements.h"
#include "ops/gpu/kernels/reduce.h"

namespace tessera::ops_gpu {

constexpr float kMinusInfinity = -__builtin_inff();

enum class SampleKind : int32_t {
  kGreedy,
  kDraw,       // from all tokens
  kTruncated,  // by min-p, top-k or top-p, then a draw
  kGiven,      // nothing is chosen
};

struct SampleRowArgs {
  SampleKind kind;
  int32_t given_token;
  float scale;       // log2(e) / temperature
  float top_p;       // 1: off
  float min_p;       // 0: off
  int32_t top_k;     // 0: off
  int32_t logprobs;  // alternatives; < 0: not even the token's own
  float repetition, presence, frequency;
  double uniform;  // the draw, in [0, 1)
  // Begin and count in the lists. Tokens of bias and forbidden are in range, each once in a row.
  int32_t bias, bias_count;
  int32_t forbidden, forbidden_count;
  int32_t history, history_count;
  int32_t allowed, allowed_words;  // < 0: every token is allowed
};

struct TokenBias {
  int32_t token;
  float bias;
};

struct TokenCount {  // tessera::HistoryToken
  int32_t token;
  int32_t output_count;
};

// What the host uploads for a step lies in one buffer, which begins so. Offsets are in bytes.
struct SampleHeader {
  int64_t rows;       // SampleRowArgs
  int64_t bias;       // TokenBias
  int64_t forbidden;  // int32_t
  int64_t history;    // TokenCount
  int64_t allowed;    // uint64_t
  // Where in `saved` the logits go that a list's edits replace.
  int64_t saved_bias, saved_forbidden, saved_history;
};

struct ChunkStats {
  float largest;
  int32_t index;
  uint64_t sum;  // of weights relative to this chunk's largest logit
};

enum class SampleError : int32_t { kNone, kInfinite, kNothing };

struct SampleResult {
  int32_t token;
  SampleError error;
  float logprob;
  int32_t rank;
};

struct TopToken {
  int32_t token;
  float logprob;
  int32_t rank;
};

struct SampleArgs {
  float* logits;  // [rows, vocabulary]
  int64_t stride;
  int32_t rows, vocabulary, chunks;
  int32_t top_stride;
  const void* upload;  // SampleHeader
  ChunkStats* stats;   // [rows, chunks]; of the edited logits
  ChunkStats* original_stats;
  float* saved;
  SampleResult* results;
  TopToken* top;       // [rows, top_stride]
  int32_t* token_ids;  // [rows] or null
};

constexpr int kStatsThreads = 256, kChunk = 4096;
constexpr int kChooseThreads = 512, kEditThreads = 256;
constexpr int kMaxChunks = 256;          // 2^20 tokens
constexpr int kMaxCandidates = 1024;     // that a block compares each with each
constexpr int kMaxTop = kMaxCandidates;  // alternatives of a row

template <class T>
SIMT_DEVICE const T* UploadedList(const SampleArgs& args, int64_t SampleHeader::*offset) {
  const auto* const base = static_cast<const char*>(args.upload);
  return reinterpret_cast<const T*>(base + reinterpret_cast<const SampleHeader*>(base)->*offset);
}
SIMT_DEVICE const SampleRowArgs& RowArgs(const SampleArgs& args, int row) {
  return UploadedList<SampleRowArgs>(args, &SampleHeader::rows)[row];
}

// A row as it is chosen from: NaN and what is not allowed are -infinity.
struct LogitRow {
  const float* logits;
  int32_t size;
  const uint64_t* allowed;  // null: every token
  int32_t words;

  SIMT_METHOD float At(int32_t token) const {
    const float logit = logits[token];
    if (logit != logit) return kMinusInfinity;
    if (allowed != nullptr &&
        (token / 64 >= words || (allowed[token / 64] >> (token % 64) & 1) == 0)) {
      return kMinusInfinity;
    }
    return logit;
  }
};

// A row as it is.
struct OriginalRow {
  const float* logits;
  int32_t size;
  SIMT_METHOD float At(int32_t token) const { return logits[token]; }
};

SIMT_DEVICE LogitRow EditedRow(const SampleArgs& args, int row) {
  const SampleRowArgs& r = RowArgs(args, row);
  const bool all = r.allowed < 0;
  return {args.logits + row * args.stride, args.vocabulary,
          all ? nullptr : UploadedList<uint64_t>(args, &SampleHeader::allowed) + r.allowed,
          all ? 0 : r.allowed_words};
}

SIMT_DEVICE uint64_t FixedPoint(float weight) {
  return static_cast<uint64_t>(weight * 1099511627776.0f);  // 2^40; no more than that is exact
}

struct Largest {
  float value;
  int32_t index;
};
// The larger one, of equals the first.
struct TakeLargest {
  SIMT_METHOD Largest operator()(const Largest& a, const Largest& b) const {
    const bool second = b.value > a.value || (b.value == a.value && b.index < a.index);
    return {second ? b.value : a.value, second ? b.index : a.index};
  }
};

template <int kWave>
struct StatsMemory {
  Largest largest[kStatsThreads / kWave];
  uint64_t sums[kStatsThreads / kWave];
};

// A block a chunk of a row.
template <int kWave>
SIMT_DEVICE void SampleStatsBlock(const SampleArgs& args, bool original) {
  auto* const memory = simt::SharedMemory<StatsMemory<kWave>>();
  const int row = simt::Block() / args.chunks, chunk = simt::Block() % args.chunks;
  const SampleRowArgs& r = RowArgs(args, row);
  const bool given = r.kind == SampleKind::kGiven;
  if (original ? r.logprobs < 0 : given) return;
  LogitRow logits = EditedRow(args, row);
  if (original) logits.allowed = nullptr;
  constexpr int kCount = kChunk / kStatsThreads;
  float values[kCount];
  Largest largest = {kMinusInfinity, args.vocabulary};
  SIMT_UNROLL
  for (int i = 0; i < kCount; ++i) {
    const int32_t token = chunk * kChunk + i * kStatsThreads + simt::Thread();
    values[i] = token < args.vocabulary ? logits.At(token) : kMinusInfinity;
    if (values[i] > largest.value) largest = {values[i], token};
  }
  largest = BlockReduce<kWave, kStatsThreads>(largest, memory->largest, TakeLargest());
  uint64_t sum = 0;
  const bool finite = largest.value > kMinusInfinity && largest.value < -kMinusInfinity;
  if ((original || r.kind != SampleKind::kGreedy) && finite) {
    const float scale = original ? kLog2e : r.scale;
    SIMT_UNROLL
    for (int i = 0; i < kCount; ++i) {
      sum += FixedPoint(simt::Exp2((values[i] - largest.value) * scale));
    }
    sum = BlockReduce<kWave, kStatsThreads>(sum, memory->sums, Sum());
  }
  if (simt::Thread() == 0) {
    (original ? args.original_stats : args.stats)[int64_t{row} * args.chunks + chunk] = {
        largest.value, largest.index, sum};
  }
}

// A block a row: first bias, then forbidden tokens, then penalties; `saved` gets what was there.
SIMT_DEVICE void SampleEditBlock(const SampleArgs& args) {
  const SampleRowArgs& r = RowArgs(args, simt::Block());
  const auto& header = *static_cast<const SampleHeader*>(args.upload);
  float* const logits = args.logits + simt::Block() * args.stride;
  const TokenBias* const bias = UploadedList<TokenBias>(args, &SampleHeader::bias) + r.bias;
  float* saved = args.saved + header.saved_bias + r.bias;
  for (int i = simt::Thread(); i < r.bias_count; i += kEditThreads) {
    saved[i] = logits[bias[i].token];
    logits[bias[i].token] += bias[i].bias;
  }
  simt::Sync();
  const int32_t* const forbidden =
      UploadedList<int32_t>(args, &SampleHeader::forbidden) + r.forbidden;
  saved = args.saved + header.saved_forbidden + r.forbidden;
  for (int i = simt::Thread(); i < r.forbidden_count; i += kEditThreads) {
    saved[i] = logits[forbidden[i]];
    logits[forbidden[i]] = kMinusInfinity;
  }
  simt::Sync();
  const TokenCount* const history =
      UploadedList<TokenCount>(args, &SampleHeader::history) + r.history;
  saved = args.saved + header.saved_history + r.history;
  for (int i = simt::Thread(); i < r.history_count; i += kEditThreads) {
    const TokenCount h = history[i];
    if (h.token < 0 || h.token >= args.vocabulary) continue;
    float logit = logits[h.token];
    saved[i] = logit;
    if (r.repetition != 1.0f) logit = logit > 0.0f ? logit / r.repetition : logit * r.repetition;
    if (h.output_count > 0) {
      logit -= r.frequency * static_cast<float>(h.output_count) + r.presence;
    }
    logits[h.token] = logit;
  }
}

// The edits in reverse.
SIMT_DEVICE void SampleRestoreBlock(const SampleArgs& args) {
  const SampleRowArgs& r = RowArgs(args, simt::Block());
  const auto& header = *static_cast<const SampleHeader*>(args.upload);
  float* const logits = args.logits + simt::Block() * args.stride;
  const TokenCount* const history =
      UploadedList<TokenCount>(args, &SampleHeader::history) + r.history;
  const float* saved = args.saved + header.saved_history + r.history;
  for (int i = simt::Thread(); i < r.history_count; i += kEditThreads) {
    const int32_t token = history[i].token;
    if (token >= 0 && token < args.vocabulary) logits[token] = saved[i];
  }
  simt::Sync();
  const int32_t* const forbidden =
      UploadedList<int32_t>(args, &SampleHeader::forbidden) + r.forbidden;
  saved = args.saved + header.saved_forbidden + r.forbidden;
  for (int i = simt::Thread(); i < r.forbidden_count; i += kEditThreads) {
    logits[forbidden[i]] = saved[i];
  }
  simt::Sync();
  const TokenBias* const bias = UploadedList<TokenBias>(args, &SampleHeader::bias) + r.bias;
  saved = args.saved + header.saved_bias + r.bias;
  for (int i = simt::Thread(); i < r.bias_count; i += kEditThreads) {
    logits[bias[i].token] = saved[i];
  }
}

}  // namespace tessera::ops_gpu
