#include "engine/step_sampler.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "engine/token_rules.h"

namespace tessera {
namespace {

template <typename Values, typename T>
ListRange Append(const Values& values, std::vector<T>* list) {
  const ListRange range{static_cast<int32_t>(list->size()),
                        static_cast<int32_t>(std::size(values))};
  list->insert(list->end(), std::begin(values), std::end(values));
  return range;
}

TokenLogprob ToLogprob(const SampledToken& sampled) {
  TokenLogprob result;
  result.token = sampled.own.token;
  result.logprob = sampled.own.logprob;
  result.rank = sampled.own.rank;
  result.top.reserve(sampled.top.size());
  for (const auto& entry : sampled.top) result.top.emplace_back(entry.token, entry.logprob);
  return result;
}

// Why no token is left although `constraint` (null: none) allows some, and `has_forbidden` if ends
// must not come yet.
Error NothingLeft(const TokenMask* constraint, const TokenRules& rules, bool has_forbidden) {
  if (constraint != nullptr && !HasToken(*constraint, {})) {
    return InvalidArgument(
        "No token of this model can continue with the answer as its constraint demands; use a "
        "pattern "
        "or a schema of characters that the model's vocabulary has.");
  }
  std::string demands;
  const auto add = [&](bool given, const char* name) {
    if (given) demands += (demands.empty() ? "" : ", ") + std::string(name);
  };
  add(rules.allowed != nullptr, "allowed_token_ids");
  add(!rules.bad_words.empty(), "bad_words");
  add(has_forbidden, "min_tokens");
  add(constraint != nullptr, "the answer's form");
  return InvalidArgument("No token is left to continue with the answer that satisfies " + demands +
                         "; loosen one of them.");
}

}  // namespace

// Each token of prompt and output once, and how often the output has it.
ListRange StepSampler::AppendHistory(const RequestState& state, SamplingBatch* batch) {
  const SamplingParams& p = state.params;
  const bool repetition = p.repetition_penalty != 1.0f;
  if (!repetition && p.presence_penalty == 0.0f && p.frequency_penalty == 0.0f) return {};
  const std::span<const int32_t> tokens(state.sequence.tokens);
  const auto prompt = static_cast<size_t>(state.sequence.num_prompt_tokens);
  const auto begin = static_cast<int32_t>(batch->history.size());
  const auto count_of = [this](int32_t token) -> int32_t& {
    const auto index = static_cast<size_t>(token);
    if (index >= counts_.size()) counts_.resize(index + 1);
    return counts_[index];
  };
  for (const int32_t token : tokens.subspan(prompt)) {
    int32_t& count = count_of(token);
    if (count++ == 0) batch->history.push_back({token, 0});
  }
  for (size_t i = static_cast<size_t>(begin); i < batch->history.size(); ++i) {
    batch->history[i].output_count = count_of(batch->history[i].token);
  }
  for (const int32_t token : tokens.first(repetition ? prompt : 0)) {
    int32_t& count = count_of(token);
    if (count == 0) batch->history.push_back({token, 0});
    if (count == 0) count = -1;
  }
  for (size_t i = static_cast<size_t>(begin); i < batch->history.size(); ++i) {
    count_of(batch->history[i].token) = 0;
  }
  return {begin, static_cast<int32_t>(batch->history.size()) - begin};
}

// Fails if no token is left. `ahead`: how many drafts come before the row.
Status StepSampler::Restrict(ChunkRows* rows, int32_t ahead, SampleRow* row, SamplingBatch* batch) {
  const RequestState& state = *rows->state;
  const StopChecker& checker = state.output.checker();
  const TokenRules& rules = checker.rules();
  const int32_t under_way = state.sequence.awaited_row >= 0 ? 1 : 0;
  std::span<const int32_t> forbidden =
      checker.ForbiddenAt(state.output.num_output() + under_way + ahead);
  const bool has_forbidden = !forbidden.empty();
  std::vector<int32_t> with_words;
  if (!rules.bad_words.empty()) {
    const std::span<const int32_t> tokens(state.sequence.tokens);
    with_words =
        ForbiddenAfter(tokens.subspan(static_cast<size_t>(state.sequence.num_prompt_tokens)),
                       rules.bad_words, forbidden);
    forbidden = with_words;
  }
  if (!rows->mask.ok()) return rows->mask.error();
  const std::shared_ptr<const TokenMask>& constraint = *rows->mask;
  const std::shared_ptr<const TokenMask> mask = Intersection(constraint, rules.allowed);
  if (mask != nullptr) {
    const bool may_end = state.constraint && state.constraint->MayEnd();
    if (!HasToken(*mask, forbidden)) {
      rows->complete = may_end;
      return NothingLeft(constraint.get(), rules, has_forbidden);
    }
    row->allowed = Append(*mask, &batch->allowed);
    if (may_end) row->allowed_besides = Append(rules.stop_tokens, &batch->allowed_besides);
  }
  row->bias = Append(rules.logit_bias, &batch->bias);
  row->forbidden = Append(forbidden, &batch->forbidden);
  return {};
}

SampleRow StepSampler::MakeRow(ChunkRows* rows, int32_t ahead, SamplingBatch* batch) {
  const RequestState& state = *rows->state;
  const SamplingParams& params = state.params;
  SampleRow row;
  row.temperature = 0;
  const Status restricted = Restrict(rows, ahead, &row, batch);
  rows->refused.emplace_back();
  if (!restricted.ok()) {
    rows->refused.back() = restricted.error();
    return row;  // something is chosen, and not looked at
  }
  row.temperature = params.temperature;
  row.top_p = params.top_p;
  row.top_k = params.top_k;
  row.min_p = params.min_p;
  row.repetition_penalty = params.repetition_penalty;
  row.presence_penalty = params.presence_penalty;
  row.frequency_penalty = params.frequency_penalty;
  row.seed = state.seed;
  row.position = state.sequence.tokens.size();
  row.logprobs = params.logprobs.value_or(-1);
  row.history = AppendHistory(state, batch);
  return row;
}

void StepSampler::Prepare(const std::vector<ScheduledChunk*>& chunks, const FindState& find,
                          SamplingBatch* batch) {
  if (counts_lost_) std::fill(counts_.begin(), counts_.end(), 0);
  counts_lost_ = true;  // until the end
  rows_.clear();
  rows_.resize(chunks.size());
  std::vector<ChunkRows*> constrained;
  for (size_t i = 0; i < chunks.size(); ++i) {
    ChunkRows& rows = rows_[i];
    rows.chunk = chunks[i];
    rows.id = chunks[i]->id;
    rows.state = find(rows.id);
    rows.first_prompt_logit = chunks[i]->first_prompt_logit();
    rows.last_prompt_logit = chunks[i]->last_prompt_logit();
    rows.samples = chunks[i]->samples();
    rows.runs_ahead = rows.state->runs_ahead;
    if (rows.samples && rows.state->constraint) constrained.push_back(&rows);
  }
  // The masks of different requests are the only long work here.
  threads_->ParallelFor(static_cast<int64_t>(constrained.size()), [&](int64_t i, int) {
    ChunkRows* const rows = constrained[static_cast<size_t>(i)];
    rows->mask = rows->state->constraint->Mask();
  });
  for (ChunkRows& rows : rows_) {
    ScheduledChunk& chunk = *rows.chunk;
    std::vector<int32_t>& tokens = rows.state->sequence.tokens;
    for (int32_t p = rows.first_prompt_logit; p < rows.last_prompt_logit; ++p) {
      SampleRow row;
      row.given_token = tokens[static_cast<size_t>(p) + 1];
      row.logprobs = rows.state->params.prompt_logprobs.value_or(0);
      batch->rows.push_back(row);
    }
    if (!rows.samples) continue;
    rows.sampling_row = static_cast<int32_t>(batch->rows.size());
    const size_t size = tokens.size();
    for (int32_t ahead = 0; ahead <= chunk.drafts; ++ahead) {
      batch->rows.push_back(MakeRow(&rows, ahead, batch));
      // The history of the next row; taken back below.
      if (ahead < chunk.drafts) {
        tokens.push_back(rows.state->sequence.draft[static_cast<size_t>(ahead)]);
      }
    }
    tokens.resize(size);
  }
  counts_lost_ = false;
}

bool StepSampler::runs_ahead() const {
  return std::all_of(rows_.begin(), rows_.end(),
                     [](const ChunkRows& rows) { return !rows.samples || rows.runs_ahead; });
}

std::vector<SampledRows>& StepSampler::Apply(std::span<const Result<SampledToken>> sampled,
                                             const FindState& find) {
  sampled_.clear();
  size_t next = 0;
  for (ChunkRows& rows : rows_) {
    ScheduledChunk& chunk = *rows.chunk;
    RequestState* const found = find(rows.id);
    if (found == nullptr) {
      next += static_cast<size_t>(rows.last_prompt_logit - rows.first_prompt_logit);
      if (rows.samples) next += static_cast<size_t>(chunk.drafts) + 1;
      continue;
    }
    RequestState& state = *found;
    SampledRows made;
    made.id = state.sequence.id;
    made.state = &state;
    for (int32_t p = rows.first_prompt_logit; p < rows.last_prompt_logit; ++p, ++next) {
      const Result<SampledToken>& token = sampled[next];
      if (token.ok()) {
        state.prompt_logprobs[static_cast<size_t>(p) + 1] = ToLogprob(*token);
      } else if (!made.error) {
        made.error = token.error();
      }
    }
    const size_t first = next;
    if (rows.samples) next += static_cast<size_t>(chunk.drafts) + 1;
    chunk.accepted = 0;
    for (size_t i = 0; first + i < next && !made.error; ++i) {
      const Result<SampledToken>& token = sampled[first + i];
      if (rows.refused[i]) {
        made.complete = rows.complete;
        if (!made.complete) made.error = rows.refused[i];
        break;
      }
      if (!token.ok()) {
        made.error = token.error();
        break;
      }
      SampledRows::Choice choice{token->token, std::nullopt};
      if (state.params.logprobs) choice.logprobs = ToLogprob(*token);
      made.choices.push_back(std::move(choice));
      if (static_cast<int32_t>(i) == chunk.drafts || token->token != state.sequence.draft[i]) break;
      ++chunk.accepted;
    }
    sampled_.push_back(std::move(made));
  }
  return sampled_;
}

}  // namespace tessera
