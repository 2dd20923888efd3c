// MappedFile and Checkpoint: where the tensors of safetensors.h come from.
#include <fcntl.h>
#include <simdjson.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "model/json_reader.h"
#include "model/safetensors.h"

namespace tessera {
namespace {

constexpr char kSingleName[] = "model.safetensors";
constexpr char kIndexName[] = "model.safetensors.index.json";

std::string SystemError() { return std::strerror(errno); }

// A shard lies beside its index: anything else in its name could point outside the directory.
bool IsPlainFileName(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

bool Exists(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

// weight_map of an index: tensor -> shard. A name that occurs twice is an error.
Result<std::map<std::string, std::string>> ReadIndex(const std::string& path) {
  TESSERA_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  simdjson::dom::parser parser;
  const auto text = file.bytes();
  const auto root =
      ParseJsonObject(&parser, {reinterpret_cast<const char*>(text.data()), text.size()});
  if (!root.ok()) return Error{root.error().code, path + " " + root.error().message};
  simdjson::dom::object weights;
  if ((*root)["weight_map"].get(weights)) {
    return Corrupt(path + " has no object \"weight_map\" that says where the tensors are.");
  }
  std::map<std::string, std::string> shards;
  for (const auto& [name, value] : weights) {
    std::string_view shard;
    if (value.get(shard)) {
      return Corrupt(path + ": tensor " + QuoteName(name) + " has a shard that is not a string.");
    }
    if (!IsPlainFileName(shard)) {
      return Corrupt(path + ": tensor " + QuoteName(name) + " is said to be in " +
                     QuoteName(shard) + ", which is not a plain file name beside the index.");
    }
    if (!shards.emplace(name, shard).second) {
      return Corrupt(path + ": tensor " + QuoteName(name) + " occurs twice.");
    }
  }
  return shards;
}

// Advises on the whole pages around the range. A neighbour's bytes on a page that is given back are
// read again from the file when they are needed.
void Advise(std::span<const std::byte> bytes, int advice) {
  if (bytes.empty()) return;
  const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = reinterpret_cast<uintptr_t>(bytes.data()) / page * page;
  const uintptr_t end = reinterpret_cast<uintptr_t>(bytes.data()) + bytes.size();
  madvise(reinterpret_cast<void*>(begin), end - begin, advice);
}

}  // namespace

Result<MappedFile> MappedFile::Open(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    const bool missing = errno == ENOENT;
    const std::string message = "cannot open " + path + ": " + SystemError() + ".";
    return missing ? NotFound(message) : IoError(message);
  }
  struct stat status = {};
  if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(descriptor);
    return IoError("cannot read " + path + ": it is not a regular file.");
  }
  const size_t size = static_cast<size_t>(status.st_size);
  if (size == 0) {  // mmap refuses an empty range
    close(descriptor);
    return MappedFile(nullptr, 0);
  }
  void* data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  const std::string why = data == MAP_FAILED ? SystemError() : "";
  close(descriptor);
  if (data == MAP_FAILED) return IoError("cannot map " + path + " into memory: " + why + ".");
  return MappedFile(static_cast<const std::byte*>(data), size);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void MappedFile::Prefetch(std::span<const std::byte> bytes) { Advise(bytes, MADV_WILLNEED); }

void MappedFile::Release(std::span<const std::byte> bytes) { Advise(bytes, MADV_DONTNEED); }

Result<Checkpoint> Checkpoint::OpenFile(const std::string& path) {
  TESSERA_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  Checkpoint checkpoint;
  checkpoint.path_ = path;
  TESSERA_ASSIGN_OR_RETURN(checkpoint.tensors_, ParseSafetensors(file.bytes(), path));
  checkpoint.files_.push_back(std::move(file));
  return checkpoint;
}

Result<Checkpoint> Checkpoint::Open(const std::string& directory) {
  const std::filesystem::path root(directory);
  if (Exists(root / kSingleName)) return OpenFile((root / kSingleName).string());
  const std::string index_path = (root / kIndexName).string();
  if (!Exists(index_path)) {
    return NotFound(directory + " has neither " + kSingleName + " nor " + kIndexName +
                    ": give the directory of a checkpoint in the safetensors format.");
  }
  TESSERA_ASSIGN_OR_RETURN(const auto index, ReadIndex(index_path));

  std::map<std::string, TensorMap, std::less<>> shards;
  Checkpoint checkpoint;
  checkpoint.path_ = index_path;
  for (const auto& [name, shard] : index) {
    auto found = shards.find(shard);
    if (found == shards.end()) {
      const std::string path = (root / shard).string();
      if (!Exists(path)) {
        return NotFound(index_path + " names the shard " + path +
                        ", which is missing: download it as well.");
      }
      TESSERA_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
      TESSERA_ASSIGN_OR_RETURN(TensorMap tensors, ParseSafetensors(file.bytes(), path));
      checkpoint.files_.push_back(std::move(file));
      found = shards.emplace(shard, std::move(tensors)).first;
    }
    auto tensor = found->second.find(name);
    if (tensor == found->second.end()) {
      return Corrupt(index_path + " says that tensor " + QuoteName(name) + " is in " + shard +
                     ", which does not have it.");
    }
    checkpoint.tensors_.emplace(name, std::move(tensor->second));
  }
  return checkpoint;
}

const TensorView* Checkpoint::Find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

int64_t Checkpoint::bytes() const {
  int64_t sum = 0;
  for (const auto& [name, view] : tensors_) sum += view.bytes;
  return sum;
}

void Checkpoint::Prefetch(const TensorView& view) {
  MappedFile::Prefetch({view.data, static_cast<size_t>(view.bytes)});
}

void Checkpoint::Release(const TensorView& view) {
  MappedFile::Release({view.data, static_cast<size_t>(view.bytes)});
}

}  // namespace tessera
