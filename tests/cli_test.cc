// The commands from end to end, on the embedded model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "program.h"

namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

const char* const kQuestion =
    "Question: Quinn has 27 ribbons. Quinn finds another 18. How many ribbons does Quinn have "
    "now?\nAnswer:";

TEST(CliTest, HelpNamesGroupsDefaultsVariablesAndExitCodes) {
  const auto top = RunProgram({"--help"});
  EXPECT_EQ(top.exit_code, 0);
  for (const char* part :
       {"generate", "chat", "serve", "eval", "verify", "backends", "doctor", "130 interrupted"}) {
    EXPECT_THAT(top.output, HasSubstr(part));
  }
  const auto help = RunProgram({"generate", "--help"});
  EXPECT_EQ(help.exit_code, 0);
  for (const char* part : {"Model:", "Attention:", "Engine:", "Sampling:", "TESSERA_MODEL",
                           "TESSERA_ATTENTION_BACKEND", "TYPE=bfloat16", "--temperature"}) {
    EXPECT_THAT(help.output, HasSubstr(part));
  }
  EXPECT_EQ(RunProgram({}).exit_code, 2);
}

TEST(CliTest, Version) {
  const auto result = RunProgram({"--version"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.output, HasSubstr("tessera 0."));
}

TEST(CliTest, GenerateStreamsTextAndReportsOnStderr) {
  const auto result = RunProgram({"generate", "--prompt", kQuestion, "--stop", "Question:"});
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_THAT(result.output, HasSubstr("#### 45"));
  EXPECT_THAT(result.output, Not(HasSubstr("Question:")));
  EXPECT_THAT(result.errors, HasSubstr("attention"));
  EXPECT_THAT(result.errors, HasSubstr("prompt tokens"));
}

TEST(CliTest, GenerateReadsStandardInputAndWritesJson) {
  const auto result = RunProgram({"generate", "--prompt-file", "-", "--json", "--logprobs", "2",
                                  "--max-tokens", "5", "--ignore-eos"},
                                 kQuestion);
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  const json answer = json::parse(result.output);
  EXPECT_EQ(answer["finish_reason"], "length");
  EXPECT_EQ(answer["output_tokens"], 5);
  EXPECT_EQ(answer["tokens"].size(), 5u);
  ASSERT_EQ(answer["logprobs"].size(), 5u);
  EXPECT_EQ(answer["logprobs"][0]["rank"], 1);
  EXPECT_LE(answer["logprobs"][0]["logprob"], 0.0);
}

TEST(CliTest, SameSeedSameAnswer) {
  const auto run = [](const char* seed) {
    const auto result =
        RunProgram({"generate", "-q", "--prompt", "Question:", "--temperature", "1.5", "--top-p",
                    "0.95", "--seed", seed, "--max-tokens", "30"});
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    EXPECT_EQ(result.errors, "");
    return result.output;
  };
  EXPECT_EQ(run("7"), run("7"));
  EXPECT_NE(run("7"), run("8"));
}

TEST(CliTest, GenerateWithAndWithoutRunningAheadGivesTheSameAnswer) {
  std::vector<std::string> outputs;
  for (const char* const run_ahead : {"off", "on"}) {
    const auto result =
        RunProgram({"generate", "-q", "--json", "--logprobs", "2", "--max-tokens", "40",
                    "--ignore-eos", "--run-ahead", run_ahead, "--prompt", kQuestion});
    ASSERT_EQ(result.exit_code, 0) << result.errors;
    json answer = json::parse(result.output);
    EXPECT_EQ(answer["output_tokens"], 40);
    outputs.push_back((answer["tokens"].dump() + answer["logprobs"].dump()));
  }
  EXPECT_EQ(outputs[0], outputs[1]);
  const auto unknown = RunProgram({"generate", "--run-ahead", "often", "--prompt", kQuestion});
  EXPECT_EQ(unknown.exit_code, 2);
}

TEST(CliTest, ChatKeepsAConversationThroughAPipe) {
  const auto result = RunProgram({"chat", "-q"},
                                 "Ada has 3 pears. Ada buys 4 more. How many pears does Ada have?\n"
                                 "/reset\n/nonsense\n\n/exit\nnever read\n");
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_THAT(result.output, HasSubstr("####"));
  EXPECT_THAT(result.errors, HasSubstr("/nonsense"));
}

TEST(CliTest, BackendsAndDoctorSpeakJson) {
  const auto backends = RunProgram({"backends", "--json"});
  ASSERT_EQ(backends.exit_code, 0) << backends.errors;
  const json devices = json::parse(backends.output);
  ASSERT_GE(devices.size(), 1u);
  EXPECT_EQ(devices[0]["device"], "cpu");
  std::vector<std::string> usable;
  for (const json& backend : devices[0]["backends"]) {
    if (backend["usable"].get<bool>()) {
      usable.push_back(backend["name"]);
    } else {
      EXPECT_NE(backend["reason"], "") << backend["name"];
    }
  }
  EXPECT_THAT(usable, ::testing::IsSupersetOf({"portable", "reference"}));
  const json fenced = json::parse(RunProgram({"backends", "--json", "--device", "fenced"}).output);
  ASSERT_EQ(fenced.size(), 1u);
  EXPECT_EQ(fenced[0]["device"], "fenced");
  EXPECT_EQ(fenced[0]["backends"].size(), devices[0]["backends"].size());
  const auto table = RunProgram({"backends", "--reasons"});
  EXPECT_EQ(table.exit_code, 0);
  EXPECT_THAT(table.output, HasSubstr("usable on cpu"));
  // The table's heading: the devices that a backend is usable on, and below them their backends.
  std::vector<std::string> heading;
  std::istringstream lines(table.output);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(std::string(28, ' '))) heading.push_back(line);
  }
  ASSERT_EQ(heading.size(), 2u) << table.output;
  for (const json& device : devices) {
    const json& of_device = device["backends"];
    if (std::none_of(of_device.begin(), of_device.end(),
                     [](const json& backend) { return backend["usable"].get<bool>(); })) {
      continue;  // a build without kernels for it
    }
    const size_t column = heading[0].find(" " + device["device"].get<std::string>());
    ASSERT_NE(column, std::string::npos) << heading[0];
    EXPECT_NE(heading[1].find("portable", column), std::string::npos) << heading[1];
  }
  EXPECT_THAT(RunProgram({"backends", "--device", "gpu"}).errors, HasSubstr("no device 'gpu'"));
  EXPECT_THAT(RunProgram({"backends", "--explain"}).output, HasSubstr("portable"));

  const auto doctor = RunProgram({"doctor", "--json"}, "", {"TESSERA_MODLE=x"});
  ASSERT_EQ(doctor.exit_code, 0) << doctor.errors;
  const json facts = json::parse(doctor.output);
  EXPECT_GT(facts["memory_bytes"], 0);
  EXPECT_GT(facts["read_gigabytes_per_second"], 0.0);
  EXPECT_THAT(facts["warnings"].dump(), HasSubstr("TESSERA_MODEL is probably meant"));
  ASSERT_EQ(facts["gpus"].size(), 2u);
  EXPECT_EQ(facts["gpus"][0]["maker"], "NVIDIA");
  const auto text = RunProgram({"doctor"});
  EXPECT_EQ(text.exit_code, 0);
  EXPECT_THAT(text.output, HasSubstr("gpu          AMD: "));
}

TEST(CliTest, VerifySaysWhatIsBeyondTheToleranceAndWhatToDo) {
  const std::string golden = SourceDirectory() + "/tests/goldens/llama_tied_bias";
  const auto strict = RunProgram({"verify", "--model", golden});
  EXPECT_EQ(strict.exit_code, 1) << strict.errors;
  EXPECT_THAT(strict.output, HasSubstr("the tolerance of 0.001, the default for float32"));
  EXPECT_THAT(strict.output, HasSubstr("set --tolerance above the largest error"));
  EXPECT_THAT(strict.output, HasSubstr("\nlargest error "));
  EXPECT_THAT(strict.output, ::testing::EndsWith("(beyond 1.000e-03)\n"));
  const auto loose = RunProgram({"verify", "--model", golden, "--tolerance", "1e-2"});
  EXPECT_EQ(loose.exit_code, 0) << loose.output;
  EXPECT_THAT(loose.output, HasSubstr("(within "));
}

// Every usable backend solves the same problems with the same words as the reference run.
TEST(CliTest, EvalGivesTheReferenceAnswersOnEveryBackend) {
  const std::string file =
      (std::filesystem::temp_directory_path() / ("tessera-eval-" + std::to_string(getpid())))
          .string();
  const auto result = RunProgram({"eval", "--attention-backend", "all", "--limit", "2", "--json",
                                  file, "--show", "1", "--answers", file + ".jsonl"});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_THAT(result.output, HasSubstr("flexible-extract"));
  const json scores = json::parse(ReadFile(file));
  ASSERT_GE(scores["backends"].size(), 2u);
  for (const json& backend : scores["backends"]) {
    EXPECT_EQ(backend["items"], 2);
    EXPECT_EQ(backend["identical_to_reference"], 2) << backend["name"];
    EXPECT_EQ(backend["identical_to_first"], 2) << backend["name"];
    EXPECT_TRUE(backend.contains("stderr"));
  }
  std::istringstream answers(ReadFile(file + ".jsonl"));
  size_t lines = 0;
  for (std::string line; std::getline(answers, line); ++lines) {
    EXPECT_TRUE(json::parse(line)["completion"].is_string());
  }
  EXPECT_EQ(lines, 2 * scores["backends"].size());

  std::ofstream(file) << R"({"question": "Ada has 2 pears.", "answer": "#### 987654"})"
                      << "\n";
  EXPECT_EQ(RunProgram({"eval", "-q", "--attention-backend", "reference", "--tests", file,
                        "--num-fewshot", "0", "--min-score", "1"})
                .exit_code,
            1)
      << "nobody can know this answer";
  std::filesystem::remove(file);
  std::filesystem::remove(file + ".jsonl");
}

}  // namespace
