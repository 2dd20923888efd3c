// What a user or a file can do wrong: each case ends with its documented exit code and one
// sentence.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "program.h"

namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;

using Strings = std::vector<std::string>;

// Checks that the program says one sentence and no more.
void ExpectRefusal(const ProgramResult& result, int exit_code, const std::string& part) {
  EXPECT_EQ(result.exit_code, exit_code) << result.errors;
  EXPECT_THAT(result.errors, StartsWith("tessera"));
  EXPECT_THAT(result.errors, HasSubstr(part));
  EXPECT_TRUE(result.errors.ends_with('\n'));
  EXPECT_EQ(std::count(result.errors.begin(), result.errors.end(), '\n'), 1) << result.errors;
}

struct ArgumentCase {
  Strings arguments;
  int exit_code;
  std::string part;  // of the sentence
};

class ArgumentTest : public ::testing::TestWithParam<ArgumentCase> {};

TEST_P(ArgumentTest, IsRefusedInOneSentence) {
  const ArgumentCase& c = GetParam();
  ExpectRefusal(RunProgram(c.arguments), c.exit_code, c.part);
}

Strings Generate(Strings more) {
  Strings arguments = {"generate", "--quiet", "--prompt", "Question: 1 + 1?\nAnswer:"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

std::string LongPrompt() {
  std::string text;
  for (int i = 0; i < 3000; ++i) text += "7 ";
  return text;
}

INSTANTIATE_TEST_SUITE_P(
    All, ArgumentTest,
    ::testing::Values(
        ArgumentCase{{"nonsense"}, 2, "nonsense"}, ArgumentCase{{"generate"}, 2, "rompt"},
        ArgumentCase{Generate({"--no-such-option"}), 2, "--no-such-option"},
        ArgumentCase{Generate({"--max-tokens", "many"}), 2, "--max-tokens"},
        ArgumentCase{Generate({"--max-tokens", "0"}), 2, "max_tokens"},
        ArgumentCase{Generate({"--temperature", "-1"}), 2, "temperature"},
        ArgumentCase{Generate({"--temperature", "nan"}), 2, "temperature"},
        ArgumentCase{Generate({"--top-p", "0"}), 2, "top_p"},
        ArgumentCase{Generate({"--top-p", "1.5"}), 2, "top_p"},
        ArgumentCase{Generate({"--top-k", "-2"}), 2, "top_k"},
        ArgumentCase{Generate({"--min-p", "2"}), 2, "min_p"},
        ArgumentCase{Generate({"--repetition-penalty", "0"}), 2, "repetition_penalty"},
        ArgumentCase{Generate({"--presence-penalty", "3"}), 2, "presence_penalty"},
        ArgumentCase{Generate({"--frequency-penalty", "-3"}), 2, "frequency_penalty"},
        ArgumentCase{Generate({"--logprobs", "-1"}), 2, "--logprobs"},
        ArgumentCase{Generate({"--dtype", "float12"}), 2, "float12"},
        ArgumentCase{Generate({"--dtype", "int8"}), 2, "bfloat16, float16 or float32"},
        ArgumentCase{Generate({"--seed", "-1"}), 2, "--seed"},
        ArgumentCase{Generate({"--seed", "18446744073709551616"}), 2, "--seed"},
        ArgumentCase{
            {"generate", "-q", "--prompt", LongPrompt(), "--kv-cache-size", "200KiB"}, 2, "2048"},
        ArgumentCase{
            {"generate", "-q", "--prompt", std::string(200, '7'), "--kv-cache-size", "200KiB"},
            2,
            "at least 638976 bytes"},
        ArgumentCase{Generate({"--kv-cache-size", "100TB"}), 6, "give it at most"},
        ArgumentCase{Generate({"--block-size", "0"}), 2, "--block-size"},
        ArgumentCase{Generate({"--threads", "-1"}), 2, "--threads"},
        ArgumentCase{Generate({"--kv-cache-size", "lots"}), 2, "lots"},
        ArgumentCase{Generate({"--attention-backend", "fastest"}), 3, "reference"},
        ArgumentCase{{"generate", "-q", "--prompt", LongPrompt()}, 2, "2048"},
        ArgumentCase{{"generate", "-q", "--prompt-file", "/no/such/file"}, 3, "/no/such/file"},
        ArgumentCase{{"generate", "-q", "--prompt-file", "/"}, 2, "directory"},
        ArgumentCase{
            {"generate", "-q", "--prompt", "x", "--model", "/no/such/model"}, 3, "/no/such/model"},
        ArgumentCase{{"eval", "-q", "--prompts", "/no/such/file"}, 3, "/no/such/file"},
        ArgumentCase{{"eval", "-q", "--num-fewshot", "-1"}, 2, "--num-fewshot"},
        ArgumentCase{{"eval", "-q", "--json", "/no/such/file"}, 7, "/no/such/file"},
        ArgumentCase{
            {"eval", "-q", "--tests", SourceDirectory() + "/models/tiny-math/data/test.jsonl"},
            2,
            "--shots"},
        ArgumentCase{{"verify", "--golden", "/no/such/file"}, 3, "/no/such/file"}));

struct ModelCase {
  std::string name;
  std::string file;  // of the model directory
  // The file's new content from the old one; none: the file is missing.
  std::function<std::string(std::string)> change;
  int exit_code;
  std::string part;
};

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

std::function<std::string(std::string)> Replace(const std::string& from, const std::string& to) {
  return [=](std::string text) { return Replaced(std::move(text), from, to); };
}

// A directory with links to the embedded model's files.
class WeightsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    std::string name = info->name();
    std::replace(name.begin(), name.end(), '/', '-');
    directory_ = fs::temp_directory_path() / ("tessera-" + name + "-" + std::to_string(getpid()));
    fs::remove_all(directory_);
    fs::create_directory(directory_);
    for (const auto& entry : fs::directory_iterator(SourceDirectory() + "/models/tiny-math")) {
      if (entry.is_regular_file()) {
        fs::create_symlink(fs::absolute(entry.path()), directory_ / entry.path().filename());
      }
    }
  }
  void TearDown() override { fs::remove_all(directory_); }

  fs::path directory_;
};

class ModelTest : public WeightsTest, public ::testing::WithParamInterface<ModelCase> {};

TEST_P(ModelTest, IsRefusedInOneSentence) {
  const ModelCase& c = GetParam();
  const std::string path = (directory_ / c.file).string();
  const std::string old = ReadFile(path);
  fs::remove(path);
  if (c.change) WriteFile(path, c.change(old));
  ExpectRefusal(RunProgram(Generate({"--model", directory_.string(), "--max-tokens", "1"})),
                c.exit_code, c.part);
}

INSTANTIATE_TEST_SUITE_P(
    All, ModelTest,
    ::testing::Values(
        ModelCase{"NoConfig", "config.json", nullptr, 3, "config.json"},
        ModelCase{"EmptyConfig", "config.json", [](const std::string&) { return ""; }, 4,
                  "config.json"},
        ModelCase{"BrokenConfig", "config.json",
                  [](const std::string& text) { return text.substr(0, text.size() / 2); }, 4,
                  "config.json"},
        ModelCase{"UnknownArchitecture", "config.json",
                  Replace("LlamaForCausalLM", "MambaForCausalLM"), 5, "MambaForCausalLM"},
        ModelCase{"HugeVocabulary", "config.json",
                  Replace("\"vocab_size\": 2048", "\"vocab_size\": 9223372036854775807"), 2,
                  "vocab_size"},
        ModelCase{"NoHeads", "config.json",
                  Replace("\"num_attention_heads\": 8", "\"num_attention_heads\": 0"), 2,
                  "num_attention_heads"},
        ModelCase{"OddGroups", "config.json",
                  Replace("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3"), 2,
                  "num_key_value_heads"},
        ModelCase{"TooManyLayers", "config.json",
                  Replace("\"num_hidden_layers\": 6", "\"num_hidden_layers\": 7"), 3, "layers.6"},
        ModelCase{"NoWeights", "model.safetensors", nullptr, 3, "safetensors"},
        ModelCase{"EmptyWeights", "model.safetensors", [](const std::string&) { return ""; }, 4,
                  "model.safetensors"},
        ModelCase{"TruncatedWeights", "model.safetensors",
                  [](const std::string& bytes) { return bytes.substr(0, 1000000); }, 4,
                  "model.safetensors"},
        ModelCase{"HugeHeader", "model.safetensors",
                  [](std::string bytes) {
                    return bytes.replace(0, 8, "\xff\xff\xff\xff\xff\xff\xff\x7f");
                  },
                  4, "model.safetensors"},
        ModelCase{"NoTokenizer", "tokenizer.json", nullptr, 3, "tokenizer.json"},
        ModelCase{"BrokenTokenizer", "tokenizer.json",
                  [](const std::string& text) { return text.substr(0, 5000); }, 4,
                  "tokenizer.json"}),
    [](const auto& test) { return test.param.name; });

TEST_F(WeightsTest, ABrokenChatTemplateIsNamed) {
  const std::string path = (directory_ / "tokenizer_config.json").string();
  fs::remove(path);
  WriteFile(path, "{\"chat_template\": \"{% for x in %}\"}");
  ExpectRefusal(RunProgram(Generate({"--chat", "--model", directory_.string()})), 4,
                "chat template");
}

TEST_F(WeightsTest, LargerThanMemoryAreRefusedWithBothNumbers) {
  constexpr int64_t kBytes = int64_t{1} << 42;
  std::string header = "{\"x\":{\"dtype\":\"BF16\",\"shape\":[" + std::to_string(kBytes / 2) +
                       "],\"data_offsets\":[0," + std::to_string(kBytes) + "]}}";
  const uint64_t size = header.size();
  for (int i = 7; i >= 0; --i) {
    header.insert(header.begin(), static_cast<char>(size >> (8 * i)));
  }
  const fs::path path = directory_ / "model.safetensors";
  fs::remove(path);
  WriteFile(path.string(), header);
  std::error_code error;
  fs::resize_file(path, header.size() + static_cast<uint64_t>(kBytes), error);  // sparse
  ASSERT_FALSE(error) << "the temporary folder must take a sparse file of 4 TiB: "
                      << error.message();
  ExpectRefusal(RunProgram(Generate({"--model", directory_.string()})), 6, "4398046511104 bytes");
}

TEST(ProblemFileTest, BrokenLinesAreNamed) {
  const std::string path =
      (fs::temp_directory_path() / ("tessera-problems-" + std::to_string(getpid()))).string();
  WriteFile(path, "{\"prompt\": \"p\", \"gold\": \"1\"}\n{\"prompt\": 3}\n");
  ExpectRefusal(RunProgram({"eval", "-q", "--prompts", path}), 4, "line 2");
  fs::remove(path);
}

}  // namespace
