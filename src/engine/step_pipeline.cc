#include "engine/step_pipeline.h"

#include <algorithm>
#include <new>
#include <string>
#include <utility>

namespace tessera {
namespace {

double SecondsBetween(StepPipeline::Clock::time_point start, StepPipeline::Clock::time_point end) {
  return std::chrono::duration<double>(end - start).count();
}

}  // namespace

StepPipeline::StepPipeline(const Parts& parts, const StepBuilderOptions& building, bool run_ahead)
    : parts_(parts),
      run_ahead_(run_ahead),
      builder_(building),
      flights_{Flight(parts.threads), Flight(parts.threads)} {}

// An exception that left the stepping thread would end the program, with all requests that wait.
template <typename Work>
Status StepPipeline::Guarded(const Flight& flight, const Work& work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return OutOfMemory("Memory ran out in a step of " + std::to_string(flight.step.num_tokens) +
                       " tokens; lower max_batch_tokens below that or max_running, or free "
                       "memory.");
  }
}

double StepPipeline::age() const { return SecondsBetween(created_, Clock::now()); }

void StepPipeline::Step() {
  Flight* const before = std::exchange(under_way_, nullptr);
  Flight* const next = before == &flights_[0] ? &flights_[1] : &flights_[0];
  next->start = Clock::now();
  next->complete = false;
  parts_.scheduler->Schedule(&next->step);
  if (next->step.empty()) {
    if (before != nullptr) End(before);
    return;
  }
  next->number = ++stats_.steps;
  next->num_switches = parts_.attention->num_switches();
  if (next->step.num_new_tokens > 0) NoteStarts(*next);
  const Status submitted = Guarded(*next, [&] { return Submit(next); });
  if (before != nullptr) {
    if (submitted.ok()) ++stats_.steps_ahead;
    End(before);
    DropEnded(&next->step);
  }
  if (!submitted.ok()) {
    Fail(*next, submitted.error());
    return;
  }
  if (!run_ahead_ || !next->sampler.runs_ahead() || !stats_.device_error.empty()) {
    End(next);
    return;
  }
  const Status followed = Guarded(*next, [&] { return Follow(next); });
  // What was submitted is collected even if nobody is left to hear of it.
  if (!followed.ok()) {
    Fail(*next, followed.error());
    End(next);
  } else if (parts_.requests->size() == 0) {
    End(next);
  } else {
    under_way_ = next;
  }
}

// Newcomers are in the step for the first time; what they do not begin with was cached.
void StepPipeline::NoteStarts(const Flight& flight) {
  for (const ScheduledChunk& chunk : flight.step.chunks) {
    RequestState& state = *parts_.requests->Find(chunk.id);
    if (state.started) continue;
    state.started = flight.start;
    state.cached_tokens = chunk.begin;
  }
}

// The step before has ended some of the requests that this one computes a row for.
void StepPipeline::DropEnded(ScheduledStep* step) const {
  for (ScheduledChunk& chunk : step->chunks) {
    if (parts_.requests->Find(chunk.id) == nullptr) chunk.sequence = nullptr;
  }
}

Status StepPipeline::Submit(Flight* flight) {
  builder_.Build(&flight->step, &flight->batch);
  flight->sampler.Prepare(
      builder_.chunks(), [this](uint64_t id) { return parts_.requests->Find(id); },
      &flight->batch.sampling);
  return parts_.worker->Submit(flight->batch);
}

// Lets the next step be planned: as if this one were done, and its tokens there.
Status StepPipeline::Follow(Flight* flight) {
  flight->complete = true;
  parts_.scheduler->Complete(flight->step);
  flight->sampler.ForEachToken(
      [this](uint64_t id, int32_t row) { parts_.requests->Await(id, row); });
  return {};
}

Status StepPipeline::Collect(Flight* flight) {
  TESSERA_ASSIGN_OR_RETURN(const StepResult result, parts_.worker->Collect());
  stats_.model_seconds += result.model_seconds;
  stats_.sample_seconds += result.sample_seconds;
  stats_.wait_seconds += result.wait_seconds;
  std::vector<SampledRows>& rows = flight->sampler.Apply(
      result.sampled, [this](uint64_t id) { return parts_.requests->Find(id); });
  const ScheduledStep& step = flight->step;
  if (!flight->complete) parts_.scheduler->Complete(step);
  stats_.prompt_tokens_computed += step.num_prefill_tokens;
  stats_.prefix_cache_queries += step.num_new_tokens;
  stats_.prefix_cache_hits += step.num_cached_tokens;
  for (const ScheduledChunk& chunk : step.chunks) {
    stats_.drafts += chunk.drafts > 0 ? 1 : 0;
    stats_.accepted_tokens += chunk.accepted;
  }
  stats_.draft_tokens += step.num_draft_tokens;
  stats_.tokens_generated += parts_.requests->Emit(&rows);
  return {};
}

// Waits for a submitted step and gives its tokens to the requests. Its time is counted from the end
// of the step before it, if it was submitted earlier: the times of all steps add up.
void StepPipeline::End(Flight* flight) {
  const int64_t generated = stats_.tokens_generated;
  const Status status = Guarded(*flight, [&] { return Collect(flight); });
  const Clock::time_point start = std::max(flight->start, last_end_);
  last_end_ = Clock::now();
  const double seconds = SecondsBetween(start, last_end_);
  const ScheduledStep& step = flight->step;
  history_.Add({flight->number, SecondsBetween(created_, start), seconds,
                step.num_tokens - step.num_prefill_tokens, step.num_prefill_tokens,
                static_cast<int32_t>(step.chunks.size()), flight->num_switches});
  if (step.num_prefill_tokens > 0) {
    stats_.prefill_seconds += seconds;
  } else {
    stats_.decode_seconds += seconds;
    stats_.decode_tokens += stats_.tokens_generated - generated;
  }
  if (!status.ok()) Fail(*flight, status.error());
}

void StepPipeline::Fail(const Flight& flight, const Error& error) {
  if (const Status device = parts_.worker->DeviceStatus(); !device.ok()) {
    stats_.device_error = device.error().message;
    return;  // the requests stay as they are, for another device
  }
  builder_.Forget();
  parts_.requests->Fail(flight.step, error);
}

}  // namespace tessera
