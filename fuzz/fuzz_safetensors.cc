// Parses any bytes as a safetensors file and reads what comes out of it.
#include <cstddef>
#include <cstdint>
#include <span>

#include "model/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const std::byte> file = std::as_bytes(std::span(data, size));
  const auto tensors = tessera::ParseSafetensors(file, "fuzz");
  if (!tensors.ok()) {
    TESSERA_CHECK(!tensors.error().message.empty());
    return 0;
  }
  int64_t covered = 0;
  unsigned sum = 0;
  for (const auto& [name, view] : *tensors) {
    const std::byte* begin = file.data();
    TESSERA_CHECK(view.bytes >= 0 && view.data >= begin);
    TESSERA_CHECK(view.bytes <= begin + file.size() - view.data, "a tensor lies in the file");
    for (int64_t i = 0; i < view.bytes; ++i) sum += static_cast<unsigned>(view.data[i]);
    covered += view.bytes;
  }
  TESSERA_CHECK(covered <= static_cast<int64_t>(size), "tensors do not overlap");
  volatile unsigned sink = sum;
  static_cast<void>(sink);
  return 0;
}
