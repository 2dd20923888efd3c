// How a step's tokens are chosen: from parameters, rules and constraints of its requests to the
// rows that an operation samples, and back from what it sampled.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "engine/request_state.h"
#include "engine/scheduler.h"
#include "ops/sampling.h"
#include "tessera/result.h"
#include "tessera/thread_pool.h"

namespace tessera {

// What became of one request's rows.
struct SampledRows {
  struct Choice {
    int32_t token = -1;
    std::optional<TokenLogprob> logprobs;  // if the request asks for them
  };

  uint64_t id = 0;
  RequestState* state = nullptr;
  std::vector<Choice> choices;  // the next tokens
  std::optional<Error> error;   // why there are none, or no more
  bool complete = false;        // the constraint allows the end, and nothing else
};

// Not thread-safe.
class StepSampler {
 public:
  using FindState = std::function<RequestState*(uint64_t id)>;  // null: it has ended

  // `threads` outlives it.
  explicit StepSampler(ThreadPool* threads) : threads_(threads) {}

  // Appends a row for each of the chunks' rows of logits, in StepBatch's order.
  //
  // Each token is chosen from the very row, history and random number that it would be chosen from
  // without drafts; a draft only decides whether the next row is already there. So the answer's
  // distribution is the model's, and a seed gives the same answer with and without speculation.
  void Prepare(const std::vector<ScheduledChunk*>& chunks, const FindState& find,
               SamplingBatch* batch);

  // Takes what was sampled for these rows, sets the chunks' accepted drafts and the requests'
  // prompt log probabilities. Requests that have ended since have no rows in the result, which is
  // valid until the next Prepare().
  std::vector<SampledRows>& Apply(std::span<const Result<SampledToken>> sampled,
                                  const FindState& find);

  // Whether the tokens after those that are being sampled can be chosen before the host knows
  // these.
  bool runs_ahead() const;
  // Calls f(id, row) for each request that gets a token: the one that row `row` of the batch
  // samples. None of them has drafts.
  template <typename F>
  void ForEachToken(const F& f) const {
    for (const ChunkRows& rows : rows_) {
      if (rows.samples) f(rows.id, rows.sampling_row);
    }
  }

 private:
  // The rows of one chunk, as they were prepared: its sequence may have grown since.
  struct ChunkRows {
    ScheduledChunk* chunk = nullptr;
    uint64_t id = 0;
    RequestState* state = nullptr;  // during Prepare()
    int32_t first_prompt_logit = 0, last_prompt_logit = 0;
    bool samples = false;
    int32_t sampling_row = 0;  // of the batch: its first row that samples
    bool runs_ahead = false;   // the request does
    Result<std::shared_ptr<const TokenMask>> mask{nullptr};  // of the constraint; null: none
    std::vector<std::optional<Error>> refused;  // [rows that sample] why no token is left
    bool complete = false;
  };

  SampleRow MakeRow(ChunkRows* rows, int32_t ahead, SamplingBatch* batch);
  Status Restrict(ChunkRows* rows, int32_t ahead, SampleRow* row, SamplingBatch* batch);
  ListRange AppendHistory(const RequestState& state, SamplingBatch* batch);

  ThreadPool* const threads_;
  std::vector<ChunkRows> rows_;
  std::vector<SampledRows> sampled_;
  std::vector<int32_t> counts_;  // of tokens; all zero between calls, unless
  bool counts_lost_ = false;     // memory ran out in one
};

}  // namespace tessera
