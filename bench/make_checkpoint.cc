#include "make_checkpoint.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "tessera/dtype.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Tensor {
  std::string name;
  std::vector<int64_t> shape;
  double mean = 0;
  double deviation = 1;
  uint64_t seed = 0;

  int64_t elements() const {
    int64_t count = 1;
    for (int64_t size : shape) count *= size;
    return count;
  }
  int64_t bytes() const { return elements() * static_cast<int64_t>(sizeof(uint16_t)); }
};

std::vector<Tensor> ListTensors(const RandomCheckpoint& options) {
  std::vector<Tensor> tensors;
  const auto add = [&](std::string name, std::vector<int64_t> shape, double mean,
                       double deviation) {
    const uint64_t seed = options.seed * 0x9e3779b97f4a7c15u + tensors.size();
    tensors.push_back({std::move(name), std::move(shape), mean, deviation, seed});
  };
  // A matrix over n inputs of variance 1 gives outputs of deviation 0.6.
  const auto matrix = [&](std::string name, int64_t rows, int64_t cols) {
    add(std::move(name), {rows, cols}, 0, 0.6 / std::sqrt(static_cast<double>(cols)));
  };
  const auto norm = [&](std::string name) { add(std::move(name), {options.hidden_size}, 1, 0.1); };

  const int64_t hidden = options.hidden_size;
  const double unit = 1.0 / std::sqrt(static_cast<double>(hidden));
  add("model.embed_tokens.weight", {options.vocab_size, hidden}, 0, options.tied ? unit : 1.0);
  for (int64_t i = 0; i < options.num_layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    norm(layer + "input_layernorm.weight");
    matrix(layer + "self_attn.q_proj.weight", options.num_heads * options.head_size, hidden);
    matrix(layer + "self_attn.k_proj.weight", options.num_kv_heads * options.head_size, hidden);
    matrix(layer + "self_attn.v_proj.weight", options.num_kv_heads * options.head_size, hidden);
    matrix(layer + "self_attn.o_proj.weight", hidden, options.num_heads * options.head_size);
    norm(layer + "post_attention_layernorm.weight");
    matrix(layer + "mlp.gate_proj.weight", options.intermediate_size, hidden);
    matrix(layer + "mlp.up_proj.weight", options.intermediate_size, hidden);
    matrix(layer + "mlp.down_proj.weight", hidden, options.intermediate_size);
  }
  norm("model.norm.weight");
  if (!options.tied) add("lm_head.weight", {options.vocab_size, hidden}, 0, unit);
  return tensors;
}

// xorshift128+ (Vigna, arXiv 1404.0390), seeded by splitmix64.
class Random {
 public:
  explicit Random(uint64_t seed) {
    for (uint64_t& word : state_) {
      seed += 0x9e3779b97f4a7c15u;
      uint64_t mixed = (seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9u;
      mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
      word = mixed ^ (mixed >> 31);
    }
  }

  uint64_t Next() {
    uint64_t a = state_[0];
    const uint64_t b = state_[1];
    state_[0] = b;
    a ^= a << 23;
    state_[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
    return state_[1] + b;
  }

 private:
  uint64_t state_[2];
};

// Two uniform numbers added: close enough to a bell, and as fast as the disk.
void WriteData(const Tensor& tensor, std::ofstream* file) {
  constexpr int64_t kPiece = 1 << 20;
  // The sum of two numbers uniform in 0 .. 2^16 - 1 has the deviation 2^16 / sqrt(6).
  const double scale = tensor.deviation * std::sqrt(6.0) / 65536.0;
  const auto factor = static_cast<float>(scale);
  const auto offset = static_cast<float>(tensor.mean - scale * 65535.0);
  Random random(tensor.seed);
  std::vector<uint16_t> piece;
  for (int64_t left = tensor.elements(); left > 0; left -= static_cast<int64_t>(piece.size())) {
    piece.resize(static_cast<size_t>(std::min(left, kPiece)));
    for (size_t i = 0; i < piece.size(); i += 2) {
      const uint64_t bits = random.Next();
      const auto first = static_cast<float>((bits & 0xffff) + ((bits >> 16) & 0xffff));
      const auto second = static_cast<float>(((bits >> 32) & 0xffff) + (bits >> 48));
      piece[i] = FloatToBFloat16(first * factor + offset);
      if (i + 1 < piece.size()) piece[i + 1] = FloatToBFloat16(second * factor + offset);
    }
    file->write(reinterpret_cast<const char*>(piece.data()),
                static_cast<std::streamsize>(piece.size() * sizeof(uint16_t)));
  }
}

Status WriteShard(const fs::path& path, const Tensor* begin, const Tensor* end) {
  Json header = {{"__metadata__", {{"format", "pt"}}}};
  int64_t offset = 0;
  for (const Tensor* tensor = begin; tensor != end; ++tensor) {
    header[tensor->name] = {{"dtype", "BF16"},
                            {"shape", tensor->shape},
                            {"data_offsets", {offset, offset + tensor->bytes()}}};
    offset += tensor->bytes();
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');  // aligns the data, as the format's writers do
  const uint64_t size = text.size();
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(&size), sizeof(size));
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  for (const Tensor* tensor = begin; tensor != end && file; ++tensor) WriteData(*tensor, &file);
  file.close();
  if (!file) return IoError("cannot write " + path.string() + ": is the disk full?");
  return {};
}

Status WriteJson(const fs::path& path, const Json& json) {
  std::ofstream file(path);
  file << json.dump(2) << '\n';
  file.close();
  if (!file) return IoError("cannot write " + path.string() + ".");
  return {};
}

Status WriteWeights(const RandomCheckpoint& options) {
  const fs::path directory = options.directory;
  const std::vector<Tensor> tensors = ListTensors(options);
  std::vector<size_t> starts = {0};
  int64_t total = 0;
  int64_t in_shard = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const int64_t bytes = tensors[i].bytes();
    if (options.shard_bytes > 0 && in_shard > 0 && in_shard + bytes > options.shard_bytes) {
      starts.push_back(i);
      in_shard = 0;
    }
    in_shard += bytes;
    total += bytes;
  }
  if (options.shard_bytes == 0) {
    return WriteShard(directory / "model.safetensors", tensors.data(),
                      tensors.data() + tensors.size());
  }
  Json index = {{"metadata", {{"total_size", total}}}, {"weight_map", Json::object()}};
  starts.push_back(tensors.size());
  for (size_t shard = 0; shard + 1 < starts.size(); ++shard) {
    char name[64];
    std::snprintf(name, sizeof(name), "model-%05zu-of-%05zu.safetensors", shard + 1,
                  starts.size() - 1);
    for (size_t i = starts[shard]; i < starts[shard + 1]; ++i) {
      index["weight_map"][tensors[i].name] = name;
    }
    TESSERA_RETURN_IF_ERROR(WriteShard(directory / name, tensors.data() + starts[shard],
                                       tensors.data() + starts[shard + 1]));
  }
  return WriteJson(directory / "model.safetensors.index.json", index);
}

Json MakeConfig(const RandomCheckpoint& options) {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"dtype", "bfloat16"},
          {"vocab_size", options.vocab_size},
          {"hidden_size", options.hidden_size},
          {"intermediate_size", options.intermediate_size},
          {"num_hidden_layers", options.num_layers},
          {"num_attention_heads", options.num_heads},
          {"num_key_value_heads", options.num_kv_heads},
          {"head_dim", options.head_size},
          {"hidden_act", "silu"},
          {"max_position_embeddings", options.max_position_embeddings},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", options.rope_theta},
          {"tie_word_embeddings", options.tied},
          {"attention_bias", false},
          {"mlp_bias", false},
          {"bos_token_id", 1},
          {"eos_token_id", 2}};
}

Status CopyTokenizer(const fs::path& from, const fs::path& to) {
  bool any = false;
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                           "chat_template.jinja"}) {
    std::error_code error;
    if (!fs::exists(from / name, error)) continue;
    fs::copy_file(from / name, to / name, fs::copy_options::overwrite_existing, error);
    if (error) {
      return IoError("cannot copy " + (from / name).string() + ": " + error.message() + ".");
    }
    any = true;
  }
  if (!any) return NotFound(from.string() + " has no tokenizer files to copy.");
  return {};
}

Status CheckOptions(const RandomCheckpoint& options) {
  for (int64_t size : {options.hidden_size, options.intermediate_size, options.num_layers,
                       options.num_heads, options.num_kv_heads, options.head_size,
                       options.vocab_size, options.max_position_embeddings}) {
    if (size < 1 || size > 1 << 24) {
      return InvalidArgument("every size of a checkpoint must be between 1 and 16777216.");
    }
  }
  if (options.num_heads % options.num_kv_heads != 0 || options.head_size % 2 != 0) {
    return InvalidArgument(
        "the query heads must be a multiple of the KV heads, and the head size even.");
  }
  if (options.shard_bytes < 0) return InvalidArgument("the size of a shard is negative.");
  return {};
}

}  // namespace

Status WriteRandomCheckpoint(const RandomCheckpoint& options) {
  TESSERA_RETURN_IF_ERROR(CheckOptions(options));
  const fs::path directory = options.directory;
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) {
    return IoError("cannot make the directory " + options.directory + ": " + error.message() + ".");
  }
  // A file of an earlier run would win over the shards of this one.
  fs::remove(directory / "model.safetensors", error);
  fs::remove(directory / "model.safetensors.index.json", error);
  TESSERA_RETURN_IF_ERROR(WriteWeights(options));
  TESSERA_RETURN_IF_ERROR(WriteJson(directory / "config.json", MakeConfig(options)));
  TESSERA_RETURN_IF_ERROR(
      WriteJson(directory / "generation_config.json", {{"bos_token_id", 1}, {"eos_token_id", 2}}));
  if (options.tokenizer_directory.empty()) return {};
  return CopyTokenizer(options.tokenizer_directory, directory);
}

}  // namespace tessera
