#include "engine/sampling_params.h"

#include <array>
#include <cstdio>
#include <limits>
#include <utility>

namespace tessera {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::string Text(double value) {
  std::array<char, 32> buffer;
  std::snprintf(buffer.data(), buffer.size(), "%g", value);
  return buffer.data();
}

std::string Text(int64_t value) { return std::to_string(value); }

template <typename T>
Error OutOfRange(const char* name, T value, const std::string& range) {
  return InvalidArgument(std::string(name) + " is " + Text(value) + ", but must be " + range + ".");
}

struct FloatRange {
  const char* name;
  float value;
  float low, high;  // NaN lies in no range
  bool low_excluded;
  const char* range;
};

struct IntRange {
  const char* name;
  int64_t value;
  int64_t low, high;
  std::string range;
};

Status CheckToken(const char* name, int32_t token, int64_t vocab_size) {
  if (token >= 0 && token < vocab_size) return {};
  return OutOfRange(name, int64_t{token},
                    "a token of the vocabulary, 0 to " + Text(vocab_size - 1));
}

Status CheckStop(const std::string& stop) {
  if (stop.empty()) {
    return InvalidArgument(
        "stop holds an empty string, which would end every request at once; "
        "leave it out.");
  }
  if ((static_cast<unsigned char>(stop[0]) & 0xc0u) == 0x80u) {
    return InvalidArgument(
        "stop holds a string that begins in the middle of a character; give "
        "whole UTF-8 characters.");
  }
  return {};
}

}  // namespace

void ClearLists(SamplingParams* params) {
  // Moved to: that frees their memory, as clear() does not.
  SamplingParams empty;
  params->logit_bias = std::move(empty.logit_bias);
  params->allowed_token_ids = std::move(empty.allowed_token_ids);
  params->bad_words = std::move(empty.bad_words);
  params->stop = std::move(empty.stop);
  params->stop_token_ids = std::move(empty.stop_token_ids);
}

Status Validate(const SamplingParams& p, int64_t vocab_size) {
  const FloatRange floats[] = {
      {"temperature", p.temperature, 0, kInfinity, false, "finite and at least 0 (0: greedy)"},
      {"top_p", p.top_p, 0, 1, true, "above 0 and at most 1 (1: off)"},
      {"min_p", p.min_p, 0, 1, false, "in 0 to 1 (0: off)"},
      {"repetition_penalty", p.repetition_penalty, 0.001f, 1000, false,
       "in 0.001 to 1000 (1: off)"},
      {"presence_penalty", p.presence_penalty, -2, 2, false, "in -2 to 2 (0: off)"},
      {"frequency_penalty", p.frequency_penalty, -2, 2, false, "in -2 to 2 (0: off)"},
  };
  for (const FloatRange& f : floats) {
    const bool above = f.low_excluded ? f.value > f.low : f.value >= f.low;
    if (!above || !(f.value <= f.high) || f.value == kInfinity) {
      return OutOfRange(f.name, double{f.value}, f.range);
    }
  }
  constexpr int64_t kMax = std::numeric_limits<int32_t>::max();
  const std::string counts = "in 0 to the vocabulary's " + Text(vocab_size);
  const IntRange ints[] = {
      {"top_k", p.top_k, -1, kMax, "at least 1, or 0 or -1 (off)"},
      {"max_tokens", p.max_tokens, 1, kMax, "at least 1"},
      {"min_tokens", p.min_tokens, 0, p.max_tokens,
       "in 0 to max_tokens, " + Text(int64_t{p.max_tokens})},
      {"logprobs", p.logprobs.value_or(0), 0, vocab_size, counts},
      {"prompt_logprobs", p.prompt_logprobs.value_or(0), 0, vocab_size, counts},
      {"speculative_tokens", p.speculative_tokens.value_or(0), 0, kMaxSpeculativeTokens,
       "in 0 (off) to " + Text(int64_t{kMaxSpeculativeTokens})},
  };
  for (const IntRange& i : ints) {
    if (i.value < i.low || i.value > i.high) return OutOfRange(i.name, i.value, i.range);
  }
  for (const auto& [token, bias] : p.logit_bias) {
    TESSERA_RETURN_IF_ERROR(CheckToken("a token of logit_bias", token, vocab_size));
    if (!(bias >= -kInfinity && bias < kInfinity)) {
      return OutOfRange("a bias of logit_bias", double{bias}, "a number below infinity");
    }
  }
  for (const int32_t token : p.stop_token_ids) {
    TESSERA_RETURN_IF_ERROR(CheckToken("an entry of stop_token_ids", token, vocab_size));
  }
  for (const int32_t token : p.allowed_token_ids) {
    TESSERA_RETURN_IF_ERROR(CheckToken("an entry of allowed_token_ids", token, vocab_size));
  }
  for (const std::vector<int32_t>& word : p.bad_words) {
    if (word.empty()) {
      return InvalidArgument(
          "bad_words holds an empty word, which nothing contains; leave it out.");
    }
    for (const int32_t token : word) {
      TESSERA_RETURN_IF_ERROR(CheckToken("a token of bad_words", token, vocab_size));
    }
  }
  for (const std::string& stop : p.stop) TESSERA_RETURN_IF_ERROR(CheckStop(stop));
  return {};
}

}  // namespace tessera
