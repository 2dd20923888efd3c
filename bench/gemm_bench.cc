// Linear layers on this machine, beside its own limits: the rate of multiply-adds from registers
// and the bandwidth of memory, measured in the same run; beside oneDNN too, if it was found when
// this was configured. Prints a Markdown table.
//
// gemm_bench [threads [seconds for each shape]]

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "device/bandwidth.h"
#include "ops/cpu/cpu_ops.h"
#include "ops/cpu/gemm.h"
#if TESSERA_BENCH_ONEDNN
#include "onednn_linear.h"
#endif

namespace tessera {
namespace {

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Timing {
  double median = 0;
  double best = 0;  // what the machine does if nothing else runs on it
};

// Calls for `budget` seconds and at least five times, after one that warms up.
template <typename Function>
Timing Measure(double budget, const Function& function) {
  function();
  std::vector<double> times;
  const double end = Seconds() + budget;
  while (times.size() < 5 || Seconds() < end) {
    const double start = Seconds();
    function();
    times.push_back(Seconds() - start);
  }
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times.front()};
}

// FLOP/s of one block that stays in the first-level cache, on all threads at once: the nearest
// thing to the registers' rate that goes through the same kernels.
double KernelLimit(const GemmKernels& kernels, DType type, ThreadPool& threads, double budget) {
  constexpr int64_t kDepth = 384;
  const int64_t rows = kernels.tile_rows;
  const std::vector<uint8_t> weights(static_cast<size_t>(kDepth * PackedMatrix::kPanelWidth) *
                                     SizeOf(type));
  const std::vector<float> bias(64, 0.0f);
  constexpr int kCalls = 500;
  const Timing time = Measure(budget, [&] {
    threads.Run([&](int) {
      std::vector<float> x(static_cast<size_t>((rows + 32) * kFloatRowStride));
      std::vector<float> y(static_cast<size_t>(rows * 32));
      GemmBlock block;
      block.x = x.data();
      block.weights = weights.data();
      block.panel_bytes = static_cast<int64_t>(weights.size());
      block.depth = kDepth;
      block.rows = rows;
      block.columns = 32;
      block.bias = bias.data();
      block.y = y.data();
      block.y_stride = 32;
      for (int i = 0; i < kCalls; ++i) kernels.run(block);
    });
  });
  return 2.0 * kCalls * static_cast<double>(kDepth * rows * 32) * threads.num_threads() / time.best;
}

struct Shape {
  int64_t rows, in, out;
};

double GigaFlops(const Shape& shape, double seconds) {
  return 2e-9 * static_cast<double>(shape.rows * shape.in * shape.out) / seconds;
}

#if TESSERA_BENCH_ONEDNN
constexpr const char* kOneDnnHeader = " oneDNN: median GFLOP/s (best) | ours/oneDNN, best |";
constexpr const char* kOneDnnRule = "---|---|";

// oneDNN's cells of a row. Its activations come in the type that it multiplies, ours are float32
// and are converted in the time that is taken; its float32 weights are twice as large as ours.
std::string OneDnnCells(const Shape& shape, DType type, int64_t copies, int threads, double budget,
                        double our_best) {
  std::vector<std::unique_ptr<OneDnnLinear>> layers;
  for (int64_t i = 0; i < copies; ++i) {
    layers.push_back(OneDnnLinear::Create(type, shape.rows, shape.in, shape.out, threads));
    if (layers.back() == nullptr) return " - | - |";
  }
  size_t next = 0;
  const Timing time = Measure(budget, [&] {
    layers[next]->Run();
    next = (next + 1) % layers.size();
  });
  char text[80];
  std::snprintf(text, sizeof(text), " %.1f (%.1f) | %.2f |", GigaFlops(shape, time.median),
                GigaFlops(shape, time.best), time.best / our_best);
  return text;
}
#else
constexpr const char* kOneDnnHeader = "";
constexpr const char* kOneDnnRule = "";
std::string OneDnnCells(const Shape&, DType, int64_t, int, double, double) { return ""; }
#endif

void Run(int num_threads, double budget) {
  ThreadPool threads(ThreadPool::Options{.num_threads = num_threads});
  const std::unique_ptr<Device> device = CreateCpuDevice();
  const std::unique_ptr<Stream> stream = std::move(device->NewStream()).value();
  const std::unique_ptr<Ops> ops = CreateCpuOps(device.get(), stream.get(), &threads);
  auto bandwidth = MeasureReadBandwidth(threads, int64_t{1} << 30);
  const double gigabytes = bandwidth.ok() ? bandwidth->best : 0;
  const GemmKernels native = BFloat16Kernels();
  const double limit =
      KernelLimit(Float32Kernels(DType::kFloat32), DType::kFloat32, threads, budget) * 1e-9;
  const double native_limit =
      native.run == nullptr ? limit : KernelLimit(native, DType::kBFloat16, threads, budget) * 1e-9;
  std::printf(
      "%d threads; memory %.1f GB/s; multiply-adds from L1: float32 %.0f, bfloat16 %.0f "
      "GFLOP/s\n\n",
      threads.num_threads(), gigabytes, limit, native_limit);
  std::printf(
      "| rows x in x out | arithmetic | median GFLOP/s (best) | of the limit | GB/s of weights | "
      "of memory |%s\n",
      kOneDnnHeader);
  std::printf("|---|---|---|---|---|---|%s\n", kOneDnnRule);

  const Shape shapes[] = {
      {1, 4096, 4096},   {8, 4096, 4096},   {32, 4096, 4096},  {128, 4096, 4096},
      {512, 4096, 4096}, {128, 2048, 8192}, {512, 8192, 2048}, {2048, 2048, 8192},
      {1, 320, 640},     {1, 320, 2048},    {8, 320, 1536},    {100, 320, 640},
      {100, 320, 320},   {100, 320, 1536},  {100, 768, 320},   {100, 320, 2048},
      {1000, 320, 640},  {1000, 320, 320},  {1000, 320, 1536}, {1000, 768, 320},
      {1000, 320, 2048}, {2000, 320, 1536}};
  for (const Shape& shape : shapes) {
    const std::vector<uint16_t> weights(static_cast<size_t>(shape.in * shape.out), 0x3c00);
    const WeightSource source{
        .values = weights.data(), .rows = shape.out, .cols = shape.in, .row_stride = shape.in};
    std::vector<float> x(static_cast<size_t>(shape.rows * shape.in), 1.0f);
    std::vector<float> y(static_cast<size_t>(shape.rows * shape.out));
    for (MatmulMode mode : {MatmulMode::kFloat32, MatmulMode::kBFloat16}) {
      // Copies in turn, so that the weights of small batches come from memory where a model's
      // would.
      const int64_t bytes = shape.in * shape.out * 2;
      const auto copies = bytes < (4 << 20) || shape.rows > 64 ? int64_t{1} : (256 << 20) / bytes;
      std::vector<std::unique_ptr<LinearWeights>> packed;
      for (int64_t i = 0; i < copies; ++i) {
        auto one = ops->Pack({&source, 1}, mode);
        if (!one.ok()) std::exit(1);
        packed.push_back(std::move(one).value());
      }
      size_t next = 0;
      const Timing time = Measure(budget, [&] {
        ops->Linear(*packed[next], {x.data(), DType::kFloat32, shape.rows, shape.in, shape.in},
                    {y.data(), DType::kFloat32, shape.rows, shape.out, shape.out});
        next = (next + 1) % packed.size();
      });
      const bool is_native = mode == MatmulMode::kBFloat16;
      const double rate = 1e-9 * static_cast<double>(bytes) / time.median;
      const double flops = GigaFlops(shape, time.median);
      const std::string peer = OneDnnCells(shape, is_native ? DType::kBFloat16 : DType::kFloat32,
                                           copies, threads.num_threads(), budget, time.best);
      std::printf("| %lld x %lld x %lld | %s | %.1f (%.1f) | %.0f %% | %.1f | %.0f %% |%s\n",
                  static_cast<long long>(shape.rows), static_cast<long long>(shape.in),
                  static_cast<long long>(shape.out), is_native ? "bfloat16" : "float32", flops,
                  GigaFlops(shape, time.best), 100 * flops / (is_native ? native_limit : limit),
                  rate, 100 * rate / gigabytes, peer.c_str());
      std::fflush(stdout);
    }
  }
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 0;
  const double budget = argc > 2 ? std::atof(argv[2]) : 0.5;
  tessera::Run(std::max(0, threads), budget);
  return 0;
}
