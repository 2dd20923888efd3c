// Reads any bytes as config.json; up to a NUL byte, and what follows it as generation_config.json.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "model/config.h"
#include "model/rope.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t split = std::min(text.find('\0'), text.size());
  const auto config = tessera::ParseModelConfig(
      text.substr(0, split), split < text.size() ? text.substr(split + 1) : std::string_view());
  if (!config.ok()) {
    TESSERA_CHECK(!config.error().message.empty());
    return 0;
  }
  // What was accepted must be usable.
  TESSERA_CHECK(config->num_heads % config->num_kv_heads == 0);
  tessera::ModelConfig usable = *config;
  const int64_t length = std::min<int64_t>(
      tessera::MaxSupportedLength(usable.rope, usable.max_position_embeddings), 3);
  const std::unique_ptr<tessera::Device> device = tessera::CreateCpuDevice();
  const auto stream = device->NewStream();
  tessera::DeviceRope rope(usable, length);
  TESSERA_CHECK(stream.ok() && rope.Allocate(*device).ok());
  rope.Fill(length, **stream);
  const tessera::RopeTable table = rope.table();
  const int64_t half = table.rotary_size / 2;
  TESSERA_CHECK(table.rotary_size >= 2 && table.rotary_size <= usable.head_size);
  for (int64_t i = 0; i < length * half; ++i) {
    TESSERA_CHECK(std::isfinite(table.cos[i]) && std::isfinite(table.sin[i]));
  }
  return 0;
}
