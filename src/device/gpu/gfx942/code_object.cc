#include "device/gpu/gfx942/code_object.h"

#include <algorithm>
#include <cstring>

namespace tessera::gfx942 {
namespace {

constexpr size_t kMostBytes = size_t{1} << 26;  // ours have some hundred kilobytes
constexpr uint32_t kMachineGfx942 = 0x4c;       // the lowest byte of e_flags
constexpr size_t kDescriptorBytes = 64;

// Reads numbers of `bytes`; beyond their end it reads 0 and says so in ok().
class Reader {
 public:
  explicit Reader(std::span<const unsigned char> bytes) : bytes_(bytes) {}
  bool ok() const { return ok_; }
  template <class T>
  T At(uint64_t offset) {
    T value{};
    if (offset > bytes_.size() || bytes_.size() - offset < sizeof(T)) {
      ok_ = false;
      return value;
    }
    std::memcpy(&value, bytes_.data() + offset, sizeof(T));
    return value;
  }
  std::string Text(uint64_t offset) {
    std::string text;
    for (char c; (c = At<char>(offset)) != 0 && ok_; ++offset) text += c;
    return text;
  }

 private:
  std::span<const unsigned char> bytes_;
  bool ok_ = true;
};

}  // namespace

Result<CodeObject> CodeObject::Read(std::span<const unsigned char> bytes) {
  Reader file(bytes);
  const Error cut = Corrupt("the code object is cut short or damaged: build it again");
  if (bytes.size() < 64 || std::memcmp(bytes.data(),
                                       "\x7f"
                                       "ELF",
                                       4) != 0) {
    return Corrupt("this is no code object: it does not begin as an ELF file");
  }
  if ((file.At<uint32_t>(48) & 0xff) != kMachineGfx942) {
    return Unsupported("the code object is for another GPU than gfx942");
  }
  CodeObject object;
  const auto segments = file.At<uint64_t>(32);
  const auto segment_count = file.At<uint16_t>(56);
  for (int pass = 0; pass < 2; ++pass) {  // first how much there is, then what
    for (int n = 0; n < segment_count; ++n) {
      const uint64_t header = segments + 56 * static_cast<uint64_t>(n);
      if (file.At<uint32_t>(header) != 1) continue;  // PT_LOAD
      const auto offset = file.At<uint64_t>(header + 8), address = file.At<uint64_t>(header + 16);
      const auto in_file = file.At<uint64_t>(header + 32),
                 in_memory = file.At<uint64_t>(header + 40);
      if (!file.ok() || address > kMostBytes || in_memory > kMostBytes || in_file > in_memory ||
          offset > bytes.size() || in_file > bytes.size() - offset) {
        return cut;
      }
      if (pass == 0) {
        object.image_bytes_ =
            std::max(object.image_bytes_, static_cast<size_t>(address + in_memory));
      } else {
        std::copy_n(bytes.data() + offset, in_file, object.image_.get() + address);
      }
    }
    if (pass == 0) object.image_ = std::make_unique<unsigned char[]>(object.image_bytes_);
  }
  const auto sections = file.At<uint64_t>(40);
  const auto section_count = file.At<uint16_t>(60);
  const auto section = [&](uint64_t n) { return sections + 64 * n; };
  for (uint64_t n = 0; n < section_count && file.ok(); ++n) {
    const auto type = file.At<uint32_t>(section(n) + 4);
    if (type == 4 || type == 9) {  // SHT_RELA, SHT_REL
      return Unsupported(
          "the code object has relocations, which the gfx942 interpreter does not do");
    }
    if (type != 11) continue;  // SHT_DYNSYM
    const auto begin = file.At<uint64_t>(section(n) + 24),
               size = file.At<uint64_t>(section(n) + 32);
    const auto names = file.At<uint64_t>(section(file.At<uint32_t>(section(n) + 40)) + 24);
    if (begin > bytes.size() || size > bytes.size() - begin) return cut;
    for (uint64_t at = begin; at + 24 <= begin + size; at += 24) {
      const std::string name = file.Text(names + file.At<uint32_t>(at));
      object.symbols_[name] = {file.At<uint64_t>(at + 8), file.At<uint64_t>(at + 16)};
    }
  }
  if (!file.ok()) return cut;
  return object;
}

Result<KernelFacts> CodeObject::Find(const std::string& name) const {
  const auto descriptor = symbols_.find(name + ".kd"), code = symbols_.find(name);
  if (descriptor == symbols_.end() || code == symbols_.end()) {
    return NotFound("the code object has no kernel '" + name + "'");
  }
  const uint64_t at = descriptor->second.address;
  Reader image(this->image());
  KernelFacts facts;
  facts.entry = at + image.At<uint64_t>(at + 16);
  facts.size = code->second.size;
  facts.lds_bytes = image.At<uint32_t>(at);
  facts.argument_bytes = image.At<uint32_t>(at + 8);
  const auto scratch = image.At<uint32_t>(at + 4);
  const auto third = image.At<uint32_t>(at + 44), first = image.At<uint32_t>(at + 48);
  const auto second = image.At<uint32_t>(at + 52);
  const auto properties = image.At<uint16_t>(at + 56);
  if (!image.ok() || at + kDescriptorBytes > image_bytes_ || facts.entry >= image_bytes_) {
    return Corrupt("the code object's descriptor of kernel '" + name + "' is damaged");
  }
  if (scratch != 0) {
    return Unsupported("kernel '" + name + "' needs " + std::to_string(scratch) +
                       " bytes of scratch memory, which the gfx942 interpreter has not");
  }
  if ((properties & 0x77) != 0 || (second >> 10 & 1) != 0 || (second >> 11 & 3) > 2) {
    return Unsupported("kernel '" + name +
                       "' asks for registers that the gfx942 interpreter does not set: it has only "
                       "the arguments' address and the workgroup's number");
  }
  const int all = 8 * (static_cast<int>(first & 63) + 1);
  facts.vectors = std::min(all, 4 * (static_cast<int>(third & 63) + 1));
  facts.accumulators = all - facts.vectors;
  facts.user_scalars = static_cast<int>(second >> 1 & 31);
  facts.argument_pointer = (properties & 8) != 0;
  for (int i = 0; i < 3; ++i) facts.workgroup_id[i] = (second >> (7 + i) & 1) != 0;
  return facts;
}

}  // namespace tessera::gfx942
