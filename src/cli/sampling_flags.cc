#include "cli/sampling_flags.h"

#include <charconv>
#include <cstdint>
#include <string>
#include <system_error>

namespace tessera {

namespace {

// CLI11 takes -1 and 2^64 for a number, and means another one.
std::string CheckSeed(const std::string& text) {
  uint64_t seed = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, seed);
  if (error == std::errc() && rest == end) return {};
  return "the seed " + text + " is not a whole number from 0 to 18446744073709551615";
}

}  // namespace

SamplingParams CommandLineSampling() {
  SamplingParams params;
  params.temperature = 0.0f;
  return params;
}

void AddSamplingFlags(CLI::App* command, SamplingParams* params) {
  const auto add = [&](const char* name, auto& value, const char* type, const char* help) {
    command->add_option(name, value, help)
        ->type_name(type)
        ->capture_default_str()
        ->group("Sampling");
  };
  add("-n,--max-tokens", params->max_tokens, "N", "Longest answer in tokens");
  add("--min-tokens", params->min_tokens, "N", "No end before this many tokens");
  add("--temperature", params->temperature, "X", "0: always the likeliest token");
  add("--top-p", params->top_p, "X", "Keep the likeliest tokens of this share together, (0, 1]");
  add("--top-k", params->top_k, "N", "Keep this many of the likeliest tokens; 0: all");
  add("--min-p", params->min_p, "X", "Drop tokens less likely than this times the likeliest");
  add("--repetition-penalty", params->repetition_penalty, "X",
      "Above 1: tokens of prompt and answer become less likely");
  add("--presence-penalty", params->presence_penalty, "X",
      "Taken from the logit of each token that the answer holds, [-2, 2]");
  add("--frequency-penalty", params->frequency_penalty, "X",
      "The same, for each time it occurs, [-2, 2]");
  command
      ->add_option_function<uint64_t>(
          "--seed", [params](const uint64_t& seed) { params->seed = seed; },
          "Same seed, same answer; without it a new one each time")
      ->check(CLI::Validator(CheckSeed, ""))
      ->type_name("N")
      ->group("Sampling");
  command
      ->add_option("--stop", params->stop, "The answer ends before this text; may be given again")
      ->type_name("TEXT")
      ->allow_extra_args(false)
      ->group("Sampling");
  command->add_flag("--ignore-eos", params->ignore_eos, "Continue after the model's end token")
      ->group("Sampling");
}

}  // namespace tessera
