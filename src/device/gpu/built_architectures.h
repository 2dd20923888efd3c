// Which GPUs this build has machine code for (TESSERA_DEVICE_ARCHS, cmake/TesseraDeviceCode.cmake).
#pragma once

#include <span>
#include <string>

namespace tessera {

// "sm_90a", "gfx942", ...; empty if the build had no compiler for GPUs, or was asked for none.
std::span<const std::string> BuiltArchitectures();

}  // namespace tessera
