// Steps on their way: planned by the scheduler, submitted to the worker, collected, and their
// tokens given to the requests. On a device that computes in the background the next step is
// planned and submitted while the device computes the one before it.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>

#include "engine/attention_switch.h"
#include "engine/engine.h"
#include "engine/engine_view.h"
#include "engine/request_table.h"
#include "engine/scheduler.h"
#include "engine/step_builder.h"
#include "engine/step_sampler.h"
#include "engine/worker.h"
#include "tessera/thread_pool.h"

namespace tessera {

// Not thread-safe. README.md ("Running ahead") says which steps are followed before they are
// collected, and why no answer depends on it.
class StepPipeline {
 public:
  using Clock = std::chrono::steady_clock;

  // What it works with; all outlive it.
  struct Parts {
    Scheduler* scheduler = nullptr;
    RequestTable* requests = nullptr;
    Worker* worker = nullptr;
    ThreadPool* threads = nullptr;
    const AttentionSwitch* attention = nullptr;
  };

  // `run_ahead`: the worker was made for it.
  StepPipeline(const Parts& parts, const StepBuilderOptions& building, bool run_ahead);

  // Plans and submits a step, if there is anything to do, and ends the one before it. What it has
  // submitted may still be under way afterwards, but not once no request is left.
  void Step();

  // Those that it counts; of the others, zero.
  const EngineStats& stats() const { return stats_; }
  const StepHistory& history() const { return history_; }
  // Seconds since it was made, from where the history's times count as well.
  double age() const;

 private:
  // A step from its planning to its end.
  struct Flight {
    explicit Flight(ThreadPool* threads) : sampler(threads) {}
    ScheduledStep step;
    StepBatch batch;
    StepSampler sampler;
    Clock::time_point start;  // of its planning
    int64_t number = 0;
    int64_t num_switches = 0;
    bool complete = false;  // its rows count as computed, its tokens are awaited
  };

  void NoteStarts(const Flight& flight);
  void DropEnded(ScheduledStep* step) const;
  // The next three may throw std::bad_alloc; the step is lost then, or if they fail.
  Status Submit(Flight* flight);
  Status Follow(Flight* flight);
  Status Collect(Flight* flight);
  void End(Flight* flight);
  void Fail(const Flight& flight, const Error& error);
  // What a step's function returns, or that memory ran out in it.
  template <typename Work>
  static Status Guarded(const Flight& flight, const Work& work);

  const Parts parts_;
  const bool run_ahead_;
  const Clock::time_point created_ = Clock::now();
  StepBuilder builder_;
  std::array<Flight, 2> flights_;
  Flight* under_way_ = nullptr;  // submitted and not collected
  Clock::time_point last_end_;   // of a step
  EngineStats stats_;
  StepHistory history_;
};

}  // namespace tessera
