// Logits against those that Hugging Face transformers recorded, for every checkpoint in
// tests/goldens, and in the directory that TESSERA_GOLDENS names.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "base/testing/source_path.h"
#include "base/testing/test_scale.h"
#include "engine/verify.h"
#include "model/config.h"
#include "tessera/registry.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> GoldenDirectories() {
  std::vector<std::string> found;
  const char* more = std::getenv("TESSERA_GOLDENS");
  for (const fs::path& parent :
       {fs::path(testing::SourcePath("tests/goldens")), fs::path(more != nullptr ? more : "")}) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(parent, ignored)) {
      const std::string path = entry.path().string();
      if (!fs::exists(entry.path() / "golden.safetensors")) continue;
      const auto config = LoadModelConfig(path);
      if (config.ok() || config.error().code != ErrorCode::kUnsupported) found.push_back(path);
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

struct Mode {
  const char* name;
  const char* device;
  int32_t chunk;
  int32_t companions;
  int32_t block_size;
  int threads;
};

void PrintTo(const Mode& mode, std::ostream* out) { *out << mode.name; }

class Golden : public ::testing::TestWithParam<std::tuple<std::string, Mode>> {};

TEST_P(Golden, EveryLogitAgrees) {
  const auto& [backend, mode] = GetParam();
  std::vector<std::string> directories = GoldenDirectories();
  ASSERT_GE(directories.size(), 4u) << "tests/goldens must be readable";
  directories.resize(
      static_cast<size_t>(testing::Scaled(static_cast<int64_t>(directories.size()))));
  for (const std::string& directory : directories) {
    SCOPED_TRACE(directory);
    VerifyOptions options;
    options.model_dir = directory;
    options.backend = backend;
    options.device = mode.device;
    options.chunk = mode.chunk;
    options.companions = mode.companions;
    options.block_size = mode.block_size;
    options.threads = mode.threads;
    const Result<LogitsReport> report = VerifyGolden(options);
    ASSERT_TRUE(report.ok()) << report.error().message;
    EXPECT_EQ(report->backend, backend);
    EXPECT_EQ(report->rows, 2 * 96);
    EXPECT_EQ(report->count, 2 * 96 * 320);
    // tests/goldens/README.md says where these come from.
    const bool large_logits = fs::path(directory).filename() == "llama_tied_bias";
    EXPECT_LE(report->max_error, large_logits ? 1e-2 : 2e-3);
    EXPECT_LE(report->mean_error, large_logits ? 1e-3 : 1e-4);
    EXPECT_GE(report->argmax_matches, 191);
  }
}

// The backends that work on this machine.
std::vector<std::string> UsableBackends() {
  std::vector<std::string> names;
  for (const BackendEntry& entry : BackendEntries()) {
    if (entry.probe(DetectCpu()).ok()) names.push_back(entry.name);
  }
  return names;
}

INSTANTIATE_TEST_SUITE_P(
    All, Golden,
    ::testing::Combine(::testing::ValuesIn(UsableBackends()),
                       ::testing::Values(Mode{"whole", "cpu", 0, 0, 16, 2},
                                         Mode{"chunks", "cpu", 7, 0, 5, 2},
                                         Mode{"single_tokens", "cpu", 1, 0, 16, 1},
                                         Mode{"whole_among_others", "cpu", 0, 9, 16, 2},
                                         Mode{"chunks_among_others", "cpu", 7, 9, 3, 2},
                                         Mode{"single_tokens_among_others", "cpu", 1, 9, 1, 2},
                                         Mode{"chunks_among_others_fenced", "fenced", 7, 9, 3, 2},
                                         Mode{"single_tokens_fenced", "fenced", 1, 0, 16, 1})),
    [](const auto& test) { return std::get<0>(test.param) + "_" + std::get<1>(test.param).name; });

// Coarser arithmetic stays near: the record's logits have a standard deviation of about 0.6.
TEST(GoldenInBFloat16, StaysNear) {
  for (const std::string& directory : GoldenDirectories()) {
    SCOPED_TRACE(directory);
    VerifyOptions options;
    options.model_dir = directory;
    options.dtype = DType::kBFloat16;
    const Result<LogitsReport> report = VerifyGolden(options);
    ASSERT_TRUE(report.ok()) << report.error().message;
    EXPECT_LE(report->mean_error, 0.05);
  }
}

TEST(VerifyGolden, SaysWhatIsWrong) {
  const std::vector<std::string> directories = GoldenDirectories();
  ASSERT_FALSE(directories.empty());
  VerifyOptions options;
  options.model_dir = directories.front();
  options.golden_path = directories.front() + "/model.safetensors";
  auto report = VerifyGolden(options);
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.error().message.find("input_ids"), std::string::npos) << report.error().message;
  options.golden_path = directories.front() + "/absent.safetensors";
  EXPECT_FALSE(VerifyGolden(options).ok());
  options.model_dir = "/nonexistent";
  EXPECT_FALSE(VerifyGolden(options).ok());
  options.backend = "nonexistent";
  EXPECT_FALSE(VerifyGolden(options).ok());
}

}  // namespace
}  // namespace tessera
