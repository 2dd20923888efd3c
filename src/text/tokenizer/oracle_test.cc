// Against the recorded answers of Hugging Face's `tokenizers` (tests/oracles/record_tokenizers.py).

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/testing/source_path.h"
#include "base/testing/test_scale.h"
#include "text/tokenizer/regex.h"
#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/unicode.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Ids = std::vector<int32_t>;

fs::path TestData() { return testing::SourcePath("src/text/tokenizer/testdata"); }

std::string ReadFile(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string FromHex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

std::string StreamDecode(const Tokenizer& tokenizer, const Ids& ids, bool skip_special_tokens) {
  Tokenizer::StreamDecoder decoder(&tokenizer, skip_special_tokens);
  std::string all;
  for (const int32_t id : ids) {
    const std::string text = decoder.Append(id);
    EXPECT_TRUE(tokenization::IsValidUtf8(text));
    all += text;
  }
  return all + decoder.Finish();
}

void CheckDecode(const Tokenizer& tokenizer, const json& row) {
  const Ids ids = row["ids"].get<Ids>();
  const std::string decoded = row["decoded"];
  const std::string kept = row.value("kept", decoded);
  EXPECT_EQ(tokenizer.Decode(ids), decoded) << row;
  EXPECT_EQ(tokenizer.Decode(ids, false), kept) << row;
  EXPECT_EQ(StreamDecode(tokenizer, ids, true), decoded) << row;
  EXPECT_EQ(StreamDecode(tokenizer, ids, false), kept) << row;
}

class OracleTest : public ::testing::TestWithParam<std::string> {
 protected:
  static std::unique_ptr<Tokenizer> LoadTokenizer() {
    const fs::path own = TestData() / (GetParam() + ".tokenizer.json");
    auto tokenizer = fs::exists(own) ? Tokenizer::Parse(ReadFile(own))
                                     : Tokenizer::Load(testing::SourcePath("models/" + GetParam()));
    if (!tokenizer.ok()) {
      ADD_FAILURE() << tokenizer.error().message;
      return nullptr;
    }
    return std::move(*tokenizer);
  }
};

TEST_P(OracleTest, EncodesAndDecodesAlike) {
  const auto tokenizer = LoadTokenizer();
  ASSERT_TRUE(tokenizer);
  const json cases = json::parse(ReadFile(TestData() / (GetParam() + ".cases.json")));
  ASSERT_GT(cases.size(), 50u);
  for (const json& row : cases) {
    const std::string text =
        row.contains("bytes") ? FromHex(row["bytes"]) : row["text"].get<std::string>();
    const Ids ids = row["ids"].get<Ids>();
    EXPECT_EQ(tokenizer->Encode(text), ids) << row;
    EXPECT_EQ(tokenizer->Encode(text, false), row.value("plain", ids)) << row;
    CheckDecode(*tokenizer, row);
  }
}

TEST_P(OracleTest, DecodesAnyIdsAlike) {
  const auto tokenizer = LoadTokenizer();
  ASSERT_TRUE(tokenizer);
  const json rows = json::parse(ReadFile(TestData() / (GetParam() + ".decode.json")));
  for (const json& row : rows) CheckDecode(*tokenizer, row);
}

std::vector<std::string> Names() {
  constexpr std::string_view kSuffix = ".cases.json";
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(TestData(), error)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(kSuffix)) names.push_back(name.substr(0, name.size() - kSuffix.size()));
  }
  std::sort(names.begin(), names.end());
  return names;
}

INSTANTIATE_TEST_SUITE_P(Recorded, OracleTest, ::testing::ValuesIn(Names()), [](const auto& test) {
  std::string name = test.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

// Only characters that the Unicode version of PCRE2 here does not know may differ.
TEST(RegexOracleTest, ClassesMatchTheSameCharacters) {
  // Under a sanitizer all of the first characters, and of the others a share that changes from
  // pattern to pattern.
  const auto stride = static_cast<uint32_t>(1000 / testing::Scaled(1000));
  uint32_t first = 0;  // skipped at the beginning
  for (const json& row : json::parse(ReadFile(TestData() / "regex.json"))) {
    const std::string pattern = row["pattern"];
    auto regex = tokenization::Regex::Oniguruma(pattern);
    ASSERT_TRUE(regex.ok()) << regex.error().message;
    std::vector<bool> expected(0x110000, false);
    for (const json& range : row["ranges"]) {
      for (size_t c = range[0]; c <= range[1]; ++c) expected[c] = true;
    }
    auto unassigned = tokenization::Regex::Oniguruma("\\p{Cn}");
    ASSERT_TRUE(unassigned.ok());
    std::vector<uint32_t> different;
    for (uint32_t c = first++ % stride; c < 0x110000; c += c < 0x300 ? 1 : stride) {
      if (c >= 0xD800 && c < 0xE000) continue;
      std::string text;
      tokenization::AppendUtf8(c, &text);
      size_t begin = 0;
      size_t end = 0;
      const bool matches = tokenization::Regex::Matches(*regex, text).Next(&begin, &end);
      const bool newer = tokenization::Regex::Matches(*unassigned, text).Next(&begin, &end);
      if (matches != expected[c] && !newer) different.push_back(c);
    }
    if (different.empty()) continue;
    ADD_FAILURE() << pattern << ": " << different.size() << " characters, the first U+" << std::hex
                  << different.front() << ", the last U+" << different.back();
  }
}

}  // namespace
}  // namespace tessera
