// Demands a directed test of each pair of an instruction and its modifiers that our kernels have:
// of all listings that the build has made by now.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "device/gpu/gfx942/testing/wave_fixture.h"

namespace tessera::gfx942 {
namespace {

namespace fs = std::filesystem;

class Coverage : public ::testing::Environment {
 public:
  void TearDown() override {
    if (::testing::GTEST_FLAG(filter) != "*") return;
    std::map<std::string, std::string> untested;  // pair, an example
    int files = 0;
    for (const auto& entry : fs::recursive_directory_iterator(TESSERA_LISTINGS_UNDER)) {
      if (entry.path().extension() != ".listing") continue;
      ++files;
      std::ifstream stream(entry.path());
      for (std::string line; std::getline(stream, line);) {
        uint64_t address = 0;
        if (!AddressOf(line, &address)) continue;
        const auto parsed = ParseInstruction(line);
        ASSERT_TRUE(parsed.ok()) << parsed.error().message;
        const auto decoded = Decode(*parsed);
        ASSERT_TRUE(decoded.ok()) << decoded.error().message;
        const std::string pair = PairOf(*parsed);
        if (!TestedPairs().contains(pair)) untested.emplace(pair, std::string(parsed->text));
      }
    }
    EXPECT_GT(files, 0) << "no listing under " << TESSERA_LISTINGS_UNDER;
    for (const auto& [pair, example] : untested) {
      ADD_FAILURE() << "'" << pair << "' has no directed test: '" << example << "'";
    }
  }
};

[[maybe_unused]] const ::testing::Environment* const kCoverage =
    ::testing::AddGlobalTestEnvironment(new Coverage);

}  // namespace
}  // namespace tessera::gfx942
