// tessera bench steps: single steps of a model on a device, beside what the device allows. The
// cache holds whatever was in memory: the time of a step does not depend on it.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cli/commands.h"
#include "cli/engine_flags.h"
#include "cli/exit_code.h"
#include "engine/engine_parts.h"
#include "engine/worker.h"

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;

struct Flags {
  EngineFlags engine;
  std::vector<int32_t> batches = {1, 8, 64, 256};
  std::vector<int32_t> contexts = {1024, 4096};
  int32_t prefill = 8192;
  int32_t chunk = 8192;
  double gigabytes_per_second = 0;  // 0: measured
  double teraflops = 0;             // 0: measured
  int repeats = 20;
};

double Seconds(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// The shortest of some runs of `queue`, in seconds.
Result<double> Shortest(Stream* stream, const std::function<void()>& queue) {
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const Clock::time_point start = Clock::now();
    queue();
    TESSERA_RETURN_IF_ERROR(stream->Synchronize());
    best = std::min(best, Seconds(start));
  }
  return best;
}

// Bytes a second of a copy inside the device, reads and writes together.
Result<double> MeasureCopy(Device* device, Stream* stream) {
  const bool cpu = device->info().kind == DeviceKind::kCpu;
  const int64_t bytes = int64_t{1} << (cpu ? 28 : 31);
  TESSERA_ASSIGN_OR_RETURN(const Buffer from, device->Allocate(bytes, MemoryKind::kDevice));
  TESSERA_ASSIGN_OR_RETURN(const Buffer to, device->Allocate(bytes, MemoryKind::kDevice));
  stream->Fill(from.data(), 1, bytes);
  TESSERA_ASSIGN_OR_RETURN(const double seconds,
                           Shortest(stream, [&] { stream->Copy(to.data(), from.data(), bytes); }));
  return 2.0 * static_cast<double>(bytes) / seconds;
}

// Multiplications and additions a second of a large product of this build's operations.
Result<double> MeasureProduct(Device* device, Ops* ops) {
  const int64_t size = device->info().kind == DeviceKind::kCpu ? 1024 : 8192;
  const std::vector<uint16_t> weights(static_cast<size_t>(size * size), 0x3c00);
  const WeightSource source{
      .values = weights.data(), .rows = size, .cols = size, .row_stride = size};
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<LinearWeights> packed,
                           ops->Pack({&source, 1}, MatmulMode::kBFloat16));
  const DType dtype = ops->activation_dtype();
  const int64_t bytes = size * size * static_cast<int64_t>(SizeOf(dtype));
  TESSERA_ASSIGN_OR_RETURN(const Buffer x, device->Allocate(bytes, MemoryKind::kDevice));
  TESSERA_ASSIGN_OR_RETURN(const Buffer y, device->Allocate(bytes, MemoryKind::kDevice));
  ops->stream().Fill(x.data(), 0x3c, bytes);
  constexpr int kProducts = 4;
  TESSERA_ASSIGN_OR_RETURN(const double seconds, Shortest(&ops->stream(), [&] {
                             for (int i = 0; i < kProducts; ++i) {
                               ops->Linear(*packed, {x.data(), dtype, size, size, size},
                                           {y.data(), dtype, size, size, size});
                             }
                           }));
  return kProducts * 2.0 * static_cast<double>(size * size * size) / seconds;
}

class StepBench {
 public:
  StepBench(const Flags& flags, EngineParts parts)
      : flags_(flags), parts_(std::move(parts)), block_size_(flags.engine.block_size) {}

  Status Run() {
    TESSERA_RETURN_IF_ERROR(Start());
    std::printf(
        "%s; copy %.0f GB/s, product %.1f TFLOP/s; weights %.2f GB, %.0f bytes of cache a token\n\n"
        "| step | us | ahead us | bound us | %% of the bound | host %% | tokens/s "
        "|\n|---|---|---|---|---|---|---|\n",
        parts_.device->info().name.c_str(), bandwidth_ * 1e-9, flops_ * 1e-12, weights_ * 1e-9,
        token_bytes_);
    for (const int32_t context : flags_.contexts) {
      for (const int32_t batch : flags_.batches) {
        if (int64_t{batch} * Pages(context) > memory_->layers()[0].num_blocks) {
          std::printf("| decode %d x %d | does not fit the KV cache |\n", batch, context);
          continue;
        }
        const double bytes = weights_ + token_bytes_ * batch * context;
        TESSERA_RETURN_IF_ERROR(Measure(fmt::format("decode {} x {}", batch, context), batch,
                                        context, 1, bytes / bandwidth_));
      }
    }
    if (flags_.prefill > 0) {
      const double rows = flags_.prefill;
      const double products = rows * linear_flops_ + attention_flops_ * rows * rows / 2;
      TESSERA_RETURN_IF_ERROR(Measure(fmt::format("prefill {}", flags_.prefill), 1, flags_.prefill,
                                      flags_.prefill, products / flops_));
    }
    return {};
  }

 private:
  int32_t Pages(int32_t tokens) const { return (tokens + block_size_ - 1) / block_size_; }

  Status Start() {
    bandwidth_ = flags_.gigabytes_per_second * 1e9;
    flops_ = flags_.teraflops * 1e12;
    if (bandwidth_ <= 0) {
      TESSERA_ASSIGN_OR_RETURN(bandwidth_, MeasureCopy(parts_.device.get(), parts_.stream.get()));
    }
    if (flops_ <= 0) {
      TESSERA_ASSIGN_OR_RETURN(flops_, MeasureProduct(parts_.device.get(), parts_.ops.get()));
    }
    const ModelConfig& config = parts_.model->config();
    const auto hidden = static_cast<double>(config.hidden_size);
    weights_ = static_cast<double>(parts_.model->weight_bytes());
    if (!config.tie_word_embeddings) {  // of the table only some rows are read
      weights_ -= hidden * static_cast<double>(config.vocab_size) * 2;
    }
    int32_t longest = flags_.prefill, most = 1;
    for (const int32_t context : flags_.contexts) longest = std::max(longest, context);
    for (const int32_t batch : flags_.batches) most = std::max(most, batch);
    KvBudget budget;
    budget.block_size = block_size_;
    budget.available_bytes = parts_.device->free_bytes();
    budget.max_model_len = longest;
    budget.max_running = most;
    const std::vector<AttentionSpec>& layers = parts_.model->layer_specs();
    TESSERA_ASSIGN_OR_RETURN(const KvPlan plan, PlanKvMemory(layers, budget));
    token_bytes_ = static_cast<double>(plan.block_bytes) / block_size_;
    for (const AttentionSpec& spec : layers) {
      attention_flops_ += 2.0 * spec.num_heads * (spec.head_size + spec.value_size());
      const double heads = spec.num_heads + 2.0 * spec.num_kv_heads;
      linear_flops_ += 2 * hidden *
                       (heads * spec.head_size + spec.num_heads * spec.value_size() +
                        3.0 * static_cast<double>(config.intermediate_size));
    }
    TESSERA_ASSIGN_OR_RETURN(KvMemory memory,
                             KvMemory::Allocate(layers, plan, block_size_, parts_.device.get()));
    memory_ = std::make_unique<KvMemory>(std::move(memory));
    parts_.stream->Fill(memory_->buffer().data(), 0, memory_->buffer().bytes());
    std::vector<Backend*> backends;
    for (const Selection& selection : parts_.selections) {
      backends.push_back(selection.backend.get());
    }
    TESSERA_ASSIGN_OR_RETURN(
        worker_, Worker::Create({.max_seqs = most,
                                 .max_batch_tokens = std::max(most, flags_.chunk),
                                 .max_logit_rows = most,
                                 .blocks_per_seq = Pages(longest),
                                 .run_ahead = parts_.stream->asynchronous()},
                                parts_.device.get(), parts_.ops.get(), parts_.model.get(),
                                parts_.groups, backends, *memory_));
    return {};
  }

  // A step of `batch` sequences, each with the tokens [begin, end) of its own as new ones; earlier
  // ones lie in the cache. Their blocks have room for `context` tokens.
  StepBatch MakeBatch(int32_t batch, int32_t context, int32_t begin, int32_t end) const {
    StepBatch step;
    step.query_start_loc.push_back(0);
    const int32_t blocks = static_cast<int32_t>(memory_->layers()[0].num_blocks);
    for (int32_t seq = 0; seq < batch; ++seq) {
      // Pages of a sequence lie apart, as they do after a while of service.
      const auto block = [&](int32_t page) {
        return static_cast<int32_t>((int64_t{page} * batch + seq) % blocks);
      };
      for (int32_t p = begin; p < end; ++p) {
        step.token_ids.push_back((seq * 31 + p) % 100);
        step.positions.push_back(p);
        step.slot_mapping.push_back(int64_t{block(p / block_size_)} * block_size_ +
                                    p % block_size_);
      }
      for (int32_t page = 0; page < Pages(context); ++page) {
        step.changed_blocks.push_back({seq, page, block(page)});
      }
      step.query_start_loc.push_back(step.num_tokens());
      step.seq_lens.push_back(end);
      step.logit_rows.push_back(step.num_tokens() - 1);
      SampleRow row;
      row.temperature = 0;
      step.sampling.rows.push_back(row);
    }
    return step;
  }

  // `rows`: tokens that each of `batch` sequences computes, up to its length of `context`: 1 for a
  // decode; more are a prompt's, in steps of flags_.chunk.
  Status Measure(const std::string& name, int32_t batch, int32_t context, int32_t rows,
                 double bound) {
    std::vector<double> times, hosts;
    for (int i = 0; i < flags_.repeats + 3; ++i) {
      double total = 0, waited = 0;
      for (int32_t begin = context - rows; begin < context; begin += flags_.chunk) {
        StepBatch step = MakeBatch(batch, context, begin, std::min(context, begin + flags_.chunk));
        if (i > 0) step.changed_blocks.clear();
        const Clock::time_point start = Clock::now();
        TESSERA_RETURN_IF_ERROR(worker_->Submit(step));
        const Clock::time_point submitted = Clock::now();
        TESSERA_ASSIGN_OR_RETURN(const StepResult result, worker_->Collect());
        for (const auto& token : result.sampled) {
          if (!token.ok()) return token.error();
        }
        waited += Seconds(submitted);
        total += Seconds(start);
      }
      if (i < 3) continue;  // the first ones make graphs
      times.push_back(total);
      hosts.push_back((total - waited) / total);
    }
    const double seconds = Median(times);
    std::string ahead = "-";
    if (rows == 1 && parts_.stream->asynchronous()) {
      TESSERA_ASSIGN_OR_RETURN(const double step, MeasureAhead(batch, context));
      ahead = fmt::format("{:.0f}", step * 1e6);
    }
    std::printf("| %s | %.0f | %s | %.0f | %.0f %% | %.1f %% | %.0f |\n", name.c_str(),
                seconds * 1e6, ahead.c_str(), bound * 1e6, 100 * bound / seconds,
                100 * Median(hosts), batch * rows / seconds);
    std::fflush(stdout);
    return {};
  }

  // Seconds from one decode step's tokens to the next one's, if each step is submitted before the
  // one before it is collected, as the engine does: the host's work shows only where it is longer
  // than the device's.
  Result<double> MeasureAhead(int32_t batch, int32_t context) {
    StepBatch step = MakeBatch(batch, context, context - 1, context);
    step.changed_blocks.clear();
    TESSERA_RETURN_IF_ERROR(worker_->Submit(step));
    for (int32_t seq = 0; seq < batch; ++seq) {
      step.token_ids[static_cast<size_t>(seq)] = SampledBefore(seq);
    }
    std::vector<double> times;
    for (int i = 0; i < flags_.repeats + 3; ++i) {
      const Clock::time_point start = Clock::now();
      TESSERA_RETURN_IF_ERROR(worker_->Submit(step));
      TESSERA_RETURN_IF_ERROR(worker_->Collect());
      if (i >= 3) times.push_back(Seconds(start));
    }
    TESSERA_RETURN_IF_ERROR(worker_->Collect());
    return Median(times);
  }

  const Flags& flags_;
  EngineParts parts_;
  const int32_t block_size_;
  std::unique_ptr<KvMemory> memory_;
  std::unique_ptr<Worker> worker_;
  double bandwidth_ = 0, flops_ = 0, weights_ = 0, token_bytes_ = 0;
  double linear_flops_ = 0;     // of a row
  double attention_flops_ = 0;  // of a row and a key
};

Result<int> BenchSteps(const Flags& flags) {
  TESSERA_ASSIGN_OR_RETURN(EngineOptions options, MakeEngineOptions(flags.engine));
  for (const int32_t batch : flags.batches) {
    options.max_batch_tokens = std::max({options.max_batch_tokens, batch, flags.chunk});
  }
  options.max_running = 1;
  for (const int32_t batch : flags.batches) {
    options.max_running = std::max(options.max_running, batch);
  }
  TESSERA_ASSIGN_OR_RETURN(EngineParts parts, LoadEngineParts(options));
  TESSERA_RETURN_IF_ERROR(StepBench(flags, std::move(parts)).Run());
  return kExitOk;
}

}  // namespace

void AddBenchStepsCommand(CLI::App* bench, CommandTable* commands) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = bench->add_subcommand(
      "steps", "Single steps of a model, decode and prefill, in % of the device's bound");
  AddModelFlags(command, &flags->engine);
  AddAttentionFlags(command, &flags->engine);
  command->add_option("--batch", flags->batches, "Sequences of a decode step")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command->add_option("--context", flags->contexts, "Tokens of each")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--prefill", flags->prefill, "Tokens of a prompt; 0: none")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  command->add_option("--chunk", flags->chunk, "Tokens of a prefill step")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--read-rate", flags->gigabytes_per_second,
                      "GB/s that the device reads; 0: what a copy reaches, measured now");
  command->add_option("--product-rate", flags->teraflops,
                      "TFLOP/s of a large product; 0: measured now");
  command->add_option("--repeats", flags->repeats, "Steps of which the median is taken")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  (*commands)[command] = [flags] { return Finish(BenchSteps(*flags)); };
}

}  // namespace tessera
