#include "model/safetensors.h"

#include <simdjson.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

namespace tessera {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors are little endian");

constexpr uint64_t kMaxHeaderBytes = 100'000'000;

struct TypeInfo {
  TensorType type;
  const char* name;
  int bits;
};

constexpr TypeInfo kTypes[] = {
    {TensorType::kBool, "BOOL", 8},
    {TensorType::kU8, "U8", 8},
    {TensorType::kI8, "I8", 8},
    {TensorType::kU16, "U16", 16},
    {TensorType::kI16, "I16", 16},
    {TensorType::kU32, "U32", 32},
    {TensorType::kI32, "I32", 32},
    {TensorType::kU64, "U64", 64},
    {TensorType::kI64, "I64", 64},
    {TensorType::kF4, "F4", 4},
    {TensorType::kF6E2M3, "F6_E2M3", 6},
    {TensorType::kF6E3M2, "F6_E3M2", 6},
    {TensorType::kF8E4M3, "F8_E4M3", 8},
    {TensorType::kF8E5M2, "F8_E5M2", 8},
    {TensorType::kF8E8M0, "F8_E8M0", 8},
    {TensorType::kF8E4M3Fnuz, "F8_E4M3FNUZ", 8},
    {TensorType::kF8E5M2Fnuz, "F8_E5M2FNUZ", 8},
    {TensorType::kF16, "F16", 16},
    {TensorType::kBF16, "BF16", 16},
    {TensorType::kF32, "F32", 32},
    {TensorType::kF64, "F64", 64},
    {TensorType::kC64, "C64", 64},
};

const TypeInfo* FindType(std::string_view name) {
  for (const TypeInfo& info : kTypes) {
    if (name == info.name) return &info;
  }
  return nullptr;
}

bool IsNonNegativeInt64(uint64_t value) {
  return value <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
}

// One entry of the header, before its place in the file is checked.
struct Entry {
  std::string_view name;
  TensorType type = TensorType::kF32;
  std::vector<int64_t> shape;
  uint64_t begin = 0;
  uint64_t end = 0;
};

// Messages of one file: "FILE: tensor "x" ...".
class Messages {
 public:
  explicit Messages(const std::string& path) : path_(path) {}

  Error File(const std::string& what) const { return Corrupt(path_ + " " + what); }
  Error Tensor(std::string_view name, const std::string& what) const {
    return Corrupt(path_ + ": tensor " + QuoteName(name) + " " + what);
  }

 private:
  const std::string& path_;
};

Status ReadShape(const simdjson::dom::element& value, const Messages& messages, Entry* entry) {
  simdjson::dom::array dims;
  if (value.get(dims)) return messages.Tensor(entry->name, "has a shape that is not a list.");
  for (simdjson::dom::element dim : dims) {
    uint64_t size = 0;
    if (dim.get(size) || !IsNonNegativeInt64(size)) {
      return messages.Tensor(entry->name, "has a size in its shape that is not a count.");
    }
    entry->shape.push_back(static_cast<int64_t>(size));
  }
  return {};
}

Status ReadOffsets(const simdjson::dom::element& value, const Messages& messages, Entry* entry) {
  simdjson::dom::array offsets;
  if (value.get(offsets) || offsets.size() != 2 || offsets.at(0).get(entry->begin) ||
      offsets.at(1).get(entry->end)) {
    return messages.Tensor(entry->name, "has data_offsets that are no pair of byte positions.");
  }
  return {};
}

Result<Entry> ReadEntry(std::string_view name, const simdjson::dom::element& value,
                        const Messages& messages) {
  Entry entry;
  entry.name = name;
  simdjson::dom::object fields;
  if (value.get(fields)) return messages.Tensor(name, "has an entry that is not an object.");
  enum : unsigned { kDType = 1, kShape = 2, kOffsets = 4, kAll = 7 };
  unsigned seen = 0;
  for (const auto& [key, field] : fields) {
    unsigned bit = 0;
    if (key == "dtype") {
      bit = kDType;
      std::string_view type_name;
      if (field.get(type_name)) return messages.Tensor(name, "has a dtype that is not a string.");
      const TypeInfo* info = FindType(type_name);
      if (info == nullptr) {
        return messages.Tensor(name,
                               "has the dtype " + QuoteName(type_name) + ", which is unknown.");
      }
      entry.type = info->type;
    } else if (key == "shape") {
      bit = kShape;
      TESSERA_RETURN_IF_ERROR(ReadShape(field, messages, &entry));
    } else if (key == "data_offsets") {
      bit = kOffsets;
      TESSERA_RETURN_IF_ERROR(ReadOffsets(field, messages, &entry));
    }
    if ((seen & bit) != 0) return messages.Tensor(name, "has a field twice.");
    seen |= bit;
  }
  if (seen != kAll) {
    return messages.Tensor(name, "lacks one of dtype, shape and data_offsets.");
  }
  return entry;
}

// The bytes that the shape and the type ask for.
Result<uint64_t> ExpectedBytes(const Entry& entry, const Messages& messages) {
  uint64_t elements = 1;
  for (int64_t size : entry.shape) {
    if (__builtin_mul_overflow(elements, static_cast<uint64_t>(size), &elements)) {
      return messages.Tensor(entry.name, "has a shape whose product overflows.");
    }
  }
  uint64_t bits = 0;
  const uint64_t element_bits = kTypes[static_cast<size_t>(entry.type)].bits;
  if (__builtin_mul_overflow(elements, element_bits, &bits)) {
    return messages.Tensor(entry.name, "has a shape whose size in bytes overflows.");
  }
  if (bits % 8 != 0) return messages.Tensor(entry.name, "does not end on a whole byte.");
  return bits / 8;
}

}  // namespace

const char* ToString(TensorType type) {
  const TypeInfo& info = kTypes[static_cast<size_t>(type)];
  TESSERA_CHECK(info.type == type, "the table of types is in order of the enumeration");
  return info.name;
}

std::optional<DType> WeightDType(TensorType type) {
  switch (type) {
    case TensorType::kF32:
      return DType::kFloat32;
    case TensorType::kF16:
      return DType::kFloat16;
    case TensorType::kBF16:
      return DType::kBFloat16;
    default:
      return std::nullopt;
  }
}

std::string ShapeToString(std::span<const int64_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  }
  return text + "]";
}

std::string QuoteName(std::string_view name) {
  constexpr size_t kLongest = 120;
  std::string quoted = "\"";
  for (char c : name.substr(0, kLongest)) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      quoted += '?';
    } else {
      quoted += c;
    }
  }
  return quoted + (name.size() > kLongest ? "...\"" : "\"");
}

Result<TensorMap> ParseSafetensors(std::span<const std::byte> file, const std::string& path) {
  const Messages messages(path);
  if (file.size() < 8) {
    return messages.File("is too short for a safetensors file: it has " +
                         std::to_string(file.size()) + " bytes; download it again.");
  }
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), 8);
  if (header_bytes > kMaxHeaderBytes) {
    return messages.File("is not a safetensors file: its header would have " +
                         std::to_string(header_bytes) + " bytes, and 100000000 are allowed.");
  }
  if (header_bytes > file.size() - 8) {
    return messages.File("is cut short: its header has " + std::to_string(header_bytes) +
                         " bytes, the file " + std::to_string(file.size()) +
                         "; download it again.");
  }
  const char* header = reinterpret_cast<const char*>(file.data()) + 8;
  if (header_bytes == 0 || header[0] != '{') {
    return messages.File("is not a safetensors file: its header does not begin with '{'.");
  }
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  simdjson::dom::object object;
  if (auto error = parser.parse(header, header_bytes).get(root); error) {
    return messages.File(std::string("has a header that is not valid JSON: ") +
                         simdjson::error_message(error));
  }
  if (root.get(object)) return messages.File("has a header that is not a JSON object.");

  std::vector<Entry> entries;
  for (const auto& [name, value] : object) {
    if (name == "__metadata__") continue;
    TESSERA_ASSIGN_OR_RETURN(Entry entry, ReadEntry(name, value, messages));
    entries.push_back(std::move(entry));
  }
  // Empty tensors come before the one that starts at their place.
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });

  const std::byte* data = file.data() + 8 + header_bytes;
  const uint64_t data_bytes = file.size() - 8 - header_bytes;
  TensorMap tensors;
  uint64_t covered = 0;
  for (Entry& entry : entries) {
    TESSERA_ASSIGN_OR_RETURN(const uint64_t expected, ExpectedBytes(entry, messages));
    if (entry.end < entry.begin || entry.end - entry.begin != expected) {
      return messages.Tensor(entry.name,
                             "of shape " + ShapeToString(entry.shape) + " and type " +
                                 ToString(entry.type) + " needs " + std::to_string(expected) +
                                 " bytes, but its data_offsets are " + std::to_string(entry.begin) +
                                 " and " + std::to_string(entry.end) + ".");
    }
    if (entry.begin != covered) {
      return messages.Tensor(entry.name, std::string(entry.begin < covered ? "overlaps the one"
                                                                           : "leaves a hole after "
                                                                             "the one") +
                                             " that ends at byte " + std::to_string(covered) + ".");
    }
    if (entry.end > data_bytes) {
      return messages.Tensor(entry.name, "ends at byte " + std::to_string(entry.end) +
                                             ", but the file has data up to byte " +
                                             std::to_string(data_bytes) +
                                             ": it is cut short; download it again.");
    }
    covered = entry.end;
    TensorView view{entry.type, std::move(entry.shape), data + entry.begin,
                    static_cast<int64_t>(expected)};
    if (!tensors.emplace(std::string(entry.name), std::move(view)).second) {
      return messages.Tensor(entry.name, "occurs twice.");
    }
  }
  if (covered != data_bytes) {
    return messages.File("has " + std::to_string(data_bytes - covered) +
                         " bytes after its last tensor, which the format forbids.");
  }
  return tensors;
}

}  // namespace tessera
