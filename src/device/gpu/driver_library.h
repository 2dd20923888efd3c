// A driver's shared library, and functions of it by name.
#pragma once

#include <string>
#include <vector>

#include "tessera/result.h"

namespace tessera {

// Stays loaded as long as the program runs: drivers do not like to be unloaded.
class DriverLibrary {
 public:
  // The first of `names` that the system's loader finds. Fails if it finds none, with its reason.
  static Result<DriverLibrary> Load(const std::vector<std::string>& names);

  // Sets `*function`, or notes that the library lacks it.
  template <class F>
  void Get(const char* symbol, F** function) {
    *function = reinterpret_cast<F*>(Find(symbol));
    if (*function == nullptr && missing_.empty()) missing_ = symbol;
  }
  // The same, but null is fine.
  template <class F>
  void GetIfThere(const char* symbol, F** function) {
    *function = reinterpret_cast<F*>(Find(symbol));
  }
  // Fails if the library lacked a function: it is too old.
  Status Complete() const;

 private:
  DriverLibrary(std::string name, void* library) : name_(std::move(name)), library_(library) {}
  void* Find(const char* symbol) const;

  std::string name_;
  void* library_;
  std::string missing_;
};

}  // namespace tessera
