// Sequence: what the scheduler knows of a request.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/prefix_cache.h"

namespace tessera {

struct ClientAccount;

// The owner keeps it alive from Scheduler::Add to Scheduler::Remove, appends sampled tokens, or
// awaits them, and guesses further ones; all other members belong to the scheduler in between.
struct Sequence {
  uint64_t id = 0;              // in order of arrival
  std::vector<int32_t> tokens;  // the prompt, then the output so far
  int32_t num_prompt_tokens = 0;

  // Lower goes first, and is preempted last. At first the request's priority; a long wait lowers
  // it.
  int64_t level = 0;
  std::string client;  // with whom it shares

  // The owner's guess of the tokens that come next; of use while the sequence decodes. The step
  // that computes some of them says so in its chunk.
  std::vector<int32_t> draft;

  // >= 0: the last token is under way, and only the device will know it when the next step begins:
  // what this row of the latest step's sampling gives. tokens.back() is then kAwaitedToken.
  int32_t awaited_row = -1;
  static constexpr int32_t kAwaitedToken = -1;

  // Logits are still wanted for the prompt's rows from this position on, the last prompt row aside
  // (that one is wanted anyway: it makes the first output token). num_prompt_tokens: for none.
  int32_t prompt_logits_from = 0;

  int32_t num_computed = 0;     // leading tokens whose keys and values lie in the cache
  std::vector<int32_t> blocks;  // block i holds the tokens i * block_size onwards
  PrefixPosition known;         // how many of them the prefix cache knows
  bool running = false;         // else waiting
  int32_t row = -1;             // of the block tables, while it runs
  uint64_t admission = 0;       // counts what the scheduler let run; 0: nothing yet

  int64_t priority = 0;              // its level as it arrived
  int32_t turn_start = 0;            // its size as it last began to run
  ClientAccount* account = nullptr;  // of `client`
  int64_t waiting_since = 0;         // the step in which it began to wait at its level
  bool charged = false;              // its prompt is on the account

  int32_t size() const { return static_cast<int32_t>(tokens.size()); }
  // A sequence that lacks more than its newest token is (still, or again) being prefilled.
  bool decoding() const { return num_computed > 0 && num_computed + 1 == size(); }
};

}  // namespace tessera
