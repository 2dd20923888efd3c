// Times the portable backend on a GPU, next to the chip's own limit for reading memory.
//
//   time_attention [DEVICE [GIBIBYTES]]      "cuda" and 16 for the pool, if they are not given
//
// Heads 32/8 of 128, bfloat16, then the same with a cache of fp8, pages of 16 tokens. All keys and
// values lie in one pool far larger than the chip's cache; page tables are random permutations of
// all of it. One graph holds several steps, each with a page table of its own (2 GB of keys and
// values at least), so that none finds its keys in the cache. Replays are timed from the host: the
// median of what three in a row take beyond one, divided by two and by the graph's steps.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "attention/testing/test_device.h"
#include "device/gpu/gpu_device.h"
#include "read_kernels.h"
#include "tessera/kv_cache.h"

namespace tessera {

std::span<const KernelImage> BenchImages();

namespace {

struct Request {
  int32_t query_len;
  int32_t seq_len;
};

template <class T>
T Value(Result<T> result) {
  if (!result.ok()) {
    std::fprintf(stderr, "%s\n", result.error().message.c_str());
    std::exit(1);
  }
  return std::move(result).value();
}

void Check(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.error().message.c_str());
  std::exit(1);
}

class Bench {
 public:
  Bench(GpuDevice* device, int64_t pool_bytes, DType cache) : device_(device) {
    stream_ =
        std::unique_ptr<GpuStream>(static_cast<GpuStream*>(Value(device->NewStream()).release()));
    module_ = Value(device->Load(BenchImages()));
    read_ = Value(module_->Find("read_all", 0));
    for (const BackendEntry& entry : BackendEntries()) {
      if (entry.name == "portable") backend_ = Value(entry.create({device}));
    }
    spec_.cache_dtype = cache;
    spec_.num_heads = 32;
    spec_.num_kv_heads = 8;
    spec_.head_size = 128;
    shape_.block_size = 16;
    shape_.num_kv_heads = spec_.num_kv_heads;
    shape_.head_size = spec_.head_size;
    shape_.order = KvOrder::kBlockTokenHead;
    shape_.num_blocks = 1;
    page_bytes_ = KvCacheElements(shape_) * static_cast<int64_t>(SizeOf(cache));
    shape_.num_blocks = pool_bytes / page_bytes_;
    pool_ = Value(device->Allocate(pool_bytes, MemoryKind::kDevice));
    // Of the bits, those of a mask: e4m3fn without the second bit of each byte holds no NaN.
    FillRandom(pool_, SizeOf(cache) == 1 ? 0xbfbfu : 0xffffu);
    pages_.resize(static_cast<size_t>(shape_.num_blocks));
    std::iota(pages_.begin(), pages_.end(), 0);
    std::shuffle(pages_.begin(), pages_.end(), std::mt19937(1));
  }

  void Read() {
    const Buffer out = Value(device_->Allocate(256, MemoryKind::kDevice));
    const int64_t bytes = std::min<int64_t>(pool_.bytes(), int64_t{8} << 30);
    double best = 1e9;
    for (const int64_t per_unit : {2, 4, 8}) {
      const int64_t blocks = per_unit * device_->info().num_units;
      best =
          std::min(best, Median([&] {
                     stream_->Launch(read_, {.blocks = blocks, .threads = kReadThreads, .wave = 64},
                                     ReadArgs{.data = pool_.data(),
                                              .pieces = bytes / 16,
                                              .step = blocks * kReadThreads * kReadLoads,
                                              .out = out.As<uint32_t>()});
                   }));
    }
    bandwidth_ = static_cast<double>(bytes) / best;
    std::printf("pure read, linear: %.0f GB/s\n", bandwidth_ * 1e-9);
  }

  void Time(const std::string& name, const std::vector<Request>& requests) {
    std::vector<int32_t> starts{0}, lens;
    int64_t most_pages = 0;
    double bytes = 0, flops = 0;
    for (const Request& r : requests) {
      starts.push_back(starts.back() + r.query_len);
      lens.push_back(r.seq_len);
      const int64_t pages = (r.seq_len + 15) / 16;
      most_pages = std::max(most_pages, pages);
      bytes += static_cast<double>(pages * page_bytes_);
      const double context = r.seq_len - r.query_len;
      flops += 4.0 * spec_.num_heads * spec_.head_size *
               (r.query_len * context + 0.5 * r.query_len * (r.query_len + 1.0));
    }
    const double at_limits = std::max(bytes / bandwidth_, flops / 8e14);
    const int steps = static_cast<int>(std::clamp(std::min(2e9 / bytes, 0.05 / at_limits),
                                                  flops / bytes > 200 ? 4.0 : 2.0, 256.0));

    const int64_t table_size = most_pages * static_cast<int64_t>(requests.size());
    std::vector<int32_t> table(static_cast<size_t>(table_size * steps));
    for (int32_t& page : table) page = pages_[next_page_++ % pages_.size()];
    testing::DeviceArrays arrays(device_);
    AttentionBatch batch;
    batch.num_seqs = static_cast<int32_t>(requests.size());
    batch.num_tokens = starts.back();
    for (const Request& r : requests) {
      batch.max_query_len = std::max(batch.max_query_len, r.query_len);
      batch.max_seq_len = std::max(batch.max_seq_len, r.seq_len);
    }
    batch.block_table_stride = most_pages;
    batch.host = {.query_start_loc = starts.data(), .seq_lens = lens.data()};
    batch.device = {.query_start_loc = arrays.Copy(starts), .seq_lens = arrays.Copy(lens)};
    const int32_t* const tables = arrays.Copy(table);
    Check(arrays.stream().Synchronize());

    // Decoding twice: with exactly the blocks that the step needs, and with the fixed grid that a
    // captured step has.
    for (const bool fixed : {false, true}) {
      if (fixed && batch.max_query_len > 1) continue;
      const auto plan = Value(backend_->NewPlan(
          spec_,
          {.max_seqs = batch.num_seqs, .max_tokens = batch.num_tokens, .decode_only = fixed}));
      Check(backend_->Prepare(plan.get(), batch, *stream_));
      const int64_t row = int64_t{spec_.num_heads} * spec_.head_size;
      const Buffer query =
          Value(device_->Allocate(batch.num_tokens * row * 2, MemoryKind::kDevice));
      const Buffer output = Value(device_->Allocate(query.bytes(), MemoryKind::kDevice));
      FillRandom(query, 0xffffu);
      const KvCache cache = MakeKvCache(shape_, spec_.cache_dtype, pool_.data());
      const RunArgs run{.query = query.data(),
                        .query_token_stride = row,
                        .query_head_stride = spec_.head_size,
                        .output = output.data(),
                        .output_token_stride = row,
                        .output_head_stride = spec_.head_size};
      const double seconds = Median([&] {
                               for (int i = 0; i < steps; ++i) {
                                 batch.device.block_table = tables + i * table_size;
                                 Check(backend_->Run(plan.get(), batch, cache, run, *stream_));
                               }
                             }) /
                             steps;
      std::printf("%-24s %9.1f us", (name + (fixed ? ", fixed grid" : "")).c_str(), seconds * 1e6);
      std::printf("  %6.0f GB/s = %3.0f %% of the pure read", bytes / seconds * 1e-9,
                  100 * bytes / seconds / bandwidth_);
      std::printf("  %6.1f TFLOP/s  (%d steps)\n", flops / seconds * 1e-12, steps);
      std::fflush(stdout);
    }
  }

 private:
  // Seconds of one replay of a graph of `launches`.
  double Median(const std::function<void()>& launches) {
    Check(stream_->Synchronize());
    Check(stream_->BeginCapture());
    launches();
    const auto graph = Value(stream_->EndCapture());
    const auto seconds = [&](int replays) {
      const auto begin = std::chrono::steady_clock::now();
      for (int i = 0; i < replays; ++i) stream_->Launch(*graph);
      Check(stream_->Synchronize());
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    };
    seconds(2);
    std::vector<double> times;
    for (int i = 0; i < 9; ++i) times.push_back((seconds(3) - seconds(1)) / 2);
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
  }

  // bfloat16 between -2 and 2, of the bits those of `mask`: some mebibytes of them, again and
  // again.
  void FillRandom(const Buffer& buffer, uint32_t mask) {
    std::vector<uint16_t> numbers(size_t{4} << 20);
    std::mt19937 random(1);
    for (uint16_t& number : numbers) {
      const float value = static_cast<float>(random() & 0xffff) * (4.0f / 65536.0f) - 2.0f;
      StoreFromFloat(DType::kBFloat16, &number, 0, value);
      number = static_cast<uint16_t>(number & mask);
    }
    int64_t done = std::min<int64_t>(buffer.bytes(), static_cast<int64_t>(numbers.size() * 2));
    stream_->Copy(buffer.data(), numbers.data(), done);
    while (done < buffer.bytes()) {
      const int64_t more = std::min(done, buffer.bytes() - done);
      stream_->Copy(buffer.As<char>() + done, buffer.data(), more);
      done += more;
    }
    Check(stream_->Synchronize());
  }

  GpuDevice* const device_;
  std::unique_ptr<GpuStream> stream_;
  std::unique_ptr<GpuModule> module_;
  GpuKernel read_;
  std::unique_ptr<Backend> backend_;
  AttentionSpec spec_;
  KvCacheShape shape_;
  Buffer pool_;
  int64_t page_bytes_ = 0;
  std::vector<int32_t> pages_;
  size_t next_page_ = 0;
  double bandwidth_ = 4e12;
};

std::vector<Request> Same(size_t count, int32_t query_len, int32_t seq_len) {
  return std::vector<Request>(count, Request{query_len, seq_len});
}

void TimeAll(GpuDevice* device, int64_t pool_bytes) {
  for (const DType cache : {DType::kBFloat16, DType::kE4M3FN}) {
    std::printf("cache %s\n", ToString(cache));
    Bench bench(device, pool_bytes, cache);
    bench.Read();
    bench.Time("decode 1 x 1k", Same(1, 1, 1024));
    bench.Time("decode 1 x 4k", Same(1, 1, 4096));
    bench.Time("decode 1 x 16k", Same(1, 1, 16384));
    bench.Time("decode 8 x 4k", Same(8, 1, 4096));
    bench.Time("decode 8 x 16k", Same(8, 1, 16384));
    bench.Time("decode 32 x 4k", Same(32, 1, 4096));
    bench.Time("decode 128 x 1k", Same(128, 1, 1024));
    bench.Time("decode 128 x 4k", Same(128, 1, 4096));
    bench.Time("prefill 1 x 2k", Same(1, 2048, 2048));
    bench.Time("prefill 8 x 2k", Same(8, 2048, 2048));
    bench.Time("prefill 1 x 8k", Same(1, 8192, 8192));
    bench.Time("prefill 1 x 32k", Same(1, 32768, 32768));
    std::vector<Request> mixed = Same(32, 1, 4096);
    mixed.push_back({2048, 8192});
    bench.Time("32 decodes, chunk 2k/8k", mixed);
  }
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  const auto device = tessera::Value(tessera::OpenDevice(argc > 1 ? argv[1] : "cuda"));
  if (!tessera::IsGpu(*device)) {
    std::fprintf(stderr, "time_attention times GPUs, and this is none: %s\n",
                 device->info().name.c_str());
    return 1;
  }
  tessera::TimeAll(static_cast<tessera::GpuDevice*>(device.get()),
                   int64_t{argc > 2 ? std::atoi(argv[2]) : 16} << 30);
}
