#include "grammar/regex.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "grammar/automaton.h"
#include "grammar/constraint_spec.h"

namespace tessera {
namespace {

using ::testing::HasSubstr;

Result<std::unique_ptr<grammar::Automaton>> Compile(const std::string& pattern) {
  ConstraintSpec spec;
  spec.kind = ConstraintSpec::Kind::kRegex;
  spec.pattern = pattern;
  return CompileConstraint(spec);
}

bool Accepts(grammar::Automaton* automaton, const std::string& text) {
  grammar::StateId state = automaton->start();
  for (const char c : text) state = automaton->Next(state, static_cast<uint8_t>(c));
  return state != grammar::kDead && automaton->MayEnd(state);
}

TEST(RegexTest, WholeTexts) {
  struct Case {
    const char* pattern;
    std::vector<std::string> accepted;
    std::vector<std::string> refused;
  };
  const std::vector<Case> cases = {
      {"abc", {"abc"}, {"", "ab", "abcd", "xabc"}},
      {"^abc$", {"abc"}, {"xabc"}},
      {"a|b*|", {"", "a", "b", "bbb"}, {"ab", "c"}},
      {"(ab){2,3}", {"abab", "ababab"}, {"ab", "abababab"}},
      {"(a?){3}b", {"b", "ab", "aaab"}, {"aaaab"}},
      {"a{0}", {""}, {"a"}},
      {"[a-c-]+?", {"a-c"}, {"", "d"}},
      {"[^a\\]]", {"b", "\n", "\u4e2d"}, {"a", "]", "", "\xe4"}},
      {"\\d+\\.\\d{2}", {"12.34"}, {"12x34", ".34"}},
      {"[\\w.]+@\\S", {"a.b@c"}, {"a b@c", "a@ "}},
      {".", {"x", "\u00e4", "\U0001F600"}, {"\n", "", "\xf0\x9f\x98"}},
      {"\\u00e4\\x41", {"\u00e4A"}, {"a"}},
      {"[\u00e0-\u00ff]", {"\u00e4", "\u00ff"}, {"\u00d0", "\xc3"}},
      {"(?:x(?<name>y))*", {"", "xyxy"}, {"x"}},
      {"(a|b)*a(a|b){8}", {"aaaaaaaaa", "bbabbbbbbbb"}, {"bbbbbbbbb"}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.pattern);
    auto automaton = Compile(c.pattern);
    ASSERT_TRUE(automaton.ok()) << automaton.error().message;
    for (const std::string& text : c.accepted) EXPECT_TRUE(Accepts(automaton->get(), text)) << text;
    for (const std::string& text : c.refused) EXPECT_FALSE(Accepts(automaton->get(), text)) << text;
  }
}

TEST(RegexTest, RefusesWhatItCannotRead) {
  struct Case {
    std::string pattern;
    const char* part;
  };
  const std::vector<Case> cases = {
      {"(", "without its ')'"},
      {"a)", "without its '('"},
      {"[a", "without its ']'"},
      {"a**", "after a quantifier"},
      {"*", "after nothing"},
      {"a{2,1}", "end is below its start"},
      {"a{x}", "no {m}"},
      {"a{99999}", "further than"},
      {"\\", "ends with a backslash"},
      {"\\x4", "too few hexadecimal digits"},
      {"[z-a]", "end is below its start"},
      {"(?=a)", "look-around"},
      {"(?<!a)b", "look-around"},
      {"(a)\\1", "\\1"},
      {"\\bword", "\\b"},
      {"\\p{L}", "\\p"},
      {"(^a|b)", "'^'"},
      {"a$b", "'$'"},
      {"(a$|b)", "'$'"},
      {"[^\\s\\S]", "no finite text"},
      {std::string(100, '(') + std::string(100, ')'), "too many groups"},
      {std::string(20000, 'a'), "20000 bytes"},
      {"((((a{9999}){9999}){9999}b?){9999}){9999}x", ""},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.pattern.substr(0, 40));
    const auto automaton = Compile(c.pattern);
    if (automaton.ok()) {
      EXPECT_STREQ(c.part, "");
      continue;
    }
    EXPECT_THAT(automaton.error().message, HasSubstr(c.part));
    EXPECT_EQ(automaton.error().message.back(), '.');
  }
}

}  // namespace
}  // namespace tessera
