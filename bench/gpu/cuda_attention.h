// The portable kernel's mma instances on an NVIDIA GPU: what a step launches. For the check and the
// benchmark, until the engine has CUDA devices.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "attention/kernel/gpu/simt_instances.h"
#include "attention/planned_work.h"
#include "tessera/attention_spec.h"

namespace tessera {

// Ends the program where a CUDA call failed.
void CheckCuda(cudaError_t error, const char* what);

class DeviceMemory {
 public:
  explicit DeviceMemory(size_t bytes);
  DeviceMemory(const void* source, size_t bytes);  // a copy of host memory
  template <class T>
  explicit DeviceMemory(const std::vector<T>& source)
      : DeviceMemory(source.data(), source.size() * sizeof(T)) {}
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  void CopyTo(void* destination, size_t bytes) const;
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
};

// One compiled instance.
struct CudaKernel {
  kernel::lanes::SimtInstance instance;
  int32_t rows;  // that it holds at most
  int32_t threads;
  int32_t shared_bytes;
  void (*function)(kernel::KernelArgs args, const kernel::WorkItem* items);
};

// How items are cut for these kernels.
PlannerOptions CudaPlannerOptions(const AttentionSpec& spec, const AttentionBatch& batch);

// A step's work on the device: items of few rows, items of many, merges, each one launch.
class CudaStep {
 public:
  CudaStep(const AttentionSpec& spec, const WorkList& work);

  // `args` are device pointers but for the partial buffers, which the step owns.
  void Launch(kernel::KernelArgs args, cudaStream_t stream) const;

 private:
  struct Group {
    const CudaKernel* kernel;
    std::unique_ptr<DeviceMemory> items;
    unsigned count;
  };
  std::vector<Group> groups_;
  std::unique_ptr<DeviceMemory> merges_, partial_output_, partial_lse_;
  unsigned merge_count_ = 0;
};

}  // namespace tessera
