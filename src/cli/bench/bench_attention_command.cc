// tessera bench attention: every backend on a table of batches, beside what the machine allows.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <utility>

#include "cli/bench/attention_problem.h"
#include "cli/bench/attention_report.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "device/bandwidth.h"
#include "device/matrix_rate.h"
#include "tessera/registry.h"

namespace tessera {
namespace {

struct Options {
  std::vector<std::string> batches = {"q1s4k", "8q1s16k", "32q1s4k", "64q1s512-8k", "q2k",
                                      "q8k",   "8q16s4k", "q512s4k", "q2k_32q1s1k"};
  std::vector<std::string> backends;  // empty: all but the reference
  int num_heads = 32, num_kv_heads = 8, head_size = 128, block_size = 16, threads = 0;
  std::string dtype = "bfloat16", cache_dtype;
  int window = 0;
  double seconds = 1.0;
  std::string json_file, svg_file;
};

Result<AttentionSpec> MakeSpec(const Options& options) {
  AttentionSpec spec{.num_heads = options.num_heads,
                     .num_kv_heads = options.num_kv_heads,
                     .head_size = options.head_size};
  TESSERA_ASSIGN_OR_RETURN(spec.query_dtype, ParseDType(options.dtype));
  spec.output_dtype = spec.query_dtype;
  spec.cache_dtype = spec.query_dtype;
  if (!options.cache_dtype.empty()) {
    TESSERA_ASSIGN_OR_RETURN(spec.cache_dtype, ParseDType(options.cache_dtype));
  }
  if (SizeOf(spec.cache_dtype) == 1) spec.kv_scales = ScaleMode::kPerTensor;
  if (options.window > 0) spec.window_left = options.window - 1;
  TESSERA_RETURN_IF_ERROR(Validate(spec));
  if (options.block_size < 1) return InvalidArgument("--block-size must be positive");
  return spec;
}

struct Subject {
  std::string name;
  std::unique_ptr<Backend> backend;  // null: `refusal` says why
  Support refusal;
};

Result<std::vector<Subject>> MakeSubjects(const Options& options, const BackendContext& context) {
  std::vector<Subject> subjects;
  for (const std::string& name : options.backends) {
    const auto& entries = BackendEntries();
    const bool known = std::any_of(entries.begin(), entries.end(),
                                   [&](const BackendEntry& e) { return e.name == name; });
    if (!known)
      return NotFound("there is no backend '" + name + "'; this build has " + BackendNames());
  }
  for (const BackendEntry& entry : BackendEntries()) {
    const bool wanted = options.backends.empty()
                            ? entry.name != "reference"
                            : std::find(options.backends.begin(), options.backends.end(),
                                        entry.name) != options.backends.end();
    if (!wanted) continue;
    Subject subject{entry.name, nullptr, entry.probe(context.device->info())};
    if (subject.refusal.ok()) {
      TESSERA_ASSIGN_OR_RETURN(subject.backend, entry.create(context));
    }
    subjects.push_back(std::move(subject));
  }
  return subjects;
}

// Bytes a second of reading as many bytes: in sequence, and in pieces as one head has them in a
// page.
struct ReadRates {
  double sequential = 0;
  double paged = 0;
};

Result<ReadRates> MeasureReadRates(double bytes, const AttentionSpec& spec, int block_size,
                                   ThreadPool* threads) {
  constexpr double kSmallest = 1 << 20, kLargest = 2e9;
  constexpr int64_t kPieceUnit = 64;
  const auto size = static_cast<int64_t>(std::clamp(bytes, kSmallest, kLargest));
  const int64_t piece = int64_t{block_size} * (spec.head_size + spec.value_size()) *
                        static_cast<int64_t>(SizeOf(spec.cache_dtype));
  const int64_t rounded = std::clamp(piece / kPieceUnit * kPieceUnit, kPieceUnit,
                                     size / threads->num_threads() / kPieceUnit * kPieceUnit);
  TESSERA_ASSIGN_OR_RETURN(const ReadBandwidth whole, MeasureReadBandwidth(*threads, size));
  TESSERA_ASSIGN_OR_RETURN(const ReadBandwidth paged,
                           MeasurePagedReadBandwidth(*threads, size, rounded));
  return ReadRates{.sequential = whole.median * 1e9, .paged = paged.median * 1e9};
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

Status MeasureBatch(const std::string& batch, const AttentionSpec& spec, const Options& options,
                    const BackendContext& context, Stream* stream, std::vector<Subject>* subjects,
                    AttentionReport* report) {
  TESSERA_ASSIGN_OR_RETURN(const std::vector<RequestShape> requests, ParseBatchSpec(batch));
  TESSERA_ASSIGN_OR_RETURN(const auto problem,
                           AttentionProblem::Create(spec, requests, options.block_size));
  TESSERA_ASSIGN_OR_RETURN(
      const ReadRates read,
      MeasureReadRates(problem->kv_bytes(), spec, options.block_size, context.threads));
  const double reading = problem->kv_bytes() / read.sequential;
  const double multiplying = problem->operations() / report->multiply_rate;
  struct Runner {
    Subject* subject;
    std::unique_ptr<AttentionPlan> plan;
    std::vector<double> seconds;
    AttentionMeasurement result;
  };
  std::vector<Runner> runners;
  for (Subject& subject : *subjects) {
    Runner runner{.subject = &subject, .plan = nullptr, .seconds = {}, .result = {}};
    runner.result = {.workload = batch,
                     .backend = subject.name,
                     .kv_bytes = problem->kv_bytes(),
                     .operations = problem->operations(),
                     .read_bytes_per_second = read.sequential,
                     .paged_bytes_per_second = read.paged,
                     .bound_seconds = std::max(reading, multiplying),
                     .memory_bound = reading >= multiplying};
    const Support support = subject.backend == nullptr
                                ? subject.refusal
                                : subject.backend->Supports(spec, options.block_size);
    for (const std::string& reason : support.reasons) {
      runner.result.refusal += (runner.result.refusal.empty() ? "" : "; ") + reason;
    }
    runners.push_back(std::move(runner));
  }
  // Turn by turn, so that all meet the same neighbours on the machine.
  for (int round = 0; round < 1000; ++round) {
    bool more = false;
    for (Runner& runner : runners) {
      if (!runner.result.refusal.empty()) continue;
      double total = 0;
      for (double s : runner.seconds) total += s;
      if (runner.seconds.size() >= 3 && total >= options.seconds) continue;
      runner.seconds.push_back(problem->Time(runner.subject->backend.get(), stream, &runner.plan));
      more = true;
    }
    if (!more) break;
  }
  for (Runner& runner : runners) {
    if (runner.result.refusal.empty()) runner.result.seconds = Median(std::move(runner.seconds));
    report->measurements.push_back(std::move(runner.result));
  }
  return {};
}

Status Bench(const Options& options) {
  TESSERA_ASSIGN_OR_RETURN(const AttentionSpec spec, MakeSpec(options));
  for (const std::string& batch : options.batches) {
    if (auto parsed = ParseBatchSpec(batch); !parsed.ok()) return parsed.error();
  }
  ThreadPool threads({.num_threads = options.threads});
  const std::unique_ptr<Device> device = CreateCpuDevice();
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Stream> stream, device->NewStream());
  const BackendContext context{device.get(), &threads};
  TESSERA_ASSIGN_OR_RETURN(std::vector<Subject> subjects, MakeSubjects(options, context));

  AttentionReport report{
      .machine = device->info().name,
      .layer = ToString(spec) + ", blocks of " + std::to_string(options.block_size),
      .threads = threads.num_threads()};
  for (MultiplyKind kind : {MultiplyKind::kFloat32, MultiplyKind::kBFloat16, MultiplyKind::kAmx}) {
    const double rate = MeasureMultiplyRate(threads, kind) * 1e9;
    if (kind == MultiplyKind::kFloat32) report.float32_rate = rate;
    if (rate <= report.multiply_rate) continue;
    report.multiply_rate = rate;
    report.multiply_kind = ToString(kind);
  }
  Progress progress({.title = "measuring", .total = static_cast<int64_t>(options.batches.size())});
  int64_t done = 0;
  for (const std::string& batch : options.batches) {
    TESSERA_RETURN_IF_ERROR(
        MeasureBatch(batch, spec, options, context, stream.get(), &subjects, &report));
    progress.Update(++done);
  }
  progress.Finish();
  std::fputs(ToText(report).c_str(), stdout);
  if (!options.json_file.empty()) {
    TESSERA_RETURN_IF_ERROR(WriteTextFile(options.json_file, ToJson(report).dump(2) + "\n"));
  }
  if (!options.svg_file.empty()) {
    TESSERA_RETURN_IF_ERROR(WriteTextFile(options.svg_file, ToSvg(report)));
  }
  return {};
}

}  // namespace

void AddBenchAttentionCommand(CLI::App* bench, CommandTable* commands) {
  CLI::App* command = bench->add_subcommand(
      "attention",
      "Every attention backend on a table of batches, in % of the bound measured here");
  const auto options = std::make_shared<Options>();
  command
      ->add_option("--batch", options->batches,
                   "Batches such as 2q2k_32q1s1k: [count]q<query>[s<sequence>], joined by _")
      ->capture_default_str();
  command->add_option("--attention-backend", options->backends,
                      "Backends to measure; default: all but the reference");
  command->add_option("--num-heads", options->num_heads)->capture_default_str();
  command->add_option("--num-kv-heads", options->num_kv_heads)->capture_default_str();
  command->add_option("--head-size", options->head_size)->capture_default_str();
  command->add_option("--block-size", options->block_size, "Tokens of a page")
      ->capture_default_str();
  command->add_option("--window", options->window, "Sliding window, in keys; 0: none");
  command->add_option("--dtype", options->dtype, "Of queries and outputs")->capture_default_str();
  command->add_option("--kv-cache-dtype", options->cache_dtype, "Of the cache; default: --dtype");
  command->add_option("--threads", options->threads, "Threads; 0: one for each core");
  command->add_option("--seconds", options->seconds, "Time for each backend and batch")
      ->capture_default_str();
  command->add_option("--json", options->json_file, "Also write the results here as JSON");
  command->add_option("--svg", options->svg_file, "Also write a roofline here");
  (*commands)[command] = [options] {
    const Status status = Bench(*options);
    return status.ok() ? static_cast<int>(kExitOk) : Report(status.error());
  };
}

}  // namespace tessera
