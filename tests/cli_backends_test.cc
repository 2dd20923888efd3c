// `tessera backends`, and the choice of backends by the other commands.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "program.h"

namespace tessera {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

std::string SourcePath(const std::string& path) { return SourceDirectory() + "/" + path; }

std::string Plugin() {
  return std::string(std::getenv("TESSERA_PLUGINS")) + "/libnaive_backend.so";
}

TEST(CliBackendsTest, ThePageHoldsTheMatrixOfThisBuild) {
  std::ifstream file(SourcePath("docs/backends.md"));
  const std::string page((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const std::string begin = "<!-- matrix -->\n";
  const size_t first = page.find(begin);
  ASSERT_NE(first, std::string::npos);
  const size_t end = page.find("<!-- end of matrix -->", first);
  ASSERT_NE(end, std::string::npos);
  const auto matrix = RunProgram({"backends", "--matrix"});
  ASSERT_EQ(matrix.exit_code, 0) << matrix.errors;
  EXPECT_EQ(page.substr(first + begin.size(), end - first - begin.size()), matrix.output)
      << "scripts/update_backend_matrix.sh rewrites the table";
}

TEST(CliBackendsTest, ExplainNamesEveryCandidateOfEveryKindOfLayer) {
  const std::string model = SourcePath("tests/goldens/mistral_swa");
  const auto text = RunProgram({"backends", "--explain", "--model", model, "--attention-backend",
                                "sliding/decode=reference,portable"});
  ASSERT_EQ(text.exit_code, 0) << text.errors;
  EXPECT_THAT(text.output, HasSubstr("sliding attention"));
  EXPECT_THAT(text.output, HasSubstr("chosen for prefill"));
  EXPECT_THAT(text.output, HasSubstr("chosen for decode"));

  const auto result = RunProgram({"backends", "--explain", "--json", "--model", model});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  const json kinds = json::parse(result.output);
  ASSERT_EQ(kinds.size(), 1u);
  EXPECT_EQ(kinds[0]["kind"], "sliding");
  EXPECT_EQ(kinds[0]["prefill"], kinds[0]["decode"]);
  EXPECT_EQ(kinds[0]["candidates"][0]["name"], kinds[0]["prefill"]);
  ASSERT_GE(kinds[0]["candidates"].size(), 2u);
  for (const json& candidate : kinds[0]["candidates"]) {
    if (candidate["usable"].get<bool>()) {
      EXPECT_GT(candidate["decode_ns_per_key"], 0.0) << candidate;
    } else {
      EXPECT_FALSE(candidate["reasons"].empty()) << candidate;
    }
  }
}

TEST(CliBackendsTest, AnswersDoNotDependOnTheChoice) {
  const auto generate = [](const std::vector<std::string>& more,
                           const std::vector<std::string>& environment) {
    std::vector<std::string> arguments = {
        "generate",
        "--dtype",
        "float32",
        "--max-tokens",
        "40",
        "--prompt",
        "Question: Ada has 3 pears. Ada buys 4 more. How many pears does Ada have?\nAnswer:"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const auto result = RunProgram(arguments, "", environment);
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    return result;
  };
  const auto plain = generate({"--attention-backend", "portable"}, {});
  EXPECT_THAT(plain.output, HasSubstr("7"));
  EXPECT_THAT(plain.errors, HasSubstr("attention  portable | "));

  const auto phases = generate({"--attention-backend", "prefill=portable,decode=reference"}, {});
  EXPECT_EQ(phases.output, plain.output);
  EXPECT_THAT(phases.errors, HasSubstr("prefill: portable | "));
  EXPECT_THAT(phases.errors, HasSubstr("decode: reference | "));

  const auto variable = generate(
      {}, {"TESSERA_ATTENTION_BACKEND=reference,prefill=portable", "VLLM_BATCH_INVARIANT=1"});
  EXPECT_EQ(variable.output, plain.output);
  EXPECT_THAT(variable.errors, HasSubstr("decode: reference | "));
  EXPECT_THAT(variable.errors, HasSubstr("VLLM_BATCH_INVARIANT has no effect"));

  const auto plugin =
      generate({"--attention-plugin", Plugin(), "--attention-backend", "naive"}, {});
  EXPECT_EQ(plugin.output, plain.output);
  EXPECT_THAT(plugin.errors, HasSubstr("attention  naive | "));
}

TEST(CliBackendsTest, WrongChoicesAreRefusedAtOnce) {
  const struct {
    std::vector<std::string> arguments;
    int exit_code;
    const char* message;
  } cases[] = {
      {{"--attention-backend", "decod=portable"}, 2, "begins with no phase"},
      {{"--attention-backend", "decode=flash"}, 3, "'flash' is unknown to this build"},
      {{"--attention-backend", "portable,decode=reference", "--batch-invariant"},
       5,
       "batch invariance needs one backend"},
      {{"--attention-plugin", "/no/such/plugin.so"}, 3, "there is no file /no/such/plugin.so"},
      {{"--attention-plugin", SourcePath("README.md")}, 4, "cannot be loaded"},
      {{"--attention-plugin", Plugin(), "--attention-plugin", Plugin()},
       2,
       "two attention plugins"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.message);
    std::vector<std::string> arguments = {"generate", "--prompt", "Question:"};
    arguments.insert(arguments.end(), c.arguments.begin(), c.arguments.end());
    const auto result = RunProgram(arguments);
    EXPECT_EQ(result.exit_code, c.exit_code) << result.errors;
    EXPECT_THAT(result.errors, HasSubstr(c.message));
  }
}

TEST(CliBackendsTest, VerifyTakesAPhaseSplit) {
  const auto result = RunProgram({"verify", "--model", SourcePath("tests/goldens/mistral_swa"),
                                  "--attention-backend", "portable,sliding/decode=reference",
                                  "--chunk", "1", "--tolerance", "2e-3"});
  EXPECT_EQ(result.exit_code, 0) << result.output << result.errors;
  EXPECT_THAT(result.output, HasSubstr("prefill=portable,decode=reference"));
}

}  // namespace
}  // namespace tessera
