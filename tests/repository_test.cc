// Rules that hold for the whole source tree: see docs/architecture.md.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxLines = 600;

fs::path Root() {
  const char* root = std::getenv("TESSERA_SOURCE_DIR");
  return root != nullptr ? root : ".";
}

struct SourceFile {
  std::string path;  // from the root, with '/'
  std::vector<std::string> lines;
};

std::vector<SourceFile> ReadFiles(const std::vector<std::string>& folders,
                                  const std::vector<std::string>& extensions) {
  std::vector<SourceFile> files;
  for (const std::string& folder : folders) {
    if (!fs::exists(Root() / folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(Root() / folder)) {
      const std::string extension = entry.path().extension().string();
      if (!entry.is_regular_file() ||
          std::find(extensions.begin(), extensions.end(), extension) == extensions.end()) {
        continue;
      }
      SourceFile file{fs::relative(entry.path(), Root()).generic_string(), {}};
      std::ifstream stream(entry.path());
      for (std::string line; std::getline(stream, line);) file.lines.push_back(line);
      files.push_back(std::move(file));
    }
  }
  EXPECT_FALSE(files.empty());
  return files;
}

std::string Where(const SourceFile& file, size_t line) {
  return file.path + ":" + std::to_string(line + 1) + ": " + file.lines[line];
}

bool IsBelow(const std::string& path, const std::string& folder) {
  return path.starts_with(folder + "/");
}

// Of code, device code included.
const std::vector<std::string> kSources = {".h", ".cc", ".inl", ".cu", ".cuh", ".hip", ".S", ".in"};

TEST(RepositoryTest, PlatformsStandOnlyWhereTheyBelong) {
  const std::vector<std::string> allowed = {"src/device", "src/ops", "src/attention/kernel",
                                            "src/attention/backends"};
  const std::regex platform(
      R"((#\s*include\s*[<"](\w+intrin\.h|cpuid\.h|arm_\w+\.h|hwy/|cuda|cublas|hip|hsa))"
      R"(|#\s*include\s*[<"](nccl|rccl|mpi\.h|sycl|level_zero))"
      R"(|\b__(AVX|SSE|AMX|FMA|F16C|BMI|ARM|CUDA|HIP|AMDGCN|gfx|NVPTX|riscv|powerpc)\w*)"
      R"(|\b__(x86_64|i386|amd64|aarch64|arm)\w*|\b_M_(X64|ARM64|IX86)\b|\b__builtin_(ia32|cpu)_)"
      R"(|\basm\s+volatile|__attribute__\s*\(\(\s*target))");
  for (const SourceFile& file : ReadFiles({"include", "src"}, kSources)) {
    if (std::any_of(allowed.begin(), allowed.end(),
                    [&](const std::string& folder) { return IsBelow(file.path, folder); })) {
      continue;
    }
    for (size_t i = 0; i < file.lines.size(); ++i) {
      EXPECT_FALSE(std::regex_search(file.lines[i], platform)) << Where(file, i);
    }
  }
}

// A layer includes itself and the layers that it names here, and no others.
TEST(RepositoryTest, LayersIncludeOnlyWhatTheyMay) {
  const std::map<std::string, std::set<std::string>> below = {
      {"base", {}},
      {"device", {"base"}},
      {"attention", {"base", "device"}},
      {"text", {"base"}},
      {"grammar", {"base"}},
      {"ops", {"base", "device", "attention"}},
      {"model", {"base", "device", "attention", "ops"}},
      {"engine", {"base", "device", "attention", "ops", "model", "text", "grammar"}},
      {"server", {"base", "device", "attention", "model", "text", "grammar", "engine"}},
      {"cli",
       {"base", "device", "attention", "ops", "model", "text", "grammar", "engine", "server"}}};
  const std::regex include(R"re(^\s*#\s*include\s*"([^"]+)")re");
  for (const SourceFile& file : ReadFiles({"include", "src"}, kSources)) {
    const bool is_public = IsBelow(file.path, "include");
    const std::string layer =
        is_public ? "" : file.path.substr(4, file.path.find('/', 4) - 4);  // after "src/"
    ASSERT_TRUE(is_public || below.count(layer) == 1)
        << file.path << ": a folder of src that has no place in the order of layers";
    for (size_t i = 0; i < file.lines.size(); ++i) {
      std::smatch match;
      if (!std::regex_search(file.lines[i], match, include)) continue;
      const std::string target = match[1].str();
      if (target.starts_with("tessera/")) continue;
      EXPECT_FALSE(is_public) << Where(file, i) << " (installed headers need installed headers)";
      const std::string other = target.substr(0, target.find('/'));
      if (below.count(other) == 0) {  // another project's header, or a path from the wrong place
        EXPECT_FALSE(fs::exists((Root() / file.path).parent_path() / target))
            << Where(file, i) << " (includes are written from src/ or include/)";
        continue;
      }
      if (!is_public && other != layer) {
        EXPECT_TRUE(below.at(layer).contains(other)) << Where(file, i);
      }
    }
  }
}

// The reference backend and the expectation of the conformance test are two opinions on what
// attention is, beside that of the kernels: nothing that they include, at any depth, may be
// another's.
TEST(RepositoryTest, OraclesShareNothingWithKernels) {
  std::map<std::string, std::vector<std::string>> lines;  // by path below src or include
  for (SourceFile& file : ReadFiles({"include", "src"}, kSources)) {
    lines[file.path.substr(file.path.find('/') + 1)] = std::move(file.lines);
  }
  const std::string reference = "attention/backends/reference/";
  const std::string expectation = "attention/testing/";
  const std::regex include(R"re(^\s*#\s*include\s*"([^"]+)")re");
  for (const auto& [start, other] :
       {std::pair(reference + "reference_backend.cc", expectation),
        std::pair(expectation + "attention_expectation.cc", reference)}) {
    ASSERT_EQ(lines.count(start), 1u) << start;
    std::vector<std::string> open = {start};
    std::set<std::string> seen = {start};
    while (!open.empty()) {
      const std::string path = open.back();
      open.pop_back();
      EXPECT_FALSE(path.starts_with("attention/kernel/") || path.starts_with(other))
          << start << " includes " << path;
      for (const std::string& line : lines[path]) {
        std::smatch match;
        if (std::regex_search(line, match, include) && seen.insert(match[1].str()).second) {
          open.push_back(match[1].str());
        }
      }
    }
    EXPECT_GT(seen.size(), 2u) << start;
  }
}

TEST(RepositoryTest, NoFileIsTooLong) {
  const auto files =
      ReadFiles({"include", "src", "tests", "fuzz", "bench", "examples", "cmake", "scripts",
                 "python", "models"},
                {".h", ".cc", ".inl", ".cu", ".cuh", ".hip", ".S", ".cmake", ".sh", ".py", ".in"});
  for (const SourceFile& file : files) {
    EXPECT_LE(file.lines.size(), kMaxLines) << file.path;
  }
}

// But for those that Highway includes once for each instruction set, with a guard of their own.
TEST(RepositoryTest, HeadersAreIncludedOnce) {
  for (const SourceFile& file : ReadFiles({"include", "src"}, {".h"})) {
    if (file.path.ends_with("-inl.h")) continue;
    EXPECT_EQ(std::count(file.lines.begin(), file.lines.end(), "#pragma once"), 1) << file.path;
  }
}

// docs/architecture.md tells a reader how much there is to read: about so much.
TEST(RepositoryTest, TheReadingPathIsAsLongAsThePageSays) {
  FILE* const script =
      popen(("bash '" + (Root() / "scripts/reading_path.sh").string() + "'").c_str(), "r");
  ASSERT_NE(script, nullptr);
  int files = 0, lines = 0;
  const int read = std::fscanf(script, "%d files, %d lines", &files, &lines);
  EXPECT_EQ(pclose(script), 0);
  ASSERT_EQ(read, 2);
  std::ifstream stream(Root() / "docs/architecture.md");
  const std::string page((std::istreambuf_iterator<char>(stream)),
                         std::istreambuf_iterator<char>());
  std::smatch match;
  ASSERT_TRUE(std::regex_search(page, match, std::regex(R"((\d+) files and (\d+) lines)")));
  EXPECT_EQ(std::stoi(match[1].str()), files);
  EXPECT_NEAR(std::stoi(match[2].str()), lines, lines * 0.03);
}

// Paths of the machine on which something was written help nobody else.
TEST(RepositoryTest, NamesNoPlaceOfOneMachine) {
  const std::regex place(R"((^|[\s"'`(=])/(home|root|work|Users|mnt)/\w)");
  const auto files = ReadFiles({"include", "src", "tests", "fuzz", "bench", "examples", "cmake",
                                "scripts", "python", "docs", "models"},
                               {".h", ".cc", ".inl", ".cu", ".cuh", ".hip", ".S", ".cmake", ".sh",
                                ".py", ".md", ".txt", ".in"});
  for (const SourceFile& file : files) {
    for (size_t i = 0; i < file.lines.size(); ++i) {
      EXPECT_FALSE(std::regex_search(file.lines[i], place)) << Where(file, i);
    }
  }
}

}  // namespace
