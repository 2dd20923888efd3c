#include "ops/gpu/blas_lt.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "device/gpu/driver_library.h"

namespace tessera::ops_gpu {

// Both libraries have the same functions under other names and with other numbers. Handles are
// pointers, statuses int, 0 is success.
struct BlasApi {
  explicit BlasApi(DriverLibrary loaded) : library(std::move(loaded)) {}

  DriverLibrary library;
  const char* name = nullptr;
  int (*create)(void** handle) = nullptr;
  int (*destroy)(void* handle) = nullptr;
  int (*create_description)(void** description, int compute, int scale_type) = nullptr;
  int (*destroy_description)(void* description) = nullptr;
  int (*set_description)(void* description, int attribute, const void* value,
                         size_t bytes) = nullptr;
  int (*create_layout)(void** layout, int type, uint64_t rows, uint64_t cols,
                       int64_t stride) = nullptr;
  int (*destroy_layout)(void* layout) = nullptr;
  int (*create_preference)(void** preference) = nullptr;
  int (*destroy_preference)(void* preference) = nullptr;
  int (*set_preference)(void* preference, int attribute, const void* value, size_t bytes) = nullptr;
  int (*find)(void* handle, void* description, void* a, void* b, void* c, void* d, void* preference,
              int wanted, void* results, int* found) = nullptr;
  int (*multiply)(void* handle, void* description, const void* alpha, const void* a, void* a_layout,
                  const void* b, void* b_layout, const void* beta, const void* c, void* c_layout,
                  void* d, void* d_layout, const void* algorithm, void* workspace,
                  size_t workspace_bytes, void* stream) = nullptr;

  int compute_float32 = 0;
  int transposed = 0;             // value of an operand's attribute
  int transpose_a = 0;            // the attribute
  size_t algorithm_bytes = 0;     // of the opaque algorithm, with which a result begins
  bool states_alignment = false;  // has preferences 5 to 8: least alignment of a, b, c, d
};

namespace {

// The same in both libraries.
constexpr int kFloat32 = 0, kBFloat16 = 14;  // element types
constexpr int kPreferenceWorkspace = 1;
constexpr size_t kResultBytes = 256;  // more than a result of either has
constexpr uint32_t kAlignment = 16;

// Behind the algorithm: bytes of workspace (size_t), status (int), waves (float), reserved.
int StateOf(const unsigned char* result, size_t algorithm_bytes) {
  int state = 0;
  std::memcpy(&state, result + algorithm_bytes + sizeof(size_t), sizeof(state));
  return state;
}

Result<std::unique_ptr<BlasApi>> LoadApi(DeviceKind kind) {
  const bool cuda = kind == DeviceKind::kCuda;
  if (!cuda && kind != DeviceKind::kHip) {
    return Unsupported("There is no matrix library for this device.");
  }
  const std::vector<std::string> names =
      cuda ? std::vector<std::string>{"libcublasLt.so.13", "libcublasLt.so.12",
                                      "/usr/local/cuda/lib64/libcublasLt.so.13",
                                      "/usr/local/cuda/lib64/libcublasLt.so.12"}
           : std::vector<std::string>{"libhipblaslt.so.1", "libhipblaslt.so.0", "libhipblaslt.so",
                                      "/opt/rocm/lib/libhipblaslt.so"};
  TESSERA_ASSIGN_OR_RETURN(DriverLibrary library, DriverLibrary::Load(names));
  auto api = std::make_unique<BlasApi>(std::move(library));
  const std::string prefix = cuda ? "cublasLt" : "hipblasLt";
  const auto get = [&](const char* name, auto** function) {
    api->library.Get((prefix + name).c_str(), function);
  };
  get("Create", &api->create);
  get("Destroy", &api->destroy);
  get("MatmulDescCreate", &api->create_description);
  get("MatmulDescDestroy", &api->destroy_description);
  get("MatmulDescSetAttribute", &api->set_description);
  get("MatrixLayoutCreate", &api->create_layout);
  get("MatrixLayoutDestroy", &api->destroy_layout);
  get("MatmulPreferenceCreate", &api->create_preference);
  get("MatmulPreferenceDestroy", &api->destroy_preference);
  get("MatmulPreferenceSetAttribute", &api->set_preference);
  get("MatmulAlgoGetHeuristic", &api->find);
  get("Matmul", &api->multiply);
  TESSERA_RETURN_IF_ERROR(api->library.Complete());
  api->name = cuda ? "cuBLASLt" : "hipBLASLt";
  api->compute_float32 = cuda ? 68 : 2;
  api->transposed = cuda ? 1 : 112;
  api->transpose_a = cuda ? 3 : 0;
  api->algorithm_bytes = cuda ? 64 : 24;
  api->states_alignment = cuda;
  return api;
}

// Layouts of a product. The libraries' matrices are stored by columns: ours, row by row, are their
// transposes, so that y^T [n, rows] = W x^T with a = W^T [k, n], transposed, and b = x^T [k, rows].
class Layouts {
 public:
  Layouts(const BlasApi& api, const BlasProduct& p) : api_(api) {
    const auto rows = static_cast<uint64_t>(p.rows), n = static_cast<uint64_t>(p.n),
               k = static_cast<uint64_t>(p.k);
    status_ = api.create_layout(&a, kBFloat16, k, n, p.w_stride);
    if (status_ == 0) status_ = api.create_layout(&b, kBFloat16, k, rows, p.x_stride);
    if (status_ == 0) {
      status_ = api.create_layout(&d, p.float32_y ? kFloat32 : kBFloat16, n, rows, p.y_stride);
    }
  }
  ~Layouts() {
    for (void* layout : {a, b, d}) {
      if (layout != nullptr) api_.destroy_layout(layout);
    }
  }
  Layouts(const Layouts&) = delete;
  Layouts& operator=(const Layouts&) = delete;
  int status() const { return status_; }

  void* a = nullptr;
  void* b = nullptr;
  void* d = nullptr;

 private:
  const BlasApi& api_;
  int status_ = 0;
};

Error Refusal(const BlasApi& api, const BlasProduct& p, int status) {
  return Internal(std::string(api.name) + " refuses to multiply [" + std::to_string(p.rows) + ", " +
                  std::to_string(p.k) + "] by [" + std::to_string(p.n) + ", " +
                  std::to_string(p.k) + "]: status " + std::to_string(status) +
                  "; TESSERA_BLAS=off does without the library.");
}

// One algorithm serves a step of sizes, the largest of which it is asked for.
int64_t RoundedRows(int64_t rows) {
  if (rows <= 64) return rows;
  const int64_t step = rows <= 1024 ? 64 : 512;
  return (rows + step - 1) / step * step;
}

}  // namespace

BlasLt::BlasLt(std::unique_ptr<BlasApi> api, void* workspace, int64_t workspace_bytes)
    : api_(std::move(api)), workspace_(workspace), workspace_bytes_(workspace_bytes) {}

BlasLt::~BlasLt() {
  if (preference_ != nullptr) api_->destroy_preference(preference_);
  if (description_ != nullptr) api_->destroy_description(description_);
  if (handle_ != nullptr) api_->destroy(handle_);
}

Result<std::unique_ptr<BlasLt>> BlasLt::Load(DeviceKind kind, void* workspace,
                                             int64_t workspace_bytes) {
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<BlasApi> api, LoadApi(kind));
  const BlasApi& a = *api;
  std::unique_ptr<BlasLt> blas(new BlasLt(std::move(api), workspace, workspace_bytes));
  const auto bytes = static_cast<uint64_t>(workspace_bytes);
  int status = a.create(&blas->handle_);
  if (status == 0) {
    status = a.create_description(&blas->description_, a.compute_float32, kFloat32);
  }
  if (status == 0) {
    const int32_t transposed = a.transposed;
    status = a.set_description(blas->description_, a.transpose_a, &transposed, sizeof(transposed));
  }
  if (status == 0) status = a.create_preference(&blas->preference_);
  if (status == 0) {
    status = a.set_preference(blas->preference_, kPreferenceWorkspace, &bytes, sizeof(bytes));
  }
  for (int attribute = 5; a.states_alignment && attribute <= 8 && status == 0; ++attribute) {
    status = a.set_preference(blas->preference_, attribute, &kAlignment, sizeof(kAlignment));
  }
  if (status != 0) {
    return Unsupported(std::string(a.name) + " cannot be set up: status " + std::to_string(status) +
                       ".");
  }
  return blas;
}

Result<BlasLt::Algorithm> BlasLt::FindAlgorithm(const BlasProduct& product) {
  const Layouts layouts(*api_, product);
  if (layouts.status() != 0) return Refusal(*api_, product, layouts.status());
  alignas(16) std::array<unsigned char, kResultBytes> result = {};
  int found = 0;
  const int status = api_->find(handle_, description_, layouts.a, layouts.b, layouts.d, layouts.d,
                                preference_, 1, result.data(), &found);
  if (status != 0) return Refusal(*api_, product, status);
  if (found < 1 || StateOf(result.data(), api_->algorithm_bytes) != 0) {
    return Refusal(*api_, product, StateOf(result.data(), api_->algorithm_bytes));
  }
  return Algorithm(result.begin(),
                   result.begin() + static_cast<std::ptrdiff_t>(api_->algorithm_bytes));
}

Status BlasLt::MultiplyBy(const BlasProduct& p, const Algorithm& algorithm, void* native_stream) {
  const Layouts layouts(*api_, p);
  if (layouts.status() != 0) return Refusal(*api_, p, layouts.status());
  const float alpha = 1.0f, beta = p.add ? 1.0f : 0.0f;
  const int status =
      api_->multiply(handle_, description_, &alpha, p.w, layouts.a, p.x, layouts.b, &beta, p.y,
                     layouts.d, p.y, layouts.d, algorithm.data(), workspace_,
                     static_cast<size_t>(workspace_bytes_), native_stream);
  if (status != 0) return Refusal(*api_, p, status);
  return {};
}

Status BlasLt::Multiply(const BlasProduct& product, void* native_stream) {
  BlasProduct rounded = product;
  rounded.rows = RoundedRows(product.rows);
  const auto key_of = [](const BlasProduct& p) {
    return Key{p.rows, p.n, p.k, p.x_stride, p.w_stride, p.y_stride, p.float32_y, p.add};
  };
  // First the algorithm of the step of sizes, and if that will not do, one of this size.
  Error error;
  for (const BlasProduct& asked : {rounded, product}) {
    auto at = algorithms_.find(key_of(asked));
    if (at == algorithms_.end()) {
      Result<Algorithm> found = FindAlgorithm(asked);
      if (!found.ok()) {
        error = found.error();
        continue;
      }
      at = algorithms_.emplace(key_of(asked), std::move(*found)).first;
    }
    const Status status = MultiplyBy(product, at->second, native_stream);
    if (status.ok()) return status;
    error = status.error();
  }
  return error;
}

}  // namespace tessera::ops_gpu
