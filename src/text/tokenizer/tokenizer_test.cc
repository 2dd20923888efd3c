#include "text/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "base/testing/source_path.h"
#include "base/testing/test_scale.h"

namespace tessera {
namespace {

using Ids = std::vector<int32_t>;

// A file around a model; `more` are further members of the root.
std::string File(const std::string& model, const std::string& more = "") {
  return R"({"added_tokens":[],"model":{"type":"BPE",)" + model + "}" + more + "}";
}

const char kSmall[] = R"("vocab":{"a":0,"b":1,"ab":2},"merges":["a b"])";

TEST(TokenizerTest, RefusesWhatItCannotDo) {
  std::string nested = R"({"type":"NFC"})";
  for (int i = 0; i < 40; ++i) nested = R"({"type":"Sequence","normalizers":[)" + nested + "]}";
  const struct {
    std::string file;
    std::string reason;  // part of the message
  } kCases[] = {
      {"", "not valid JSON"},
      {"[]", "JSON object"},
      {"{}", "no \"model\""},
      {std::string(100000, '['), "not valid JSON"},
      {R"({"model":{"type":"Unigram"}})", "Unigram"},
      {File(R"("vocab":{"a":-1},"merges":[])"), "id of token"},
      {File(R"("vocab":{"a":4000000000},"merges":[])"), "id of token"},
      {File(R"("vocab":{"a":1.5},"merges":[])"), "id of token"},
      {File(R"("vocab":{"a":0,"b":0},"merges":[])"), "two tokens"},
      {File(R"("vocab":{"a":0},"merges":["a b"])"), "not in the vocabulary"},
      {File(R"("vocab":{"a":0},"merges":[["a"]])"), "neither"},
      {File(R"("vocab":{"a":0},"merges":["a a a"])"), "neither"},
      {File(R"("vocab":{"a":0},"merges":[],"unk_token":"?")"), "unk_token"},
      {File(kSmall, R"(,"normalizer":{"type":"Nmt"})"), "Nmt"},
      {File(kSmall, R"(,"normalizer":)" + nested), "nested"},
      {File(kSmall, R"(,"pre_tokenizer":{"type":"UnicodeScripts"})"), "UnicodeScripts"},
      {File(kSmall, R"(,"decoder":{"type":"CTC"})"), "CTC"},
      {File(kSmall, R"(,"post_processor":{"type":"Odd"})"), "Odd"},
      {File(kSmall, R"(,"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a"},)"
                    R"("behavior":"Isolated","invert":false})"),
       "does not compile"},
      {File(kSmall, R"(,"post_processor":{"type":"TemplateProcessing","single":)"
                    R"([{"SpecialToken":{"id":"x"}},{"Sequence":{"id":"A"}}],)"
                    R"("special_tokens":{"x":{"ids":[99]}}})"),
       "no token has"},
  };
  for (const auto& test : kCases) {
    const auto tokenizer = Tokenizer::Parse(test.file);
    ASSERT_FALSE(tokenizer.ok()) << test.reason;
    EXPECT_NE(tokenizer.error().message.find(test.reason), std::string::npos)
        << tokenizer.error().message;
  }
}

TEST(TokenizerTest, ReadsNamesAndTemplates) {
  const std::string config =
      R"({"bos_token":{"content":"a"},"eos_token":"b","chat_template":)"
      R"([{"name":"tool","template":"x"},{"name":"default","template":"y"}]})";
  const auto tokenizer = Tokenizer::Parse(File(kSmall), config);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  EXPECT_EQ((*tokenizer)->bos_id(), 0);
  EXPECT_EQ((*tokenizer)->eos_id(), 1);
  EXPECT_EQ((*tokenizer)->chat_template(), "y");
  EXPECT_EQ((*tokenizer)->vocab_size(), 3);
  EXPECT_EQ((*tokenizer)->TokenBytes(99), "");
  EXPECT_EQ((*tokenizer)->Decode(Ids{-1, 99, 2}), "ab");
}

TEST(TokenizerTest, LongRunsTakeLinearTime) {
  const auto tokenizer = Tokenizer::Load(testing::TinyMathDirectory());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  for (const std::string unit : {"a", " ", "\n", "1", "!", "\xE4\xB8\xAD", "e\xCC\x81", "\xFF"}) {
    std::string text;
    for (int64_t i = testing::Scaled(200000); i > 0; --i) text += unit;
    const auto start = std::chrono::steady_clock::now();
    const Ids ids = (*tokenizer)->Encode(text, false);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    EXPECT_LT(seconds.count(), 20) << unit;
    if (unit != "\xFF") {
      EXPECT_EQ((*tokenizer)->Decode(ids), text);
    }
  }
}

}  // namespace
}  // namespace tessera
