// The vendors' matrix libraries, cuBLASLt and hipBLASLt, loaded while the program runs.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "tessera/device.h"
#include "tessera/result.h"

namespace tessera::ops_gpu {

// y[rows, n] = x[rows, k] W[n, k]^T (+ y), of bfloat16; y also of float32. Strides in elements.
// Pointers and strides are multiples of 16 bytes.
struct BlasProduct {
  const void* x = nullptr;
  const void* w = nullptr;
  void* y = nullptr;
  int64_t rows = 0, n = 0, k = 0;
  int64_t x_stride = 0, w_stride = 0, y_stride = 0;
  bool float32_y = false;
  bool add = false;  // to what y holds
};

// What two libraries with the same design do not share; see blas_lt.cc.
struct BlasApi;

class BlasLt {
 public:
  // Fails if the device has no such library, or it cannot be used. The workspace is device memory
  // that outlives this.
  static Result<std::unique_ptr<BlasLt>> Load(DeviceKind kind, void* workspace,
                                              int64_t workspace_bytes);
  ~BlasLt();
  BlasLt(const BlasLt&) = delete;
  BlasLt& operator=(const BlasLt&) = delete;

  // Queues it in the native stream, whose context is the calling thread's. Asks the library for an
  // algorithm once for each size (of many rows: for each step of sizes); that may happen while a
  // graph is being recorded. Fails if the library has no algorithm or refuses.
  Status Multiply(const BlasProduct& product, void* native_stream);

 private:
  // Rows rounded up, n, k, the strides, the type of y, addition.
  using Key = std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, bool, bool>;
  using Algorithm = std::vector<unsigned char>;

  BlasLt(std::unique_ptr<BlasApi> api, void* workspace, int64_t workspace_bytes);
  Result<Algorithm> FindAlgorithm(const BlasProduct& product);
  Status MultiplyBy(const BlasProduct& product, const Algorithm& algorithm, void* native_stream);

  const std::unique_ptr<BlasApi> api_;
  void* const workspace_;
  const int64_t workspace_bytes_;
  void* handle_ = nullptr;
  void* description_ = nullptr;  // of the operation
  void* preference_ = nullptr;
  std::map<Key, Algorithm> algorithms_;
};

}  // namespace tessera::ops_gpu
