#include "device/gpu/gfx942/packed_listing.h"

#include <zlib.h>

#include <cstdint>

namespace tessera::gfx942 {

Result<std::string> UnpackListing(std::string_view packed) {
  constexpr size_t kLengthBytes = 8;
  constexpr uint64_t kMostBytes = uint64_t{1} << 30;
  const Error broken = Corrupt("the code object's listing is broken: it cannot be unpacked");
  if (packed.size() < kLengthBytes) return broken;
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    length |= uint64_t{static_cast<unsigned char>(packed[i])} << (8 * i);
  }
  if (length > kMostBytes) return broken;
  std::string text(length, '\0');
  uLongf got = static_cast<uLongf>(length);
  const std::string_view stream = packed.substr(kLengthBytes);
  const int code =
      uncompress(reinterpret_cast<Bytef*>(text.data()), &got,
                 reinterpret_cast<const Bytef*>(stream.data()), static_cast<uLong>(stream.size()));
  if (code != Z_OK || got != length) return broken;
  return text;
}

}  // namespace tessera::gfx942
