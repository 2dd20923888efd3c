#include "ops/gpu/gpu_sampler.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "ops/cpu/sampler.h"

namespace tessera::ops_gpu {
namespace {

static_assert(sizeof(TokenCount) == sizeof(HistoryToken));

bool IsPenalized(const SampleRow& row) {
  return row.repetition_penalty != 1.0f || row.presence_penalty != 0.0f ||
         row.frequency_penalty != 0.0f;
}

SampleKind KindOf(const SampleRow& row, int64_t vocabulary) {
  if (row.given_token >= 0) return SampleKind::kGiven;
  if (row.temperature < kGreedyTemperature) return SampleKind::kGreedy;
  const bool truncated =
      row.min_p > 0.0f || row.top_p < 1.0f || (row.top_k > 0 && row.top_k < vocabulary);
  return truncated ? SampleKind::kTruncated : SampleKind::kDraw;
}

// A step's lists as the device gets them: tokens in range, each once.
struct Lists {
  std::vector<SampleRowArgs> rows;
  std::vector<TokenBias> bias;
  std::vector<int32_t> forbidden;
  std::vector<TokenCount> history;
  std::vector<uint64_t> allowed;
};

template <typename T>
std::span<const T> Part(const std::vector<T>& list, ListRange range) {
  return std::span<const T>(list).subspan(static_cast<size_t>(range.begin),
                                          static_cast<size_t>(range.count));
}

void AppendBias(const SamplingBatch& batch, const SampleRow& row, int64_t vocabulary,
                SampleRowArgs* args, Lists* lists) {
  args->bias = static_cast<int32_t>(lists->bias.size());
  for (const auto& [token, bias] : Part(batch.bias, row.bias)) {
    if (token >= 0 && token < vocabulary) lists->bias.push_back({token, bias});
  }
  const auto begin = lists->bias.begin() + args->bias;
  std::stable_sort(begin, lists->bias.end(),
                   [](const TokenBias& a, const TokenBias& b) { return a.token < b.token; });
  auto last = begin;
  for (auto it = begin; it != lists->bias.end(); ++it) {
    if (it == begin) continue;
    if (it->token == last->token) {
      last->bias += it->bias;
    } else {
      *++last = *it;
    }
  }
  if (begin != lists->bias.end()) lists->bias.erase(last + 1, lists->bias.end());
  args->bias_count = static_cast<int32_t>(lists->bias.size()) - args->bias;
}

void AppendForbidden(const SamplingBatch& batch, const SampleRow& row, int64_t vocabulary,
                     SampleRowArgs* args, Lists* lists) {
  args->forbidden = static_cast<int32_t>(lists->forbidden.size());
  for (const int32_t token : Part(batch.forbidden, row.forbidden)) {
    if (token >= 0 && token < vocabulary) lists->forbidden.push_back(token);
  }
  const auto begin = lists->forbidden.begin() + args->forbidden;
  std::sort(begin, lists->forbidden.end());
  lists->forbidden.erase(std::unique(begin, lists->forbidden.end()), lists->forbidden.end());
  args->forbidden_count = static_cast<int32_t>(lists->forbidden.size()) - args->forbidden;
}

void AppendAllowed(const SamplingBatch& batch, const SampleRow& row, int64_t vocabulary,
                   SampleRowArgs* args, Lists* lists) {
  args->allowed = -1;
  if (row.allowed.count == 0) return;
  const auto begin = lists->allowed.size();
  const auto words = Part(batch.allowed, row.allowed);
  lists->allowed.insert(lists->allowed.end(), words.begin(), words.end());
  for (const int32_t token : Part(batch.allowed_besides, row.allowed_besides)) {
    if (token < 0 || token >= vocabulary) continue;
    const size_t word = begin + static_cast<size_t>(token) / 64;
    if (word >= lists->allowed.size()) lists->allowed.resize(word + 1);
    lists->allowed[word] |= uint64_t{1} << (token % 64);
  }
  args->allowed = static_cast<int32_t>(begin);
  args->allowed_words = static_cast<int32_t>(lists->allowed.size() - begin);
}

void AppendRow(const SamplingBatch& batch, const SampleRow& row, int64_t vocabulary, Lists* lists) {
  SampleRowArgs args = {};
  args.kind = KindOf(row, vocabulary);
  args.allowed = -1;
  args.logprobs = std::min(row.logprobs, static_cast<int32_t>(kMaxTop));
  if (args.kind == SampleKind::kGiven) {
    // A token out of range has an error already: any other one keeps the device out of trouble.
    args.given_token = row.given_token < vocabulary ? row.given_token : 0;
    args.logprobs = std::max(args.logprobs, 0);
    lists->rows.push_back(args);
    return;
  }
  args.scale = args.kind == SampleKind::kGreedy ? 0.0f : kLog2e / row.temperature;
  args.top_p = row.top_p;
  args.min_p = row.min_p;
  args.top_k = row.top_k;
  args.repetition = row.repetition_penalty;
  args.presence = row.presence_penalty;
  args.frequency = row.frequency_penalty;
  args.uniform = UniformDraw(row.seed, row.position);
  AppendBias(batch, row, vocabulary, &args, lists);
  AppendForbidden(batch, row, vocabulary, &args, lists);
  args.history = static_cast<int32_t>(lists->history.size());
  if (IsPenalized(row)) {
    for (const HistoryToken& h : Part(batch.history, row.history)) {
      lists->history.push_back({h.token, h.output_count});
    }
    args.history_count = row.history.count;
  }
  AppendAllowed(batch, row, vocabulary, &args, lists);
  lists->rows.push_back(args);
}

int64_t Aligned(int64_t bytes) { return (bytes + 15) / 16 * 16; }

template <typename T>
int64_t BytesOf(const std::vector<T>& list) {
  return static_cast<int64_t>(list.size() * sizeof(T));
}

}  // namespace

Result<std::unique_ptr<GpuSampler>> GpuSampler::Create(GpuDevice* device, GpuStream* stream,
                                                       const GpuKernels* kernels) {
  std::unique_ptr<GpuSampler> sampler(new GpuSampler(device, stream, kernels));
  for (Step& step : sampler->steps_) {
    TESSERA_ASSIGN_OR_RETURN(step.fetch, device->NewStream());
  }
  return sampler;
}

Status GpuSampler::Reserve(Buffer* buffer, int64_t bytes, MemoryKind kind) {
  if (buffer->bytes() >= bytes) return {};
  // Steps that are under way may still use the old one.
  TESSERA_RETURN_IF_ERROR(stream_->Synchronize());
  for (const Step& step : steps_) TESSERA_RETURN_IF_ERROR(step.fetch->Synchronize());
  TESSERA_ASSIGN_OR_RETURN(Buffer larger, device_->Allocate(bytes + bytes / 2, kind));
  *buffer = std::move(larger);
  if (kind == MemoryKind::kDevice) ++version_;
  return {};
}

Status GpuSampler::FillUpload(const SamplingBatch& batch, Step* step) {
  Lists lists;
  lists.rows.reserve(batch.rows.size());
  for (const SampleRow& row : batch.rows) AppendRow(batch, row, step->vocabulary, &lists);
  step->plan.edits = !lists.bias.empty() || !lists.forbidden.empty() || !lists.history.empty();

  SampleHeader header = {};
  int64_t end = Aligned(sizeof(SampleHeader));
  const auto place = [&](int64_t* offset, int64_t bytes) {
    *offset = end;
    end += Aligned(bytes);
  };
  place(&header.rows, BytesOf(lists.rows));
  place(&header.bias, BytesOf(lists.bias));
  place(&header.forbidden, BytesOf(lists.forbidden));
  place(&header.history, BytesOf(lists.history));
  place(&header.allowed, BytesOf(lists.allowed));
  header.saved_forbidden = static_cast<int64_t>(lists.bias.size());
  header.saved_history = header.saved_forbidden + static_cast<int64_t>(lists.forbidden.size());
  const int64_t saved = header.saved_history + static_cast<int64_t>(lists.history.size());
  TESSERA_RETURN_IF_ERROR(Reserve(&step->upload, end, MemoryKind::kPinnedHost));
  TESSERA_RETURN_IF_ERROR(Reserve(&upload_, end, MemoryKind::kDevice));
  TESSERA_RETURN_IF_ERROR(Reserve(&saved_, saved * int64_t{sizeof(float)}, MemoryKind::kDevice));

  char* const to = step->upload.As<char>();
  const auto write = [&](int64_t offset, const auto& list) {
    if (!list.empty()) std::memcpy(to + offset, list.data(), static_cast<size_t>(BytesOf(list)));
  };
  std::memcpy(to, &header, sizeof(header));
  write(header.rows, lists.rows);
  write(header.bias, lists.bias);
  write(header.forbidden, lists.forbidden);
  write(header.history, lists.history);
  write(header.allowed, lists.allowed);
  stream_->Copy(upload_.data(), to, end);
  return {};
}

Status GpuSampler::Prepare(const SamplingBatch& batch, int64_t vocabulary) {
  if (Chunks(vocabulary) > kMaxChunks) {
    return Unsupported("A vocabulary of " + std::to_string(vocabulary) +
                       " tokens is too large to sample from on a GPU (at most " +
                       std::to_string(kMaxChunks * kChunk) + ").");
  }
  current_ = (current_ + 1) % kSteps;
  Step& step = steps_[current_];
  TESSERA_CHECK(!step.pending, "more steps are under way than results are kept of");
  // Its copies are done: then its pinned memory may be written.
  TESSERA_RETURN_IF_ERROR(step.fetch->Synchronize());
  step.plan = {.rows = static_cast<int32_t>(batch.rows.size())};
  step.vocabulary = vocabulary;
  step.errors.assign(batch.rows.size(), std::nullopt);
  step.logprobs.assign(batch.rows.size(), -1);
  for (size_t i = 0; i < batch.rows.size(); ++i) {
    const SampleRow& row = batch.rows[i];
    if (row.given_token >= vocabulary) {
      step.errors[i] =
          InvalidArgument("Token " + std::to_string(row.given_token) + " is not among the " +
                          std::to_string(vocabulary) + " tokens of the vocabulary.");
    }
    if (row.given_token < 0 && row.logprobs < 0) continue;
    const int64_t top =
        std::clamp<int64_t>(row.logprobs, 0, std::min<int64_t>(vocabulary, kMaxTop));
    if (row.logprobs > kMaxTop && vocabulary > kMaxTop) {
      step.errors[i] = InvalidArgument("Log probabilities of " + std::to_string(row.logprobs) +
                                       " alternatives are too many on a GPU (at most " +
                                       std::to_string(kMaxTop) + "); ask for fewer.");
    }
    step.logprobs[i] = static_cast<int32_t>(top);
    step.plan.logprobs = true;
    step.plan.top = std::max(step.plan.top, static_cast<int32_t>(top));
  }
  const int64_t rows = std::max(step.plan.rows, 1), entries = rows * Chunks(vocabulary);
  const int64_t results = Aligned(rows * int64_t{sizeof(SampleResult)});
  const int64_t top = rows * step.plan.top * int64_t{sizeof(TopToken)};
  const int64_t stats = entries * int64_t{sizeof(ChunkStats)};
  TESSERA_RETURN_IF_ERROR(Reserve(&step.results, results + top, MemoryKind::kPinnedHost));
  TESSERA_RETURN_IF_ERROR(Reserve(&results_, results, MemoryKind::kDevice));
  TESSERA_RETURN_IF_ERROR(Reserve(&top_, top, MemoryKind::kDevice));
  TESSERA_RETURN_IF_ERROR(Reserve(&stats_, stats, MemoryKind::kDevice));
  if (step.plan.logprobs) {
    TESSERA_RETURN_IF_ERROR(Reserve(&original_stats_, stats, MemoryKind::kDevice));
  }
  // The step before has taken its results away by the time this one writes its own.
  stream_->Wait(*steps_[(current_ + kSteps - 1) % kSteps].fetch);
  return FillUpload(batch, &step);
}

void GpuSampler::Launch(const Tensor& logits, int32_t* token_ids) {
  const Step& step = steps_[current_];
  TESSERA_CHECK(logits.dtype == DType::kFloat32 && logits.rows == step.plan.rows &&
                    logits.cols == step.vocabulary,
                "logits that the step was not prepared for");
  const int32_t rows = step.plan.rows;
  if (rows == 0) return;
  const SampleArgs args = {.logits = static_cast<float*>(logits.data),
                           .stride = logits.stride,
                           .rows = rows,
                           .vocabulary = static_cast<int32_t>(logits.cols),
                           .chunks = Chunks(logits.cols),
                           .top_stride = step.plan.top,
                           .upload = upload_.data(),
                           .stats = stats_.As<ChunkStats>(),
                           .original_stats = original_stats_.As<ChunkStats>(),
                           .saved = saved_.As<float>(),
                           .results = results_.As<SampleResult>(),
                           .top = top_.As<TopToken>(),
                           .token_ids = token_ids};
  const int64_t chunks = int64_t{rows} * args.chunks;
  if (step.plan.logprobs) LaunchKernel(*stream_, kernels_->sample_original_stats, chunks, args);
  if (step.plan.edits) LaunchKernel(*stream_, kernels_->sample_edit, rows, args);
  LaunchKernel(*stream_, kernels_->sample_stats, chunks, args);
  LaunchKernel(*stream_, kernels_->sample_choose, rows, args);
  if (step.plan.edits) LaunchKernel(*stream_, kernels_->sample_restore, rows, args);
  if (step.plan.logprobs) LaunchKernel(*stream_, kernels_->sample_logprobs, rows, args);
}

void GpuSampler::Fetch() {
  Step& step = steps_[current_];
  const int64_t rows = step.plan.rows;
  const int64_t results = rows * int64_t{sizeof(SampleResult)};
  const int64_t top = rows * step.plan.top * int64_t{sizeof(TopToken)};
  // In a stream of its own, so that waiting for it does not wait for the steps after.
  step.fetch->Wait(*stream_);
  if (rows > 0) step.fetch->Copy(step.results.data(), results_.data(), results);
  if (top > 0) step.fetch->Copy(step.results.As<char>() + Aligned(results), top_.data(), top);
  step.pending = true;
}

Result<std::vector<Result<SampledToken>>> GpuSampler::Collect() {
  const size_t before = (current_ + kSteps - 1) % kSteps;
  Step& step = steps_[steps_[before].pending ? before : current_];
  TESSERA_CHECK(step.pending, "no sampling is under way");
  step.pending = false;
  TESSERA_RETURN_IF_ERROR(step.fetch->Synchronize());
  const auto* const results = step.results.As<SampleResult>();
  const int64_t bytes = Aligned(step.plan.rows * int64_t{sizeof(SampleResult)});
  const auto* top = reinterpret_cast<const TopToken*>(step.results.As<char>() + bytes);
  std::vector<Result<SampledToken>> tokens;
  tokens.reserve(static_cast<size_t>(step.plan.rows));
  for (size_t i = 0; i < step.errors.size(); ++i, top += step.plan.top) {
    const SampleResult& result = results[i];
    if (const std::optional<Error>& error = step.errors[i]; error.has_value()) {
      tokens.emplace_back(*error);
    } else if (result.error == SampleError::kInfinite) {
      tokens.emplace_back(Internal("The model's logits are infinite; try --dtype float32."));
    } else if (result.error == SampleError::kNothing) {
      tokens.emplace_back(Internal(
          "No token can be chosen: all logits are NaN, minus infinity or forbidden; try --dtype "
          "float32, or fewer restrictions."));
    } else {
      SampledToken token = {.token = result.token, .own = {}, .top = {}};
      if (step.logprobs[i] >= 0) token.own = {result.token, result.logprob, result.rank};
      for (int32_t t = 0; t < step.logprobs[i] && top[t].token >= 0; ++t) {
        token.top.push_back({top[t].token, top[t].logprob, top[t].rank});
      }
      tokens.emplace_back(std::move(token));
    }
  }
  return tokens;
}

}  // namespace tessera::ops_gpu
