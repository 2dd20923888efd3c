#include "engine/stop_strings.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace tessera {
namespace {

std::shared_ptr<const StopAutomaton> Automaton(const std::vector<std::string>& strings) {
  return std::make_shared<const StopAutomaton>(strings);
}

struct Case {
  std::vector<std::string> stops;
  std::vector<std::string> pieces;
  std::vector<std::string> out;  // of each piece, then of Finish()
  bool stopped;
};

TEST(StopStrings, PassTextUpToTheFirstOne) {
  const Case cases[] = {
      {{}, {"a", "", "b"}, {"a", "", "b", ""}, false},
      {{"stop"}, {"", ""}, {"", "", ""}, false},
      {{"stop"}, {"stop"}, {"", ""}, true},
      {{"stop"}, {"a stop b"}, {"a ", ""}, true},
      {{"stop"}, {"a st", "op b", "c"}, {"a ", "", "", ""}, true},
      {{"stop"}, {"a st", "orm"}, {"a ", "storm", ""}, false},
      {{"stop"}, {"a sto"}, {"a ", "sto"}, false},
      {{"stop"}, {"ststst", "op"}, {"stst", "", ""}, true},
      {{"aab"}, {"a", "a", "a", "b"}, {"", "", "a", "", ""}, true},
      {{"abab", "b"}, {"ab"}, {"a", ""}, true},   // complete first
      {{"c", "abc"}, {"xabc"}, {"x", ""}, true},  // complete at once: the longest
      {{"\n\n", "Q:"}, {"1\n", "Q", ":"}, {"1", "\n", "", ""}, true},
      {{"\n\n", "Q:"}, {"1\n", "\n2"}, {"1", "", ""}, true},
      {{"é"}, {"caf", "é!"}, {"caf", "", ""}, true},
  };
  for (const Case& c : cases) {
    StopStrings stops(Automaton(c.stops));
    std::vector<std::string> out;
    for (const std::string& piece : c.pieces) out.push_back(stops.Append(piece));
    out.push_back(stops.Finish());
    EXPECT_EQ(out, c.out);
    EXPECT_EQ(stops.stopped(), c.stopped);
  }
}

TEST(StopStrings, UnsearchedTextPassesWhole) {
  StopStrings stops(Automaton({"stop"}));
  EXPECT_EQ(stops.AppendUnsearched("stop st"), "stop st");
  EXPECT_EQ(stops.Append("op st"), "op ");
  EXPECT_EQ(stops.AppendUnsearched("op"), "stop");
  EXPECT_EQ(stops.Append("stop"), "");
  EXPECT_TRUE(stops.stopped());
  EXPECT_EQ(stops.AppendUnsearched("more"), "");
}

TEST(StopStrings, ShareAnAutomatonAndKeepTheMatch) {
  const auto automaton = Automaton({"stop", "op"});
  StopStrings without(automaton), with(automaton, /*keeps_match=*/true);
  EXPECT_EQ(without.Append("a st"), "a ");
  EXPECT_EQ(with.Append("a st"), "a ");
  EXPECT_EQ(without.Append("op b"), "");
  EXPECT_EQ(with.Append("op b"), "stop");
  EXPECT_TRUE(without.stopped() && with.stopped());
  EXPECT_EQ(StopStrings(nullptr).Append("stop"), "stop");
}

// What a search of the whole text finds.
std::string Expected(const std::vector<std::string>& stops, const std::string& text) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& stop : stops) {
      if (end >= stop.size() && text.compare(end - stop.size(), stop.size(), stop) == 0) {
        longest = std::max(longest, stop.size());
      }
    }
    if (longest > 0) return text.substr(0, end - longest);
  }
  return text;
}

TEST(StopStrings, ResultDoesNotDependOnThePieces) {
  std::mt19937 random(7);
  const auto draw = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  const auto word = [&](int low, int high) {
    std::string text(static_cast<size_t>(draw(low, high)), 'a');
    for (char& c : text) c = static_cast<char>('a' + draw(0, 1));
    return text;
  };
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::string> strings(static_cast<size_t>(draw(1, 3)));
    for (std::string& s : strings) s = word(1, 6);
    const std::string text = word(0, 30);
    StopStrings stops(Automaton(strings));
    std::string out;
    for (size_t i = 0; i < text.size();) {
      const size_t n = static_cast<size_t>(draw(1, 4));
      out += stops.Append(text.substr(i, n));
      i += n;
      ASSERT_EQ(text.compare(0, out.size(), out), 0);
    }
    out += stops.Finish();
    ASSERT_EQ(out, Expected(strings, text)) << text;
  }
}

}  // namespace
}  // namespace tessera
