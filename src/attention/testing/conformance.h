// The conformance test's subjects, every backend and policy that this machine can run, and how one
// case is checked for all of them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "attention/testing/attention_case.h"
#include "base/testing/test_scale.h"
#include "tessera/backend.h"

namespace tessera::testing {

// Where a subject's cases run: `fenced` finds every access to device memory outside of a
// HostAccess, which does not depend on the instruction set. So of the policies of one backend one
// runs there.
enum class Devices : uint8_t { kCpu, kCpuAndFenced };

struct Subject {
  std::string name;
  std::function<Result<std::unique_ptr<Backend>>(const BackendContext&)> create;
  Devices devices = Devices::kCpu;
  // The caches whose probabilities are rounded to the 16 bits that matrix units multiply.
  std::vector<DType> matrix_caches = {};
  Device* emulated = nullptr;  // the only device that it runs on

  // Where it runs, if not on a fenced device.
  Device* DeviceOr(Device* cpu) const { return emulated != nullptr ? emulated : cpu; }
};

// Emulated GPUs included: each kind of matrix instructions in two orders of their threads, and if
// the build has it rocm-emulated, which kEmulated does not count.
std::vector<Subject> Subjects();
constexpr int kEmulated = 8;

class Conformance {
 public:
  // `fenced_only`: for caches of many gigabytes, of which only this device needs no memory.
  explicit Conformance(int threads = 2, bool fenced_only = false);

  // Checks all subjects that support the case, which must be at least so many. Emulated GPUs take
  // turns, and those that have none count as checked; TESSERA_TEST_EMULATED=all checks all of them,
  // =none none, =rocm-emulated the one of that name. If the scale of
  // tests is small, only some of the cases are checked: the first of each test, and every n-th.
  void Check(const CaseOptions& options, int at_least, Phases phases = Phases::kBoth);

  void PrintWorst() const;
  int checked() const { return checked_; }

 private:
  // Returns whether the subject supports the case.
  bool CheckOn(Device* device, const std::string& name, const Subject& subject,
               const CaseOptions& options, Phases phases, AttentionCase* problem);

  ThreadPool pool_;
  const std::unique_ptr<Device> cpu_ = CreateCpuDevice();
  const std::unique_ptr<Device> fenced_ = CreateFencedDevice();
  const bool fenced_only_;
  std::map<std::string, double> worst_;
  const int64_t stride_ = 1000 / Scaled(1000);
  int64_t cases_ = 0;
  size_t turn_ = 0;  // of the emulated GPUs
  int checked_ = 0;
};

// Prefill, extension, decode, and requests without rows or tokens.
const std::vector<Sequence>& Mixed();

}  // namespace tessera::testing
