#include "onednn_linear.h"

#include <omp.h>

#include <dnnl.hpp>
#include <vector>

namespace tessera {
namespace {

using Memory = dnnl::memory;

class Matmul : public OneDnnLinear {
 public:
  Matmul(Memory::data_type type, int64_t rows, int64_t in, int64_t out) : stream_(engine_) {
    const Memory::desc x({rows, in}, type, Memory::format_tag::ab);
    const Memory::desc plain({in, out}, type, Memory::format_tag::ab);
    const Memory::desc any({in, out}, type, Memory::format_tag::any);
    const Memory::desc y({rows, out}, Memory::data_type::f32, Memory::format_tag::ab);
    const dnnl::matmul::primitive_desc product({x, any, y}, engine_);
    product_ = dnnl::matmul(product);
    x_ = Ones(x);
    y_ = Memory(y, engine_);
    Memory weights = Ones(plain);
    weights_ = Memory(product.weights_desc(), engine_);
    dnnl::reorder(weights, weights_).execute(stream_, weights, weights_);
    stream_.wait();
  }

  void Run() override {
    product_.execute(stream_,
                     {{DNNL_ARG_SRC, x_}, {DNNL_ARG_WEIGHTS, weights_}, {DNNL_ARG_DST, y_}});
    stream_.wait();
  }

 private:
  Memory Ones(const Memory::desc& desc) {
    Memory memory(desc, engine_);
    std::vector<float> ones(desc.get_size(), 1.0f);  // at least as many as elements
    Memory source({desc.dims(), Memory::data_type::f32, Memory::format_tag::ab}, engine_,
                  ones.data());
    dnnl::reorder(source, memory).execute(stream_, source, memory);
    stream_.wait();
    return memory;
  }

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_;
  dnnl::matmul product_;
  Memory x_, weights_, y_;
};

}  // namespace

std::unique_ptr<OneDnnLinear> OneDnnLinear::Create(DType type, int64_t rows, int64_t in_features,
                                                   int64_t out_features, int threads) {
  omp_set_num_threads(threads);
  const auto element = type == DType::kBFloat16 ? Memory::data_type::bf16 : Memory::data_type::f32;
  try {
    return std::make_unique<Matmul>(element, rows, in_features, out_features);
  } catch (const dnnl::error&) {
    return nullptr;
  }
}

}  // namespace tessera
