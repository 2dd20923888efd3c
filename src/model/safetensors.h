// Checkpoints in the safetensors format, read through memory maps.
//
// A file is 8 bytes of header length N (little endian), N bytes of JSON, and the tensors' bytes:
//   {"name": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [begin, end]}, "__metadata__":
//   {..}}
// As in the format's own reader, the tensors must cover the rest of the file without holes and
// without overlaps, a name may occur once, and the header may have 100,000,000 bytes at most.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tessera/dtype.h"
#include "tessera/result.h"

namespace tessera {

// The element types of the format.
enum class TensorType : uint8_t {
  kBool,
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kU64,
  kI64,
  kF4,
  kF6E2M3,
  kF6E3M2,
  kF8E4M3,
  kF8E5M2,
  kF8E8M0,
  kF8E4M3Fnuz,
  kF8E5M2Fnuz,
  kF16,
  kBF16,
  kF32,
  kF64,
  kC64,
};

// As the format spells it: "BF16".
const char* ToString(TensorType type);

// Of the types that weights may have here: F32, F16, BF16.
std::optional<DType> WeightDType(TensorType type);

// One tensor's bytes, row-major. Nothing is promised about the alignment of `data`: files of old
// writers put it at odd addresses.
struct TensorView {
  TensorType type = TensorType::kF32;
  std::vector<int64_t> shape;  // empty: a scalar
  const std::byte* data = nullptr;
  int64_t bytes = 0;
};

// "[2, 3]".
std::string ShapeToString(std::span<const int64_t> shape);

// A tensor's or a file's name as a message shows it: quoted, shortened, control characters escaped.
std::string QuoteName(std::string_view name);

using TensorMap = std::map<std::string, TensorView, std::less<>>;

// Checks `file` completely and returns views into it. `path` is for messages. Never reads outside
// the span, whatever it holds.
Result<TensorMap> ParseSafetensors(std::span<const std::byte> file, const std::string& path);

// A read-only map of a whole file. The file must not be cut short while it is mapped.
class MappedFile {
 public:
  static Result<MappedFile> Open(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return {data_, size_}; }

  // Begins to read these bytes from the disk in large pieces: page faults would read small ones.
  static void Prefetch(std::span<const std::byte> bytes);
  // Gives the memory of these bytes back to the system; they may be read again.
  static void Release(std::span<const std::byte> bytes);

 private:
  MappedFile(const std::byte* data, size_t size) : data_(data), size_(size) {}

  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// All tensors of a checkpoint: one file, or the shards that an index names. Immutable.
class Checkpoint {
 public:
  // DIRECTORY/model.safetensors, else the shards of DIRECTORY/model.safetensors.index.json.
  static Result<Checkpoint> Open(const std::string& directory);
  // One file of any name.
  static Result<Checkpoint> OpenFile(const std::string& path);

  // Null if there is no such tensor.
  const TensorView* Find(std::string_view name) const;

  const TensorMap& tensors() const { return tensors_; }
  int64_t bytes() const;  // of all tensors
  const std::string& path() const { return path_; }

  // MappedFile's, for a tensor.
  static void Prefetch(const TensorView& view);
  static void Release(const TensorView& view);

 private:
  std::string path_;
  std::vector<MappedFile> files_;
  TensorMap tensors_;
};

}  // namespace tessera
