// VerifyGolden: a model's logits against recorded ones.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "model/logits_runner.h"
#include "model/safetensors.h"
#include "ops/cpu_ops.h"
#include "tessera/plugin.h"
#include "tessera/registry.h"

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

// A sequence on its way through the runner.
struct Feed {
  std::vector<int32_t> tokens;
  size_t chunk = 1;
  size_t done = 0;
  const float* expected = nullptr;  // [tokens, vocab]; null: a companion
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
      report->mean_error += error;  // a sum until all is compared
    }
    report->argmax_matches +=
        std::max_element(a, a + vocab) - a == std::max_element(e, e + vocab) - e;
    report->count += vocab_size;
    ++report->rows;
  }
}

// Runs all feeds to their ends, in one batch per step. Not all have rows in the later steps.
Status RunFeeds(std::vector<Feed> feeds, Model* model, const std::vector<Backend*>& backends,
                int32_t block_size, LogitsReport* report) {
  size_t longest = 0;
  for (const Feed& feed : feeds) longest = std::max(longest, feed.tokens.size());
  TESSERA_ASSIGN_OR_RETURN(LogitsRunner runner,
                           LogitsRunner::Create(model, backends, static_cast<int32_t>(feeds.size()),
                                                static_cast<int32_t>(longest), block_size));
  const int64_t vocab_size = model->config().vocab_size;
  while (true) {
    std::vector<LogitsRunner::Piece> pieces;
    size_t step_tokens = 0;
    for (size_t i = 0; i < feeds.size(); ++i) {
      const size_t size = std::min(feeds[i].chunk, feeds[i].tokens.size() - feeds[i].done);
      pieces.push_back({static_cast<int32_t>(i),
                        std::span<const int32_t>(feeds[i].tokens).subspan(feeds[i].done, size)});
      step_tokens += size;
    }
    if (step_tokens == 0) return {};
    TESSERA_ASSIGN_OR_RETURN(const std::vector<float> logits, runner.Step(pieces));
    const auto vocab = static_cast<size_t>(vocab_size);
    size_t offset = 0;
    for (size_t i = 0; i < feeds.size(); ++i) {
      const size_t size = pieces[i].tokens.size() * vocab;
      if (feeds[i].expected != nullptr) {
        Compare(std::span<const float>(logits).subspan(offset, size),
                feeds[i].expected + feeds[i].done * vocab, vocab_size, report);
      }
      offset += size;
      feeds[i].done += pieces[i].tokens.size();
    }
  }
}

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
  ThreadPool::Options pool_options;
  pool_options.num_threads = options.threads;
  ThreadPool threads(pool_options);
  const std::unique_ptr<Ops> ops = CreateCpuOps(&threads);
  ModelOptions model_options;
  model_options.dtype = options.dtype;
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model,
                           LoadModel(options.model_dir, ops.get(), model_options));
  SelectionRequest request;
  request.backend = options.backend;
  request.block_size = options.block_size;
  TESSERA_ASSIGN_OR_RETURN(request.plugins, LoadBackendPlugins(options.plugins));
  LogitsReport report;
  std::vector<Selection> selections;  // [num_layers]
  std::vector<Backend*> backends;
  const BackendContext context{DetectCpu(), &threads};
  for (const AttentionSpec& spec : model->layer_specs()) {
    request.spec = spec;
    TESSERA_ASSIGN_OR_RETURN(Selection selection, SelectBackend(request, context));
    AddName(selection.backend->Name(), &report.backend);
    backends.push_back(selection.backend.get());
    selections.push_back(std::move(selection));
  }
  const std::string path =
      options.golden_path.empty() ? options.model_dir + "/golden.safetensors" : options.golden_path;
  const int64_t vocab_size = model->config().vocab_size;
  TESSERA_ASSIGN_OR_RETURN(const Golden golden, LoadGolden(path, vocab_size));

  std::vector<Feed> together = MakeCompanions(options.companions, vocab_size);
  const float* expected = golden.logits.data();
  for (const std::vector<int32_t>& sequence : golden.sequences) {
    Feed feed;
    feed.tokens = sequence;
    feed.chunk = options.chunk > 0 ? static_cast<size_t>(options.chunk) : sequence.size();
    feed.expected = expected;
    expected += sequence.size() * static_cast<size_t>(vocab_size);
    together.push_back(std::move(feed));
    if (options.companions == 0) {
      TESSERA_RETURN_IF_ERROR(RunFeeds(std::exchange(together, {}), model.get(), backends,
                                       options.block_size, &report));
    }
  }
  if (options.companions > 0) {
    TESSERA_RETURN_IF_ERROR(
        RunFeeds(std::move(together), model.get(), backends, options.block_size, &report));
  }
  report.mean_error /= static_cast<double>(report.count);
  return report;
}

}  // namespace tessera
