// What tessera/backend.h promises beyond the numbers of one run, which conformance_test.cc
// compares: converting into caches, plans used again, a sequence that changes its backend, NaN that
// stays visible.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "attention/backends/portable/cpu_kernels.h"
#include "attention/backends/portable/portable_backend.h"
#include "attention/testing/test_device.h"
#include "tessera/backend.h"

namespace tessera {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Subject {
  std::string name;
  std::unique_ptr<Backend> backend;
};

class BackendRules : public ::testing::Test {
 protected:
  BackendRules() {
    for (std::unique_ptr<Backend>& backend : testing::UsableBackends(context_)) {
      std::string name = backend->Name();
      subjects_.push_back({std::move(name), std::move(backend)});
    }
    for (const std::string& policy : CpuPolicies()) {
      subjects_.push_back(
          {"portable:" + policy, CreatePortableBackend(context_, {.cpu_policy = policy}).value()});
    }
  }

  Backend* Reference() const {
    for (const Subject& subject : subjects_) {
      if (subject.name == "reference") return subject.backend.get();
    }
    return nullptr;
  }

  const std::unique_ptr<Device> device_ = CreateCpuDevice();
  const std::unique_ptr<Stream> stream_ = device_->NewStream().value();
  ThreadPool pool_{{.num_threads = 3, .pin = false}};
  BackendContext context_{device_.get(), &pool_};
  std::vector<Subject> subjects_;
};

// One request and its cache. Its tokens are random numbers of their own; queries, keys and values
// are float32 with padding between heads, whatever the cache's type.
class Request {
 public:
  static constexpr int32_t kBlockSize = 16;
  static constexpr int32_t kPadding = 3;

  Request(const AttentionSpec& spec, int32_t tokens) : spec_(spec) {
    spec_.query_dtype = DType::kFloat32;
    spec_.output_dtype = DType::kFloat32;
    const int32_t blocks = (tokens + kBlockSize - 1) / kBlockSize;
    const KvCacheShape shape{.num_blocks = blocks,
                             .block_size = kBlockSize,
                             .num_kv_heads = spec.num_kv_heads,
                             .head_size = spec.head_size,
                             .head_size_v = spec.value_size()};
    memory_.resize(static_cast<size_t>(KvCacheElements(shape)) * SizeOf(spec.cache_dtype));
    cache_ = MakeKvCache(shape, spec.cache_dtype, memory_.data());
    for (int32_t block = blocks; block > 0; --block) block_table_.push_back(block - 1);

    std::mt19937 random(5);
    std::normal_distribution<float> normal;
    const auto fill = [&](std::vector<float>* values, int64_t heads, int64_t size) {
      values->resize(static_cast<size_t>(tokens * heads * (size + kPadding)), kNan);
      for (int64_t row = 0; row < tokens * heads; ++row) {
        for (int64_t i = 0; i < size; ++i) {
          (*values)[static_cast<size_t>(row * (size + kPadding) + i)] = normal(random);
        }
      }
    };
    fill(&query_, spec.num_heads, spec.head_size);
    fill(&key_, spec.num_kv_heads, spec.head_size);
    fill(&value_, spec.num_kv_heads, spec.value_size());
  }

  float& Query(int32_t token, int32_t head, int32_t i) {
    return query_[static_cast<size_t>((int64_t{token} * spec_.num_heads + head) * HeadStride() +
                                      i)];
  }

  float& Value(int32_t token, int32_t head, int32_t i) {
    const int64_t row = int64_t{token} * spec_.num_kv_heads + head;
    return value_[static_cast<size_t>(row * (spec_.value_size() + kPadding) + i)];
  }

  struct Output {
    std::vector<float> values;  // [tokens, num_heads, value_size]
    std::vector<float> lse;     // [tokens, num_heads]
    bool operator==(const Output&) const = default;
  };

  // The keys of tokens first .. end-1 go into the cache.
  void Write(Backend* backend, int32_t first, int32_t end) {
    const Batch step(*this, first, end);
    const std::unique_ptr<AttentionPlan> plan = NewPlan(backend);
    const int64_t key_stride = spec_.num_kv_heads * HeadStride();
    const int64_t value_stride = int64_t{spec_.num_kv_heads} * (spec_.value_size() + kPadding);
    Expect(backend->Prepare(plan.get(), step.batch, *stream_));
    Expect(backend->WriteKv(*plan, step.batch,
                            {.key = key_.data() + first * key_stride,
                             .value = value_.data() + first * value_stride,
                             .dtype = DType::kFloat32,
                             .key_token_stride = key_stride,
                             .key_head_stride = HeadStride(),
                             .value_token_stride = value_stride,
                             .value_head_stride = spec_.value_size() + kPadding},
                            cache_, *stream_));
  }

  // For steps of any length.
  std::unique_ptr<AttentionPlan> NewPlan(Backend* backend) const {
    return backend->NewPlan(spec_, {.max_seqs = 1, .max_tokens = 4000}).value();
  }

  // The attention of tokens first .. end-1, with a plan of its own or with `plan`.
  Output Attend(Backend* backend, int32_t first, int32_t end, AttentionPlan* plan = nullptr,
                bool with_lse = true) {
    const Batch step(*this, first, end);
    std::unique_ptr<AttentionPlan> own;
    if (plan == nullptr) {
      own = NewPlan(backend);
      plan = own.get();
    }
    Expect(backend->Prepare(plan, step.batch, *stream_));
    Output output;
    const size_t rows = static_cast<size_t>(int64_t{end - first} * spec_.num_heads);
    output.values.resize(rows * static_cast<size_t>(spec_.value_size()));
    output.lse.resize(rows);
    Expect(backend->Run(plan, step.batch, cache_,
                        {.query = query_.data() + first * spec_.num_heads * HeadStride(),
                         .query_token_stride = spec_.num_heads * HeadStride(),
                         .query_head_stride = HeadStride(),
                         .output = output.values.data(),
                         .output_token_stride = int64_t{spec_.num_heads} * spec_.value_size(),
                         .output_head_stride = spec_.value_size(),
                         .lse = with_lse ? output.lse.data() : nullptr},
                        *stream_));
    return output;
  }

 private:
  struct Batch {
    Batch(const Request& request, int32_t first, int32_t end)
        : starts{0, end - first}, seq_len(end) {
      for (int32_t token = first; token < end; ++token) {
        slots.push_back(int64_t{request.block_table_[static_cast<size_t>(token / kBlockSize)]} *
                            kBlockSize +
                        token % kBlockSize);
      }
      batch =
          testing::OnHost({.num_seqs = 1,
                           .num_tokens = end - first,
                           .max_query_len = end - first,
                           .max_seq_len = end,
                           .block_table_stride = static_cast<int64_t>(request.block_table_.size()),
                           .host = {.query_start_loc = starts,
                                    .seq_lens = &seq_len,
                                    .block_table = request.block_table_.data(),
                                    .slot_mapping = slots.data()}});
      EXPECT_TRUE(Validate(batch, request.cache_.num_blocks, kBlockSize).ok());
    }
    Batch(const Batch&) = delete;
    Batch& operator=(const Batch&) = delete;

    int32_t starts[2];
    int32_t seq_len;
    std::vector<int64_t> slots;
    AttentionBatch batch;
  };

  static void Expect(const Status& status) { EXPECT_TRUE(status.ok()) << status.error().message; }

  int64_t HeadStride() const { return spec_.head_size + kPadding; }

  const std::unique_ptr<Device> device_ = CreateCpuDevice();
  const std::unique_ptr<Stream> stream_ = device_->NewStream().value();

  AttentionSpec spec_;
  std::vector<char> memory_;
  KvCache cache_;
  std::vector<int32_t> block_table_;
  std::vector<float> query_, key_, value_;
};

void ExpectNear(const std::vector<float>& got, const std::vector<float>& want, float tolerance,
                const std::string& name) {
  ASSERT_EQ(got.size(), want.size());
  float worst = 0;
  for (size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::abs(got[i] - want[i]));
  EXPECT_LE(worst, tolerance) << name;
}

TEST_F(BackendRules, ASequenceMayChangeItsBackend) {
  const AttentionSpec spec{.num_heads = 4, .num_kv_heads = 2, .head_size = 40, .head_size_v = 24};
  const int32_t ends[] = {37, 38, 39, 90, 91};
  for (const Subject& subject : subjects_) {
    Request moving(spec, 91), staying(spec, 91);
    int32_t first = 0;
    for (int32_t end : ends) {
      Backend* backend = end % 2 == 1 ? Reference() : subject.backend.get();
      moving.Write(backend, first, end);
      staying.Write(Reference(), first, end);
      const Request::Output got = moving.Attend(backend, first, end);
      const Request::Output want = staying.Attend(Reference(), first, end);
      // If it has bfloat16 instructions, x86 rounds probabilities to bfloat16.
      ExpectNear(got.values, want.values, subject.name == "x86" ? 8e-3f : 3e-5f, subject.name);
      ExpectNear(got.lse, want.lse, 3e-5f, subject.name);
      first = end;
    }
  }
}

TEST_F(BackendRules, PlansThatWerePreparedBeforeGiveWhatNewOnesGive) {
  const AttentionSpec spec{.num_heads = 4, .num_kv_heads = 1, .head_size = 16, .head_size_v = 96};
  for (const Subject& subject : subjects_) {
    Backend* backend = subject.backend.get();
    const std::unique_ptr<AttentionPlan> plan = Request(spec, 1).NewPlan(backend);
    for (int32_t tokens : {4000, 5, 3000, 1, 4000}) {
      Request request(spec, tokens);
      request.Write(backend, 0, tokens);
      EXPECT_EQ(request.Attend(backend, tokens - 1, tokens, plan.get()),
                request.Attend(backend, tokens - 1, tokens))
          << subject.name << ", " << tokens << " tokens";
    }
  }
}

TEST_F(BackendRules, LseIsOptional) {
  const AttentionSpec spec{.num_heads = 2, .num_kv_heads = 1, .head_size = 32};
  for (const Subject& subject : subjects_) {
    Request request(spec, 3000);
    request.Write(subject.backend.get(), 0, 3000);
    const Request::Output with = request.Attend(subject.backend.get(), 2990, 3000);
    const Request::Output without =
        request.Attend(subject.backend.get(), 2990, 3000, nullptr, false);
    EXPECT_EQ(with.values, without.values) << subject.name;
  }
}

// Whether the keys are split or not, and with a soft cap, whose tanh is bounded.
TEST_F(BackendRules, NanOfAQueryStaysVisible) {
  for (float soft_cap : {0.0f, 20.0f}) {
    AttentionSpec spec{.num_heads = 2, .num_kv_heads = 1, .head_size = 32};
    spec.soft_cap = soft_cap;
    for (int32_t tokens : {1, 5, 3000}) {
      for (const Subject& subject : subjects_) {
        Request request(spec, tokens);
        request.Query(tokens - 1, 1, 7) = kNan;
        request.Write(Reference(), 0, tokens);
        const Request::Output output = request.Attend(subject.backend.get(), tokens - 1, tokens);
        const std::string name = subject.name + ", " + std::to_string(tokens) + " tokens";
        for (size_t i = 0; i < 32; ++i) {
          EXPECT_FALSE(std::isnan(output.values[i])) << name;
          EXPECT_TRUE(std::isnan(output.values[32 + i])) << name;
        }
        EXPECT_FALSE(std::isnan(output.lse[0])) << name;
        EXPECT_TRUE(std::isnan(output.lse[1])) << name;
      }
    }
  }
}

// In its own dimension, wherever that lies in a vector, and nowhere else.
TEST_F(BackendRules, NanOfAValueStaysVisible) {
  for (DType cache : {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kE4M3FN,
                      DType::kE4M3FNUZ, DType::kE5M2}) {
    AttentionSpec spec{.num_heads = 2, .num_kv_heads = 1, .head_size = 128};
    spec.cache_dtype = cache;
    for (int32_t rows : {1, 40}) {
      for (const Subject& subject : subjects_) {
        Request request(spec, 70);
        for (int32_t dim : {0, 33, 63, 126}) request.Value(21 + dim % 5, 0, dim) = kNan;
        request.Write(Reference(), 0, 70);
        AttentionSpec asked = spec;
        asked.query_dtype = asked.output_dtype = DType::kFloat32;
        if (!subject.backend->Supports(asked, 16).ok()) continue;
        const Request::Output output = request.Attend(subject.backend.get(), 70 - rows, 70);
        for (size_t i = 0; i < output.values.size(); ++i) {
          const size_t dim = i % 128;
          ASSERT_EQ(std::isnan(output.values[i]), dim == 0 || dim == 33 || dim == 63 || dim == 126)
              << subject.name << ", " << ToString(cache) << ", " << rows << " rows, element " << i;
        }
      }
    }
  }
}

// A token stride of 0 makes a cache of two tokens out of one that would fill 2^31.
TEST_F(BackendRules, TheLongestSequence) {
  AttentionSpec spec{.num_heads = 1, .num_kv_heads = 1, .head_size = 16};
  spec.query_dtype = spec.cache_dtype = spec.output_dtype = DType::kFloat32;
  spec.window_left = 100;
  std::vector<float> memory(64);
  std::iota(memory.begin(), memory.end(), -8.0f);
  const KvCache cache{.data = memory.data(),
                      .dtype = DType::kFloat32,
                      .num_blocks = 2,
                      .block_size = 1 << 30,
                      .block_stride = 32,
                      .v_offset = 16};
  const int32_t starts[] = {0, 1}, block_table[] = {0, 1};
  const int32_t seq_len = std::numeric_limits<int32_t>::max();
  const AttentionBatch batch = testing::OnHost(
      {.num_seqs = 1,
       .num_tokens = 1,
       .max_query_len = 1,
       .max_seq_len = seq_len,
       .block_table_stride = 2,
       .host = {.query_start_loc = starts, .seq_lens = &seq_len, .block_table = block_table}});
  const std::vector<float> query(16, 0.25f);
  for (const Subject& subject : subjects_) {
    std::vector<float> output(16);
    float lse = 0;
    const RunArgs args{.query = query.data(), .output = output.data(), .lse = &lse};
    const Status status =
        testing::PlanAndRun(subject.backend.get(), spec, batch, cache, args, device_.get());
    ASSERT_TRUE(status.ok()) << status.error().message;
    for (size_t i = 0; i < 16; ++i) EXPECT_NEAR(output[i], memory[48 + i], 1e-4f) << subject.name;
    // The sum over 16 elements that start at 24, times 0.25 / sqrt(16), of 101 equal keys.
    EXPECT_NEAR(lse, 504.0f * 0.0625f + std::log(101.0f), 1e-4f) << subject.name;
  }
}

TEST_F(BackendRules, WriteKvConvertsAndSkips) {
  for (DType type : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    AttentionSpec spec{.num_heads = 4, .num_kv_heads = 2, .head_size = 3, .head_size_v = 2};
    spec.cache_dtype = type;
    const KvCacheShape shape{.num_blocks = 2,
                             .block_size = 2,
                             .num_kv_heads = 2,
                             .head_size = 3,
                             .head_size_v = 2,
                             .order = KvOrder::kBlockTokenHead};
    // Three requests' tokens and a row of padding, whose slot does not count.
    std::vector<float> key(4 * 2 * 4), value(4 * 2 * 5);
    std::iota(key.begin(), key.end(), 100.1f);
    std::iota(value.begin(), value.end(), -50.3f);
    const int32_t starts[] = {0, 3}, block_table[] = {1, 0};
    const int32_t seq_len = 3;
    const int64_t slots[] = {3, -1, 0, 2};
    const AttentionBatch batch = testing::OnHost({.num_seqs = 1,
                                                  .num_tokens = 4,
                                                  .max_query_len = 3,
                                                  .max_seq_len = 3,
                                                  .block_table_stride = 2,
                                                  .host = {.query_start_loc = starts,
                                                           .seq_lens = &seq_len,
                                                           .block_table = block_table,
                                                           .slot_mapping = slots}});
    for (bool shares_kv : {false, true}) {
      spec.shares_kv = shares_kv;
      for (const Subject& subject : subjects_) {
        std::vector<float> memory(static_cast<size_t>(KvCacheElements(shape)));
        for (int64_t i = 0; i < KvCacheElements(shape); ++i) {
          StoreFromFloat(type, memory.data(), i, 7.0f);
        }
        const KvCache cache = MakeKvCache(shape, type, memory.data());
        const WriteKvArgs args{.key = key.data(),
                               .value = value.data(),
                               .dtype = DType::kFloat32,
                               .key_token_stride = 8,
                               .key_head_stride = 4,
                               .value_token_stride = 10,
                               .value_head_stride = 5};
        const auto plan = subject.backend->NewPlan(spec, {.max_seqs = 1, .max_tokens = 4}).value();
        ASSERT_TRUE(subject.backend->Prepare(plan.get(), batch, *stream_).ok());
        ASSERT_TRUE(subject.backend->WriteKv(*plan, batch, args, cache, *stream_).ok());
        for (int64_t slot = 0; slot < 4; ++slot) {
          const int64_t token = slot == 3 ? 0 : slot == 0 ? 2 : -1;
          for (int64_t head = 0; head < 2; ++head) {
            const int64_t place = cache.KOffset(slot / 2, head, slot % 2);
            for (int64_t i = 0; i < 5; ++i) {
              float want =
                  i < 3 ? key[static_cast<size_t>(std::max(token, int64_t{0}) * 8 + head * 4 + i)]
                        : value[static_cast<size_t>(std::max(token, int64_t{0}) * 10 + head * 5 +
                                                    i - 3)];
              StoreFromFloat(type, &want, 0, token < 0 || shares_kv ? 7.0f : want);
              EXPECT_EQ(LoadAsFloat(type, memory.data(), place + i), LoadAsFloat(type, &want, 0))
                  << subject.name << ", slot " << slot;
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace tessera
