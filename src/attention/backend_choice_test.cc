#include "attention/backend_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera {
namespace {

using ::testing::HasSubstr;

struct Case {
  const char* text;
  const char* full;  // "prefill decode", with "!" at its end if they are judged apart
  const char* sliding;
};

std::string Text(const PhaseNames& names) {
  return names.prefill + " " + names.decode + (names.apart ? " !" : "");
}

TEST(BackendChoice, TheMostSpecificItemCounts) {
  const Case cases[] = {
      {"auto", "auto auto", "auto auto"},
      {"portable", "portable portable", "portable portable"},
      {"decode=x86", "auto x86 !", "auto x86 !"},
      {"portable,decode=x86", "portable x86 !", "portable x86 !"},
      {"decode=x86,prefill=portable,sliding=reference", "portable x86 !", "reference reference"},
      {"sliding=reference,decode=x86,prefill=portable", "portable x86 !", "reference reference"},
      {"full=reference", "reference reference", "auto auto"},
      {"a,full=b,decode=c,full/decode=d", "b d !", "a c !"},
      {"x86,sliding/prefill=portable", "x86 x86", "portable x86 !"},
      {"sliding=a,sliding/decode=b,decode=c", "auto c !", "a b !"},
      {" decode = x86 ,\tportable ", "portable x86 !", "portable x86 !"},
      {"prefill=auto,decode=auto", "auto auto !", "auto auto !"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.text);
    const auto choice = BackendChoice::Parse(c.text, "test");
    ASSERT_TRUE(choice.ok()) << choice.error().message;
    EXPECT_EQ(Text(choice->For(LayerKind::kFull)), c.full);
    EXPECT_EQ(Text(choice->For(LayerKind::kSliding)), c.sliding);
  }
}

TEST(BackendChoice, RefusesWhatItCannotRead) {
  const struct {
    const char* text;
    const char* message;
  } cases[] = {
      {"", "an item names no backend"},
      {",", "an item names no backend"},
      {"portable,", "an item names no backend"},
      {"decode=", "'decode=' names no backend"},
      {"=x86", "'=x86' begins with no phase"},
      {"decod=x86", "'decod=x86' begins with no phase (prefill, decode)"},
      {"decode/full=x86", "'decode/full=x86' begins with no phase"},
      {"full/=x86", "begins with no phase"},
      {"decode=a,decode=b", "'decode=b' names what an earlier item has named"},
      {"a,b", "'b' is a second name"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const auto choice = BackendChoice::Parse(c.text, "TESSERA_ATTENTION_BACKEND");
    ASSERT_FALSE(choice.ok());
    EXPECT_EQ(choice.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(choice.error().message, HasSubstr("TESSERA_ATTENTION_BACKEND '"));
    EXPECT_THAT(choice.error().message, HasSubstr(c.message));
  }
}

TEST(BackendChoice, KindsOfLayers) {
  AttentionSpec spec;
  EXPECT_EQ(KindOf(spec), LayerKind::kFull);
  spec.window_left = 0;
  EXPECT_EQ(KindOf(spec), LayerKind::kSliding);
  spec = {};
  spec.window_right = 3;
  EXPECT_EQ(KindOf(spec), LayerKind::kSliding);
  spec = {};
  spec.chunk_size = 64;
  EXPECT_EQ(KindOf(spec), LayerKind::kSliding);
  EXPECT_STREQ(ToString(LayerKind::kSliding), "sliding");
}

}  // namespace
}  // namespace tessera
