// Builds safetensors files for tests, right ones and wrong ones.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tessera/dtype.h"

namespace tessera {

// Header length, header, data.
inline std::string SafetensorsBytes(std::string_view header, std::string_view data) {
  const uint64_t size = header.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &size, 8);
  return file.append(header).append(data);
}

inline void WriteFile(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// A directory that goes away with the object.
class TempDir {
 public:
  explicit TempDir(const std::string& name)
      : path_(std::filesystem::temp_directory_path() / ("tessera_" + name + "_XXXXXX")) {
    std::string pattern = path_.string();
    if (mkdtemp(pattern.data()) != nullptr) path_ = pattern;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

// Collects tensors and lays them out one after the other.
class SafetensorsBuilder {
 public:
  SafetensorsBuilder& Add(std::string_view name, std::string_view type,
                          const std::vector<int64_t>& shape, std::string_view bytes) {
    if (!header_.empty()) header_ += ",";
    header_.append("\"")
        .append(name)
        .append("\":{\"dtype\":\"")
        .append(type)
        .append("\",\"shape\":[");
    for (size_t i = 0; i < shape.size(); ++i) {
      if (i > 0) header_ += ",";
      header_ += std::to_string(shape[i]);
    }
    header_.append("],\"data_offsets\":[").append(std::to_string(data_.size())).append(",");
    data_.append(bytes);
    header_.append(std::to_string(data_.size())).append("]}");
    return *this;
  }

  // Float values in the given weight type.
  SafetensorsBuilder& AddValues(std::string_view name, DType dtype,
                                const std::vector<int64_t>& shape, std::span<const float> values) {
    std::string bytes(values.size() * SizeOf(dtype), '\0');
    ConvertFromFloat(dtype, values.data(), static_cast<int64_t>(values.size()), bytes.data());
    const char* type = dtype == DType::kFloat32 ? "F32" : dtype == DType::kFloat16 ? "F16" : "BF16";
    return Add(name, type, shape, bytes);
  }

  // Spaces after the header move the data to another alignment.
  std::string Build(size_t spaces = 0) const {
    return SafetensorsBytes(std::string("{").append(header_).append("}").append(spaces, ' '),
                            data_);
  }

 private:
  std::string header_;
  std::string data_;
};

}  // namespace tessera
