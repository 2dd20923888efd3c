#include "device/gpu/driver_library.h"

#include <dlfcn.h>

namespace tessera {

Result<DriverLibrary> DriverLibrary::Load(const std::vector<std::string>& names) {
  std::string reason;
  for (const std::string& name : names) {
    if (void* const library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL); library != nullptr) {
      return DriverLibrary(name, library);
    }
    const char* const text = dlerror();
    if (reason.empty()) reason = text != nullptr ? text : names.front() + " cannot be loaded";
  }
  return NotFound("the driver is not installed here: " + reason);
}

void* DriverLibrary::Find(const char* symbol) const { return dlsym(library_, symbol); }

Status DriverLibrary::Complete() const {
  if (missing_.empty()) return {};
  return Unsupported("the driver's library " + name_ + " is too old, it lacks the function " +
                     missing_ + ": update the driver");
}

}  // namespace tessera
