// Publishers' templates, which are not part of this project, against what Python's jinja2 made of
// them. TESSERA_CHAT_TEMPLATES names the directory that holds them; only the lengths and hashes of
// the expected renderings are recorded here. TESSERA_CHAT_TEMPLATES_RECORDED may name the file of
// full renderings, to show where a difference begins.
#include <gtest/gtest.h>
#include <xxhash.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "base/testing/source_path.h"
#include "text/chat/chat_template.h"
#include "text/chat/testing/fixed_clock.h"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

std::string ReadText(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string Digest(const std::string& text) {
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  char hex[40];
  std::snprintf(hex, sizeof(hex), "%016llx%016llx", static_cast<unsigned long long>(hash.high64),
                static_cast<unsigned long long>(hash.low64));
  return std::to_string(text.size()) + " " + hex;
}

Json MakeContext(const Json& data, const Json& messages, const Json& options) {
  Json context = {{"messages", messages}, {"add_generation_prompt", false}};
  context.update(data["common"]);
  context.update(options);
  context.erase("use_tools");
  if (options.contains("use_tools")) context["tools"] = data["tools"];
  return context;
}

std::string Difference(const Json& recorded, const std::string& got) {
  if (!recorded.is_string()) return got;
  const auto& want = recorded.get_ref<const std::string&>();
  const auto at = static_cast<size_t>(
      std::mismatch(want.begin(), want.end(), got.begin(), got.end()).first - want.begin());
  const size_t from = at < 60 ? 0 : at - 60;
  return "\nwant ..." + want.substr(from, 160) + "\ngot  ..." +
         got.substr(std::min(from, got.size()), 160);
}

TEST(ChatTemplateCorpus, RendersAsJinja2) {
  const std::filesystem::path testdata = testing::SourcePath("src/text/chat/testdata");
  const char* chosen = std::getenv("TESSERA_CHAT_TEMPLATES");
  const std::filesystem::path directory =
      chosen != nullptr ? chosen : TESSERA_CHAT_TEMPLATES_DEFAULT;
  const char* recorded_path = std::getenv("TESSERA_CHAT_TEMPLATES_RECORDED");
  const Json recorded =
      recorded_path == nullptr ? Json::object() : Json::parse(ReadText(recorded_path));
  const Json data = Json::parse(ReadText(testdata / "conversations.json"));
  const Json hashes = Json::parse(ReadText(testdata / "corpus_hashes.json"));
  const RenderOptions options = testing::FixedClock();
  int templates = 0, compared = 0, equal = 0;
  for (const auto& [file, expected] : hashes.items()) {
    if (!std::filesystem::exists(directory / file)) continue;
    ++templates;
    const auto parsed = ChatTemplate::Parse(ReadText(directory / file));
    ASSERT_TRUE(parsed.ok()) << file << ": " << parsed.error().message;
    for (const auto& [name, messages] : data["messages"].items()) {
      for (const auto& [option, values] : data["options"].items()) {
        const std::string key = name + "/" + option;
        const auto rendered = (*parsed)->Render(MakeContext(data, messages, values), options);
        const std::string got = rendered.ok() ? Digest(*rendered) : "error";
        ++compared;
        const std::string want = expected[key];
        equal += got == want ? 1 : 0;
        EXPECT_EQ(got, want) << file << " " << key << ": "
                             << (rendered.ok() ? recorded.contains(file)
                                                     ? Difference(recorded[file][key], *rendered)
                                                     : *rendered
                                               : rendered.error().message);
      }
    }
  }
  if (templates == 0) {
    std::printf("The corpus of chat templates is absent; set TESSERA_CHAT_TEMPLATES to compare.\n");
    return;
  }
  std::printf("%d of %d renderings of %d templates equal those of jinja2.\n", equal, compared,
              templates);
}

}  // namespace
}  // namespace tessera
