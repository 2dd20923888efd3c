// Requests that are bound by a grammar, with the fake model: whatever happens to them, their
// answers are those of a request that is alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/testing/fake_model.h"
#include "engine/testing/outcomes.h"
#include "grammar/constraint_spec.h"
#include "grammar/token_grammar.h"

namespace tessera::testing {
namespace {

constexpr int64_t kVocab = 97;
constexpr int32_t kEnd = 3;            // of a text
constexpr int32_t kFirstSpecial = 90;  // of the fake model
constexpr int32_t kLongToken = 93;     // 2000 "a"

int32_t TokenOf(char c) { return c - '!'; }

// Token t is the character '!' + t, as far as it is a letter or alike.
std::shared_ptr<const grammar::TokenTrie> Trie() {
  std::vector<std::string> texts(kVocab);
  for (int32_t t = 4; t < kFirstSpecial; ++t) {
    texts[static_cast<size_t>(t)] = std::string(1, static_cast<char>('!' + t));
  }
  texts[kLongToken] = std::string(2000, 'a');
  return std::make_shared<const grammar::TokenTrie>(texts);
}

std::shared_ptr<TokenGrammar> Compile(const std::string& pattern) {
  ConstraintSpec spec;
  spec.kind = ConstraintSpec::Kind::kRegex;
  spec.pattern = pattern;
  auto automaton = CompileConstraint(spec);
  EXPECT_TRUE(automaton.ok());
  auto grammar = TokenGrammar::Create(std::move(automaton).value(), Trie());
  EXPECT_TRUE(grammar.ok());
  return std::move(grammar).value();
}

std::string TextOf(const std::vector<int32_t>& tokens) {
  std::string text;
  for (const int32_t t : tokens) {
    if (t != kEnd) text += static_cast<char>('!' + t);
  }
  return text;
}

class ConstraintTest : public ::testing::Test {
 protected:
  std::unique_ptr<Engine> MakeEngine(int64_t blocks = 1000, bool prefix_caching = false) {
    FakeModelOptions model;
    model.eos_token_ids = {kEnd};
    model.max_model_len = 72;
    EngineOptions options = SmallOptions();
    options.prefix_caching = prefix_caching;
    options.kv_cache_bytes = blocks * options.block_size * kFakeTokenBytes;
    return MakeFakeEngine(options, &counters_, model);
  }

  static Request MakeRequest(std::shared_ptr<TokenGrammar> grammar) {
    Request request = GreedyRequest({1, 2, 3, 1, 2}, 40);
    request.grammar = std::move(grammar);
    return request;
  }

  FakeCounters counters_;
};

// Preempted and computed again, guessed ahead, with blocks shared, several with one grammar: the
// answers are the same.
TEST_F(ConstraintTest, SameAnswersHoweverTheyAreComputed) {
  const char* const patterns[] = {"([A-Z]{2,5}-[0-9]{1,3},){3,6}end", "(ab|cd|abcd)*(x|yz)",
                                  "[a-z]{20,30}", "(A(B(C(D|EF)*)*)*){4}G"};
  std::mt19937 random(11);
  std::vector<Request> requests;
  for (int prompt = 0; prompt < 12; ++prompt) {
    Request request = MakeRequest(Compile(patterns[prompt % 4]));
    request.prompt.clear();
    for (unsigned length = 3 + random() % 20; length > 0; --length) {
      request.prompt.push_back(static_cast<int32_t>(random() % 88));
    }
    for (uint64_t answer = 0; answer < 4; ++answer) {  // as n = 4
      request.sampling.temperature = answer == 0 ? 0.0f : 1.5f;
      request.sampling.seed = 100 + answer;
      requests.push_back(request);
    }
  }
  const std::vector<Outcome> plain = RunAll(MakeEngine().get(), requests);
  int stopped = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    SCOPED_TRACE(TextOf(plain[i].tokens));
    TokenConstraint check(Compile(patterns[i / 4 % 4]));
    for (const int32_t token : plain[i].tokens) {
      if (token == kEnd) break;
      ASSERT_TRUE(check.Accept(token).ok());
    }
    if (plain[i].finish == FinishReason::kStop) {
      EXPECT_TRUE(check.MayEnd());
      ++stopped;
    } else {
      EXPECT_EQ(plain[i].finish, FinishReason::kLength) << plain[i].error;
    }
  }
  EXPECT_GT(stopped, 15);
  for (const bool prefix_caching : {false, true}) {
    for (const int32_t guesses : {0, 4}) {
      SCOPED_TRACE(std::to_string(guesses) + (prefix_caching ? " cached" : ""));
      for (Request& request : requests) request.sampling.speculative_tokens = guesses;
      // As many blocks as the longest one needs: others must wait or go.
      const auto engine = MakeEngine(/*blocks=*/20, prefix_caching);
      const std::vector<Outcome> outcomes = RunAll(engine.get(), requests);
      EXPECT_GT(engine->stats().preemptions, 5);
      for (size_t i = 0; i < requests.size(); ++i) {
        EXPECT_EQ(TextOf(outcomes[i].tokens), TextOf(plain[i].tokens)) << "request " << i;
        EXPECT_EQ(outcomes[i].finish, plain[i].finish) << outcomes[i].error;
      }
    }
  }
}

// Neither min_tokens nor ignore_eos brings forth what the constraint does not allow.
TEST_F(ConstraintTest, EndsWhereNothingMayFollow) {
  struct Case {
    const char* pattern;
    const char* text;
  };
  // The last one could continue, but no token has that character.
  const Case cases[] = {{"", ""}, {"ab", "ab"}, {"ab\\u4e2d?", "ab"}, {"\\u4e2d*", ""}};
  const auto engine = MakeEngine();
  for (const Case& c : cases) {
    for (const int32_t min_tokens : {0, 10}) {
      for (const bool ignore_eos : {false, true}) {
        SCOPED_TRACE(std::string(c.pattern) + " " + std::to_string(min_tokens));
        Request request = MakeRequest(Compile(c.pattern));
        request.sampling.min_tokens = min_tokens;
        request.sampling.ignore_eos = ignore_eos;
        request.sampling.prompt_logprobs = 0;
        const Outcome outcome = RunAll(engine.get(), {request}).front();
        EXPECT_EQ(outcome.finish, FinishReason::kStop) << outcome.error;
        EXPECT_EQ(TextOf(outcome.tokens), c.text);
        EXPECT_EQ(outcome.output_tokens, static_cast<int32_t>(outcome.tokens.size()));
        EXPECT_EQ(outcome.prompt_logprobs.size(), request.prompt.size());
      }
    }
  }
  // What contradicts itself is the request's fault.
  Request request = MakeRequest(Compile("a+"));
  request.sampling.stop_token_ids = {TokenOf('a'), kLongToken};
  request.sampling.min_tokens = 5;
  const Outcome outcome = RunAll(engine.get(), {request}).front();
  EXPECT_EQ(outcome.finish, FinishReason::kError);
  EXPECT_EQ(outcome.error_code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(outcome.error, ::testing::HasSubstr("min_tokens"));
  const Outcome stuck = RunAll(engine.get(), {MakeRequest(Compile("a\\u4e2d"))}).front();
  EXPECT_EQ(stuck.finish, FinishReason::kError);
  EXPECT_EQ(stuck.error_code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(stuck.error, ::testing::HasSubstr("No token of this model"));
}

// A mask that takes too long ends the request that needs it, and not those that share its grammar
// and its step.
TEST_F(ConstraintTest, OnlyTheRequestThatTakesTooMuchWorkEnds) {
  const auto shared = Compile("x((a{1,100}){1,100}){1,100}b|[y-z]{30}");
  std::vector<Request> requests(6, MakeRequest(shared));
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].sampling.logit_bias = {{TokenOf(i % 2 == 0 ? 'x' : 'y'), 50.0f}};
  }
  const std::vector<Outcome> outcomes = RunAll(MakeEngine().get(), requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    SCOPED_TRACE(i);
    if (i % 2 == 0) {
      EXPECT_EQ(outcomes[i].finish, FinishReason::kError);
      EXPECT_EQ(outcomes[i].error_code, ErrorCode::kInvalidArgument);
      EXPECT_THAT(outcomes[i].error, ::testing::HasSubstr("too much work"));
    } else {
      EXPECT_EQ(outcomes[i].finish, FinishReason::kStop) << outcomes[i].error;
      EXPECT_EQ(outcomes[i].tokens.size(), 30u);
    }
  }
}

}  // namespace
}  // namespace tessera::testing
