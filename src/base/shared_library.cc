#include "base/shared_library.h"

#include <dlfcn.h>

#include <filesystem>
#include <system_error>

namespace tessera {
namespace {

namespace fs = std::filesystem;

std::string LoaderError() {
  const char* const text = dlerror();
  return text != nullptr ? text : "no reason is given";
}

}  // namespace

Result<void*> LoadSymbol(const std::string& path, const char* symbol) {
  std::error_code error;
  // Without a slash the loader would search its own folders.
  const fs::path file = fs::absolute(path, error);
  if (error || !fs::is_regular_file(file, error)) {
    return NotFound("there is no file " + path + ": give the path of a shared library");
  }
  void* const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return Corrupt(path + " cannot be loaded as a shared library: " + LoaderError());
  }
  void* const address = dlsym(library, symbol);
  if (address == nullptr) {
    dlclose(library);
    return Corrupt(path + " lacks the function " + symbol);
  }
  return address;
}

bool CanLoadLibrary(const std::string& name) {
  void* const library = dlopen(name.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr) return false;
  dlclose(library);
  return true;
}

}  // namespace tessera
