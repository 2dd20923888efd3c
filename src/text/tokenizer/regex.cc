#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/tokenizer/regex.h"

#include <pcre2.h>

#include <array>
#include <cstdint>

#include "text/tokenizer/regex_dialect.h"
#include "text/tokenizer/unicode.h"

namespace tessera::tokenization {
namespace {

// Far more than a tokenizer's pattern needs; they bound what a hostile one can take.
constexpr size_t kMaxPatternBytes = 64 << 10;
constexpr uint32_t kMatchLimit = 10'000'000;
constexpr uint32_t kHeapLimitKib = 256 << 10;
constexpr size_t kJitStackBytes = 8 << 20;

template <auto kFree>
struct Freer {
  template <typename T>
  void operator()(T* pointer) const {
    kFree(pointer);
  }
};
using CodePtr = std::unique_ptr<pcre2_code, Freer<pcre2_code_free>>;
using MatchDataPtr = std::unique_ptr<pcre2_match_data, Freer<pcre2_match_data_free>>;
using MatchContextPtr = std::unique_ptr<pcre2_match_context, Freer<pcre2_match_context_free>>;
using JitStackPtr = std::unique_ptr<pcre2_jit_stack, Freer<pcre2_jit_stack_free>>;

}  // namespace

struct Regex::Code {
  CodePtr code;
};

Result<Regex> Regex::Compile(std::string_view pattern, bool literal) {
  if (pattern.size() > kMaxPatternBytes) {
    return Unsupported("A regular expression of " + std::to_string(pattern.size()) +
                       " bytes is longer than the 64 KiB that a tokenizer may use; shorten it.");
  }
  constexpr uint32_t kCommon = PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C;
  const uint32_t options =
      literal ? uint32_t{PCRE2_UTF | PCRE2_LITERAL} : kCommon | PCRE2_UCP | PCRE2_MULTILINE;
  int error = 0;
  size_t offset = 0;
  auto compiled = std::make_shared<Code>();
  compiled->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                     options, &error, &offset, nullptr));
  if (!compiled->code) {
    std::array<PCRE2_UCHAR, 256> text{};
    pcre2_get_error_message(error, text.data(), text.size());
    return Corrupt("The regular expression \"" + std::string(pattern) +
                   "\" does not compile: " + reinterpret_cast<const char*>(text.data()) +
                   " at byte " + std::to_string(offset) + "; correct it in tokenizer.json.");
  }
  // If there is no compiler for this machine, pcre2_match() interprets.
  pcre2_jit_compile(compiled->code.get(), PCRE2_JIT_COMPLETE);
  Regex regex;
  regex.code_ = std::move(compiled);
  return regex;
}

Result<Regex> Regex::Oniguruma(std::string_view pattern) {
  TESSERA_ASSIGN_OR_RETURN(const std::string translated, TranslateOniguruma(pattern));
  return Compile(translated, /*literal=*/false);
}

Result<Regex> Regex::Literal(std::string_view text) { return Compile(text, /*literal=*/true); }

struct Regex::Matches::State {
  const pcre2_code* code = nullptr;
  std::string_view text;
  size_t position = 0;
  size_t last_end = 0;
  bool any = false;  // whether last_end means something
  MatchDataPtr data;
  MatchContextPtr context;
  JitStackPtr stack;
};

Regex::Matches::Matches(const Regex& regex, std::string_view text)
    : state_(std::make_unique<State>()) {
  state_->code = regex.code_->code.get();
  state_->text = text;
  state_->data.reset(pcre2_match_data_create(1, nullptr));
  state_->context.reset(pcre2_match_context_create(nullptr));
  if (state_->context) {
    pcre2_set_match_limit(state_->context.get(), kMatchLimit);
    pcre2_set_heap_limit(state_->context.get(), kHeapLimitKib);
  }
}

Regex::Matches::~Matches() = default;

bool Regex::Matches::Search(size_t* begin, size_t* end) {
  State& s = *state_;
  if (!s.data || !s.context) return false;
  const auto match = [&](uint32_t options) {
    return pcre2_match(s.code, reinterpret_cast<PCRE2_SPTR>(s.text.data()), s.text.size(),
                       s.position, options | PCRE2_NO_UTF_CHECK, s.data.get(), s.context.get());
  };
  int rc = match(0);
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT && !s.stack) {
    // The 32 KiB of the machine's own stack do nearly always; a larger one costs a mapping.
    s.stack.reset(pcre2_jit_stack_create(32 << 10, kJitStackBytes, nullptr));
    pcre2_jit_stack_assign(s.context.get(), nullptr, s.stack.get());
    rc = match(0);
  }
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT) rc = match(PCRE2_NO_JIT);
  if (rc < 0) return false;
  const size_t* bounds = pcre2_get_ovector_pointer(s.data.get());
  if (bounds[0] > bounds[1] || bounds[0] < s.position) return false;  // \K can do that
  *begin = bounds[0];
  *end = bounds[1];
  return true;
}

bool Regex::Matches::Next(size_t* begin, size_t* end) {
  State& s = *state_;
  while (s.position <= s.text.size()) {
    if (!Search(begin, end)) break;
    if (*begin == *end && s.any && s.last_end == *end) {
      s.position += s.position < s.text.size() ? CharLength(s.text.substr(s.position)) : 1;
      continue;
    }
    s.position = s.last_end = *end;
    s.any = true;
    return true;
  }
  s.position = s.text.size() + 1;
  return false;
}

}  // namespace tessera::tokenization
