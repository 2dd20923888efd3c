#include "engine/verify.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <utility>

#include "engine/engine_parts.h"
#include "engine/worker.h"
#include "model/safetensors.h"

namespace tessera {
namespace {

constexpr int32_t kMaxTokens = 1 << 20;

struct Golden {
  std::vector<std::vector<int32_t>> sequences;  // [B][T]
  std::vector<float> logits;                    // [B, T, vocab]
};

Result<Golden> LoadGolden(const std::string& path, int64_t vocab_size) {
  TESSERA_ASSIGN_OR_RETURN(const Checkpoint file, Checkpoint::OpenFile(path));
  const TensorView* ids = file.Find("input_ids");
  const TensorView* logits = file.Find("logits");
  if (ids == nullptr || ids->type != TensorType::kI64 || ids->shape.size() != 2 ||
      ids->bytes == 0 || ids->shape[1] > kMaxTokens) {
    return Corrupt(path + " has no tensor \"input_ids\" [sequences, tokens] of type I64.");
  }
  const std::vector<int64_t> wanted = {ids->shape[0], ids->shape[1], vocab_size};
  if (logits == nullptr || logits->type != TensorType::kF32 || logits->shape != wanted) {
    return Corrupt(path + " has no tensor \"logits\" " + ShapeToString(wanted) + " of type F32.");
  }
  Golden golden;
  golden.sequences.resize(static_cast<size_t>(ids->shape[0]));
  const std::byte* next = ids->data;
  for (std::vector<int32_t>& sequence : golden.sequences) {
    for (int64_t i = 0; i < ids->shape[1]; ++i, next += sizeof(int64_t)) {
      int64_t id = 0;
      std::memcpy(&id, next, sizeof(id));
      if (id < 0 || id >= vocab_size) {
        return Corrupt(path + " holds a token id outside the model's vocabulary.");
      }
      sequence.push_back(static_cast<int32_t>(id));
    }
  }
  golden.logits.resize(static_cast<size_t>(logits->bytes) / sizeof(float));
  std::memcpy(golden.logits.data(), logits->data, static_cast<size_t>(logits->bytes));
  return golden;
}

// A sequence on its way through the model.
struct Feed {
  std::vector<int32_t> tokens;
  size_t chunk = 1;
  size_t done = 0;
  const float* expected = nullptr;  // [tokens, vocab]; null: a companion

  size_t next() const { return std::min(chunk, tokens.size() - done); }
};

// Companions have 3, 16, 29, ... tokens in chunks of 1, 2, 3, ... of them.
std::vector<Feed> MakeCompanions(int32_t count, int64_t vocab_size) {
  std::vector<Feed> feeds;
  for (int32_t i = 0; i < count; ++i) {
    Feed feed;
    feed.chunk = static_cast<size_t>(i + 1);
    for (int64_t t = 0; t < 3 + 13 * i; ++t) {
      feed.tokens.push_back(static_cast<int32_t>((t * 31 + i * 17 + 5) % vocab_size));
    }
    feeds.push_back(std::move(feed));
  }
  return feeds;
}

void Compare(std::span<const float> actual, const float* expected, int64_t vocab_size,
             LogitsReport* report) {
  const auto vocab = static_cast<size_t>(vocab_size);
  for (size_t row = 0; row < actual.size(); row += vocab) {
    const float* a = actual.data() + row;
    const float* e = expected + row;
    for (size_t i = 0; i < vocab; ++i) {
      double error = std::abs(static_cast<double>(a[i]) - e[i]);
      if (std::isnan(error)) error = std::numeric_limits<double>::infinity();
      report->max_error = std::max(report->max_error, error);
      report->largest_logit = std::max(report->largest_logit, std::abs(double{e[i]}));
      report->mean_error += error;  // a sum until all is compared
    }
    report->argmax_matches +=
        std::max_element(a, a + vocab) - a == std::max_element(e, e + vocab) - e;
    report->count += vocab_size;
    ++report->rows;
  }
}

// Sequences that run together, and the worker that they run on.
class FeedRunner {
 public:
  FeedRunner(std::vector<Feed> feeds, const EngineParts& parts, int32_t block_size)
      : feeds_(std::move(feeds)), parts_(parts), block_size_(block_size) {}

  // Runs all feeds to their ends, in one batch per step. Not all have rows in the later steps.
  Status Run(LogitsReport* report) {
    TESSERA_RETURN_IF_ERROR(Start());
    const int64_t vocab_size = parts_.model->config().vocab_size;
    while (true) {
      StepBatch batch = NextStep();
      if (batch.token_ids.empty()) return {};
      TESSERA_RETURN_IF_ERROR(worker_->Submit(batch));
      TESSERA_ASSIGN_OR_RETURN(const StepResult result, worker_->Collect());
      size_t offset = 0;
      for (Feed& feed : feeds_) {
        const size_t size = feed.next() * static_cast<size_t>(vocab_size);
        if (feed.expected != nullptr) {
          Compare(std::span<const float>(result.logits).subspan(offset, size),
                  feed.expected + feed.done * static_cast<size_t>(vocab_size), vocab_size, report);
        }
        offset += size;
        feed.done += feed.next();
      }
    }
  }

 private:
  Status Start() {
    size_t longest = 0, rows = 0;
    for (const Feed& feed : feeds_) {
      longest = std::max(longest, feed.tokens.size());
      rows += feed.next();
    }
    const auto count = static_cast<int32_t>(feeds_.size());
    pages_ = (static_cast<int32_t>(longest) + block_size_ - 1) / block_size_;
    KvPlan plan;
    plan.num_blocks = count * pages_;
    TESSERA_ASSIGN_OR_RETURN(KvMemory memory, KvMemory::Allocate(parts_.model->layer_specs(), plan,
                                                                 block_size_, parts_.device.get()));
    memory_ = std::make_unique<KvMemory>(std::move(memory));
    parts_.stream->Fill(memory_->buffer().data(), 0xff, memory_->buffer().bytes());  // NaN
    std::vector<Backend*> backends;
    for (const Selection& selection : parts_.selections) {
      backends.push_back(selection.backend.get());
    }
    const auto most = static_cast<int32_t>(rows);  // later steps have no more
    TESSERA_ASSIGN_OR_RETURN(
        worker_, Worker::Create({.max_seqs = count,
                                 .max_batch_tokens = most,
                                 .max_logit_rows = most,
                                 .blocks_per_seq = pages_},
                                parts_.device.get(), parts_.ops.get(), parts_.model.get(),
                                parts_.groups, backends, *memory_));
    return {};
  }

  StepBatch NextStep() const {
    StepBatch batch;
    batch.returns_logits = true;
    batch.query_start_loc.push_back(0);
    const auto count = static_cast<int32_t>(feeds_.size());
    for (int32_t seq = 0; seq < count; ++seq) {
      const Feed& feed = feeds_[static_cast<size_t>(seq)];
      const auto page = [&](int32_t index) { return index * count + seq; };
      for (size_t i = feed.done; i < feed.done + feed.next(); ++i) {
        const auto position = static_cast<int32_t>(i);
        batch.logit_rows.push_back(batch.num_tokens());
        batch.token_ids.push_back(feed.tokens[i]);
        batch.positions.push_back(position);
        batch.slot_mapping.push_back(int64_t{page(position / block_size_)} * block_size_ +
                                     position % block_size_);
      }
      if (feed.done == 0) {
        for (int32_t i = 0; i < pages_; ++i) batch.changed_blocks.push_back({seq, i, page(i)});
      }
      batch.query_start_loc.push_back(batch.num_tokens());
      batch.seq_lens.push_back(static_cast<int32_t>(feed.done + feed.next()));
    }
    return batch;
  }

  std::vector<Feed> feeds_;
  const EngineParts& parts_;
  const int32_t block_size_;
  int32_t pages_ = 0;  // of one sequence
  std::unique_ptr<KvMemory> memory_;
  std::unique_ptr<Worker> worker_;
};

// "portable", "portable + reference"
void AddName(const std::string& name, std::string* names) {
  if (names->empty()) {
    *names = name;
  } else if ((" + " + *names + " + ").find(" + " + name + " + ") == std::string::npos) {
    *names += " + " + name;
  }
}

}  // namespace

Result<LogitsReport> VerifyGolden(const VerifyOptions& options) {
  if (options.chunk < 0 || options.companions < 0 || options.block_size < 1 ||
      options.companions > 1000 || options.block_size > kMaxTokens) {
    return InvalidArgument(
        "the chunk, the block size or the number of companions is negative or "
        "too large.");
  }
  TESSERA_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(options.model_dir));
  const std::string path =
      options.golden_path.empty() ? options.model_dir + "/golden.safetensors" : options.golden_path;
  TESSERA_ASSIGN_OR_RETURN(const Golden golden, LoadGolden(path, config.vocab_size));

  std::vector<Feed> together = MakeCompanions(options.companions, config.vocab_size);
  const float* expected = golden.logits.data();
  size_t rows = 0;
  for (const std::vector<int32_t>& sequence : golden.sequences) {
    Feed feed;
    feed.tokens = sequence;
    feed.chunk = options.chunk > 0 ? static_cast<size_t>(options.chunk) : sequence.size();
    feed.expected = expected;
    expected += sequence.size() * static_cast<size_t>(config.vocab_size);
    together.push_back(std::move(feed));
  }
  for (const Feed& feed : together) rows += feed.next();

  EngineOptions engine;
  engine.model_directory = options.model_dir;
  engine.device = options.device;
  engine.attention_backend = options.backend;
  engine.attention_plugins = options.plugins;
  engine.dtype = options.dtype;
  engine.block_size = options.block_size;
  engine.num_threads = options.threads;
  engine.max_batch_tokens = engine.max_running = static_cast<int32_t>(rows);
  TESSERA_ASSIGN_OR_RETURN(const EngineParts parts, LoadEngineParts(engine));
  LogitsReport report;
  for (const Selection& selection : parts.selections) {
    AddName(selection.backend->Name(), &report.backend);
  }
  if (options.companions > 0) {
    TESSERA_RETURN_IF_ERROR(
        FeedRunner(std::move(together), parts, options.block_size).Run(&report));
  } else {
    for (const Feed& feed : together) {
      TESSERA_RETURN_IF_ERROR(FeedRunner({feed}, parts, options.block_size).Run(&report));
    }
  }
  report.mean_error /= static_cast<double>(report.count);
  return report;
}

}  // namespace tessera
