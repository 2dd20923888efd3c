// How long a GPU's operations take, in the sizes of Llama 3.1 8B, and their share of what this GPU
// reached in the same run: of its read bandwidth, or of the fastest product of matrices.
//
//   time_ops [device] [norm|rope|activate|matmul|sample]...       cuda, hip, rocm-emulated
//
// Each operation is recorded some times in a graph, with weights that take turns so that no cache
// holds them; the time is the best of a few replays.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "device/gpu/gpu_device.h"
#include "ops/gpu/gpu_ops.h"
#include "read_memory.h"
#include "tessera/device.h"
#include "tessera/dtype.h"

namespace tessera {

std::span<const KernelImage> TimeOpsImages();  // written by the build

namespace {

[[noreturn]] void Fail(const std::string& message) {
  std::fprintf(stderr, "time_ops: %s\n", message.c_str());
  std::exit(1);
}
template <typename T>
T Take(Result<T> result) {
  if (!result.ok()) Fail(result.error().message);
  return std::move(result).value();
}
void Check(const Status& status) {
  if (!status.ok()) Fail(status.error().message);
}

constexpr int64_t kHidden = 4096, kIntermediate = 14336, kVocabulary = 128256;

class Bench {
 public:
  explicit Bench(const std::string& name)
      : device_(Take(OpenDevice(name))), stream_(Take(device_->NewStream())) {
    if (!IsGpu(*device_)) Fail(name + " is no GPU");
    small_ = name.find("emulated") != std::string::npos;
    own_ = Take(CreateGpuOps(&gpu(), &stream(), {.use_library = false}));
    library_ = Take(CreateGpuOps(&gpu(), &stream(), {.use_library = true}));
    if (!library_->library_reason().empty()) {
      std::printf("no matrix library: %s\n", library_->library_reason().c_str());
    }
    std::printf("%s\n", device_->info().name.c_str());
    MeasureBandwidth();
  }

  void Norms() {
    for (const int64_t rows : Rows({1, 8, 256, 8192})) {
      Activations add(*this, rows, kHidden), y(*this, rows, kHidden);
      Buffer weight = Filled(kHidden * 4), x = Filled(rows * kHidden * 4);
      const Tensor delta = add.tensor();
      Report("norm with residual", rows, 12 * rows * kHidden, 0, Time([&](int) {
               own_->Norm({.x = {x.data(), DType::kFloat32, rows, kHidden, kHidden},
                           .add = &delta,
                           .weight = weight.As<float>(),
                           .eps = 1e-5f,
                           .y = y.tensor()});
             }));
    }
  }

  void Ropes() {
    constexpr int32_t kHeads = 32, kKvHeads = 8, kSize = 128;
    for (const int64_t rows : Rows({1, 8, 256, 8192})) {
      const int64_t cols = (kHeads + 2 * kKvHeads) * kSize;
      Activations qkv(*this, rows, cols);
      Buffer cos = Filled(8192 * kSize / 2 * 4), sin = Filled(8192 * kSize / 2 * 4);
      std::vector<int32_t> positions(static_cast<size_t>(rows));
      std::vector<int64_t> slots(static_cast<size_t>(rows));
      for (size_t i = 0; i < slots.size(); ++i) {
        slots[i] = static_cast<int64_t>(i);
        positions[i] = static_cast<int32_t>(i);
      }
      Buffer position_buffer = Upload(positions), slot_buffer = Upload(slots);
      const int64_t blocks = (rows + 15) / 16;
      Buffer memory = Filled(blocks * 16 * kKvHeads * 2 * kSize * 2);
      const KvCache cache = {.data = memory.data(),
                             .num_blocks = blocks,
                             .block_size = 16,
                             .block_stride = 16 * kKvHeads * 2 * kSize,
                             .head_stride = 16 * 2 * kSize,
                             .token_stride = 2 * kSize,
                             .v_offset = kSize};
      // Queries and keys are read and written, values read; keys and values go to the cache.
      const int64_t bytes = 2 * rows * kSize * (2 * kHeads + 2 * kKvHeads + 3 * kKvHeads);
      Report("qk norm, rope, cache write", rows, bytes, 0, Time([&](int) {
               own_->QkNormRope({.qkv = qkv.tensor(),
                                 .num_heads = kHeads,
                                 .num_kv_heads = kKvHeads,
                                 .head_size = kSize,
                                 .value_size = kSize,
                                 .rope = {cos.As<float>(), sin.As<float>(), 8192, kSize},
                                 .positions = position_buffer.As<int32_t>(),
                                 .cache = &cache,
                                 .slot_mapping = slot_buffer.As<int64_t>()});
             }));
    }
  }

  void Activates() {
    for (const int64_t rows : Rows({1, 8, 256, 8192})) {
      Activations x(*this, rows, 2 * kIntermediate), y(*this, rows, kIntermediate);
      Report("silu gate", rows, 6 * rows * kIntermediate, 0,
             Time([&](int) { own_->Activate(Activation::kSilu, x.tensor(), y.tensor()); }));
    }
  }

  void Matmuls() {
    struct Layer {
      const char* name;
      int64_t n, k, most_rows;
      DType y;
    };
    const std::vector<Layer> layers =
        small_
            ? std::vector<Layer>{{"small", 256, 512, 64, DType::kBFloat16}}
            : std::vector<Layer>{{"qkv", 6144, kHidden, 8192, DType::kBFloat16},
                                 {"output", kHidden, kHidden, 8192, DType::kBFloat16},
                                 {"gate, up", 2 * kIntermediate, kHidden, 8192, DType::kBFloat16},
                                 {"down", kHidden, kIntermediate, 8192, DType::kBFloat16},
                                 {"logits", kVocabulary, kHidden, 256, DType::kFloat32}};
    std::vector<Row> rows_of_table;
    for (const Layer& layer : layers) {
      const auto weights = Weights(layer.n, layer.k);
      for (const int64_t rows : Rows({1, 8, 16, 64, 256, 2048, 8192})) {
        if (rows > layer.most_rows) continue;
        Activations x(*this, rows, layer.k);
        Buffer y = Filled(rows * layer.n * 4);
        const Tensor y_tensor = {y.data(), layer.y, rows, layer.n, layer.n};
        const int64_t bytes = 2 * layer.n * layer.k + 2 * rows * layer.k +
                              static_cast<int64_t>(SizeOf(layer.y)) * rows * layer.n;
        const double operations =
            2.0 * static_cast<double>(rows) * static_cast<double>(layer.n * layer.k);
        for (GpuOps* ops : {own_.get(), library_.get()}) {
          if (ops == library_.get() && !ops->library_reason().empty()) continue;
          const std::string name =
              std::string(layer.name) + (ops == own_.get() ? ", ours" : ", library");
          const double seconds = Time([&](int i) {
            ops->Linear(*weights[static_cast<size_t>(i) % weights.size()], x.tensor(), y_tensor);
          });
          best_rate_ = std::max(best_rate_, operations / seconds);
          rows_of_table.push_back({name, rows, bytes, operations, seconds});
        }
      }
    }
    for (const Row& row : rows_of_table) {
      Report(row.name, row.rows, row.bytes, row.operations, row.seconds);
    }
    std::printf("up to 16 rows both columns are our kernel: see ops/gpu/matmul_choice.cc\n");
  }

  void Samples() {
    struct Kind {
      const char* name;
      SampleRow row;
    };
    const Kind kinds[] = {{"greedy", {.temperature = 0}},
                          {"draw from all", {.temperature = 0.8f, .seed = 1}},
                          {"top-k 50, top-p 0.9", {.top_p = 0.9f, .top_k = 50, .seed = 1}},
                          {"top-p 0.95", {.top_p = 0.95f, .seed = 1}},
                          {"greedy, 20 log probabilities", {.temperature = 0, .logprobs = 20}}};
    const int64_t vocabulary = small_ ? 8192 : kVocabulary;
    for (const int64_t rows : Rows({1, 256})) {
      std::mt19937 random(1);
      std::normal_distribution<float> normal(0.0f, 3.0f);
      std::vector<float> values(static_cast<size_t>(rows * vocabulary));
      for (float& v : values) v = normal(random);
      Buffer logits = Upload(values);
      Buffer ids = Filled(rows * 4);
      const Tensor tensor = {logits.data(), DType::kFloat32, rows, vocabulary, vocabulary};
      for (const Kind& kind : kinds) {
        SamplingBatch batch;
        batch.rows.assign(static_cast<size_t>(rows), kind.row);
        const auto start = std::chrono::steady_clock::now();
        Check(own_->PrepareSample(batch, vocabulary));  // the first one allocates
        own_->LaunchSample(tensor, ids.As<int32_t>());
        own_->FetchSamples();
        Take(own_->Sampled());
        Check(stream_->Synchronize());
        const auto middle = std::chrono::steady_clock::now();
        Check(own_->PrepareSample(batch, vocabulary));
        const auto prepared = std::chrono::steady_clock::now();
        const double seconds = Time([&](int) { own_->LaunchSample(tensor, ids.As<int32_t>()); });
        own_->FetchSamples();
        Take(own_->Sampled());
        Report(kind.name, rows, 4 * rows * vocabulary, 0, seconds);
        std::printf("%58s host: first %.0f us, prepare %.0f us\n", "", Seconds(start, middle) * 1e6,
                    Seconds(middle, prepared) * 1e6);
      }
    }
  }

 private:
  struct Row {
    std::string name;
    int64_t rows, bytes;
    double operations, seconds;
  };
  using Clock = std::chrono::steady_clock;

  // bfloat16 [rows, cols].
  class Activations {
   public:
    Activations(Bench& bench, int64_t rows, int64_t cols)
        : buffer_(bench.Filled(rows * cols * 2)), rows_(rows), cols_(cols) {}
    Tensor tensor() const { return {buffer_.data(), DType::kBFloat16, rows_, cols_, cols_}; }

   private:
    Buffer buffer_;
    int64_t rows_, cols_;
  };

  GpuDevice& gpu() { return static_cast<GpuDevice&>(*device_); }
  GpuStream& stream() { return static_cast<GpuStream&>(*stream_); }
  static double Seconds(Clock::time_point a, Clock::time_point b) {
    return std::chrono::duration<double>(b - a).count();
  }

  std::vector<int64_t> Rows(std::vector<int64_t> rows) const {
    if (small_) rows = {rows.front(), 20};
    return rows;
  }

  // Memory that holds no NaN: 0x3c3c is a small bfloat16, 0x3c3c3c3c a small float32.
  Buffer Filled(int64_t bytes) {
    Buffer buffer = Take(device_->Allocate(bytes, MemoryKind::kDevice));
    stream_->Fill(buffer.data(), 0x3c, bytes);
    return buffer;
  }
  template <typename T>
  Buffer Upload(const std::vector<T>& values) {
    const auto bytes = static_cast<int64_t>(values.size() * sizeof(T));
    Buffer buffer = Take(device_->Allocate(bytes, MemoryKind::kDevice));
    stream_->Copy(buffer.data(), values.data(), bytes);
    return buffer;
  }

  // As many copies as no cache holds. Real products heat: the numbers are random.
  std::vector<std::unique_ptr<LinearWeights>> Weights(int64_t n, int64_t k) {
    std::vector<uint16_t> values(static_cast<size_t>(n * k));
    std::mt19937 random(2);
    for (uint16_t& v : values) {  // between 1/128 and 1/64, of either sign
      const uint32_t bits = random();
      v = static_cast<uint16_t>(0x3c00u | (bits & 0x807fu));
    }
    const int64_t bytes = 2 * n * k;
    const int64_t copies = small_ ? 1 : std::max<int64_t>(1, (int64_t{400} << 20) / bytes);
    std::vector<std::unique_ptr<LinearWeights>> weights;
    const WeightSource source = {.values = values.data(), .rows = n, .cols = k, .row_stride = k};
    for (int64_t i = 0; i < copies; ++i) {
      weights.push_back(Take(own_->Pack({&source, 1}, MatmulMode::kBFloat16)));
    }
    return weights;
  }

  // Seconds of one call.
  double Time(const std::function<void(int)>& call) {
    call(0);  // what is loaded or chosen at the first time
    Check(stream_->Synchronize());
    const auto start = Clock::now();
    call(1);
    Check(stream_->Synchronize());
    const double once = Seconds(start, Clock::now());
    const int calls = small_ ? 1 : std::clamp(static_cast<int>(5e-3 / once), 2, 50);
    Check(stream_->BeginCapture());
    for (int i = 0; i < calls; ++i) call(i);
    const std::unique_ptr<Graph> graph = Take(stream_->EndCapture());
    double best = 1e30;
    for (int replay = 0; replay < (small_ ? 1 : 7); ++replay) {
      const auto begin = Clock::now();
      stream_->Launch(*graph);
      Check(stream_->Synchronize());
      best = std::min(best, Seconds(begin, Clock::now()) / calls);
    }
    return best;
  }

  void MeasureBandwidth() {
    const int64_t bytes = small_ ? 1 << 20 : int64_t{2} << 30;
    Buffer data = Filled(bytes), unused = Filled(16);
    auto module = Take(gpu().Load(TimeOpsImages()));
    const GpuKernel kernel = Take(module->Find("read_memory", 0));
    const int wave = gpu().matrix_policy() == "mfma" ? 64 : 32;
    const bench::ReadArgs args = {.data = data.data(),
                                  .pieces = bytes / 16,
                                  .blocks = int64_t{8} * std::max(1, device_->info().num_units),
                                  .unused = unused.As<uint32_t>()};
    const double seconds = Time([&](int) {
      stream().Launch(kernel, {.blocks = args.blocks, .threads = bench::kReadThreads, .wave = wave},
                      args);
    });
    bandwidth_ = static_cast<double>(bytes) / seconds;
    std::printf("reads %.0f GB/s\n\n%-32s %6s %10s %9s %8s %9s %8s\n", bandwidth_ * 1e-9,
                "operation", "rows", "us", "GB/s", "of read", "TFLOP/s", "of best");
    modules_.push_back(std::move(module));
  }

  void Report(const std::string& name, int64_t rows, int64_t bytes, double operations,
              double seconds) const {
    const double rate = static_cast<double>(bytes) / seconds;
    std::printf("%-32s %6lld %10.2f %9.0f %7.1f%%", name.c_str(), static_cast<long long>(rows),
                seconds * 1e6, rate * 1e-9, 100 * rate / bandwidth_);
    if (operations > 0) {
      std::printf(" %9.1f %7.1f%%", operations / seconds * 1e-12,
                  100 * operations / seconds / best_rate_);
    }
    std::printf("\n");
    std::fflush(stdout);
  }

  std::unique_ptr<Device> device_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<GpuOps> own_, library_;
  std::vector<std::unique_ptr<GpuModule>> modules_;
  bool small_ = false;  // an emulated device: a test of this program
  double bandwidth_ = 1;
  double best_rate_ = 1;
};

int Main(int argc, char** argv) {
  Bench bench(argc > 1 ? argv[1] : "auto");
  std::set<std::string> wanted(argv + std::min(argc, 2), argv + argc);
  const bool all = wanted.empty();
  const std::pair<const char*, void (Bench::*)()> parts[] = {{"norm", &Bench::Norms},
                                                             {"rope", &Bench::Ropes},
                                                             {"activate", &Bench::Activates},
                                                             {"matmul", &Bench::Matmuls},
                                                             {"sample", &Bench::Samples}};
  for (const auto& [name, part] : parts) {
    if (all || wanted.erase(name) > 0) (bench.*part)();
  }
  if (!wanted.empty()) Fail("there is no part named " + *wanted.begin());
  return 0;
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) { return tessera::Main(argc, argv); }
