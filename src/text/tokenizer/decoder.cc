#include "text/tokenizer/decoder.h"

#include <algorithm>

#include "base/hex_digit.h"
#include "text/tokenizer/byte_level.h"
#include "text/tokenizer/normalizer.h"
#include "text/tokenizer/unicode.h"

namespace tessera::tokenization {
namespace {

// The end of the chain: all tokens are written one after the other.
class Collect : public DecodeStage {
 public:
  explicit Collect(std::string* out) : out_(out) {}
  void Text(std::string_view text) override { *out_ += text; }
  void EndToken() override {}
  void Finish() override {}

 private:
  std::string* out_;
};

// Most stages hand on what they do not change.
class PassingStage : public DecodeStage {
 public:
  explicit PassingStage(DecodeStage* next) : next_(next) {}
  void Text(std::string_view text) override { next_->Text(text); }
  void EndToken() override { next_->EndToken(); }
  void Finish() override { next_->Finish(); }

 protected:
  DecodeStage* next_;
};

class JoinWithSpaces : public PassingStage {
 public:
  using PassingStage::PassingStage;
  void Text(std::string_view text) override {
    if (pending_space_) next_->Text(" ");
    pending_space_ = false;
    next_->Text(text);
  }
  void EndToken() override {
    next_->EndToken();
    pending_space_ = true;
  }

 private:
  bool pending_space_ = false;
};

// Stages that must see a whole token before they can say anything.
class WholeTokenStage : public PassingStage {
 public:
  using PassingStage::PassingStage;
  void Text(std::string_view text) final { token_ += text; }
  void EndToken() final {
    Token(token_);
    token_.clear();
  }

 protected:
  virtual void Token(const std::string& token) = 0;
  void Emit(std::string_view token) {
    next_->Text(token);
    next_->EndToken();
  }

 private:
  std::string token_;
};

class ByteLevelStage : public WholeTokenStage {
 public:
  using WholeTokenStage::WholeTokenStage;
  void Finish() override {
    std::string text;
    repair_.Finish(&text);
    next_->Text(text);
    next_->EndToken();
    next_->Finish();
  }

 protected:
  void Token(const std::string& token) override {
    std::string text;
    repair_.Append(FromByteLevel(token), &text);
    next_->Text(text);
  }

 private:
  Utf8Repair repair_;
};

class MetaspaceStage : public PassingStage {
 public:
  MetaspaceStage(DecodeStage* next, const MetaspaceDecoder& step)
      : PassingStage(next), step_(step) {}
  void Text(std::string_view text) override {
    const bool leave_out = first_ && step_.strip_first;
    while (!text.empty()) {
      const std::string_view character = text.substr(0, CharLength(text));
      text.remove_prefix(character.size());
      if (character != step_.replacement) {
        next_->Text(character);
      } else if (!leave_out) {
        next_->Text(" ");
      }
    }
  }
  void EndToken() override {
    next_->EndToken();
    first_ = false;
  }

 private:
  const MetaspaceDecoder& step_;
  bool first_ = true;
};

// Of a literal text: only what may be the beginning of a match waits for the rest of the token.
class ReplaceLiteralStage : public PassingStage {
 public:
  ReplaceLiteralStage(DecodeStage* next, const ReplaceDecoder& step)
      : PassingStage(next), step_(step) {}
  void Text(std::string_view text) override {
    pending_ += text;
    const std::string_view pattern = step_.literal;
    size_t done = 0;
    for (size_t at; (at = pending_.find(pattern, done)) != std::string::npos;) {
      next_->Text(std::string_view(pending_).substr(done, at - done));
      next_->Text(step_.content);
      done = at + pattern.size();
    }
    size_t keep = std::min(pattern.size() - 1, pending_.size() - done);
    while (!std::string_view(pending_).ends_with(pattern.substr(0, keep))) --keep;
    next_->Text(std::string_view(pending_).substr(done, pending_.size() - keep - done));
    pending_.erase(0, pending_.size() - keep);
  }
  void EndToken() override {
    next_->Text(pending_);
    pending_.clear();
    next_->EndToken();
  }

 private:
  const ReplaceDecoder& step_;
  std::string pending_;
};

class ReplaceRegexStage : public WholeTokenStage {
 public:
  ReplaceRegexStage(DecodeStage* next, const ReplaceDecoder& step)
      : WholeTokenStage(next), step_(step) {}

 protected:
  void Token(const std::string& token) override {
    Emit(ReplaceAll(token, step_.pattern, step_.content));
  }

 private:
  const ReplaceDecoder& step_;
};

// Bytes in a row are either valid UTF-8 all together, or every single one is U+FFFD. So none of
// them is certain before another token follows.
class ByteFallbackStage : public WholeTokenStage {
 public:
  using WholeTokenStage::WholeTokenStage;
  void Finish() override {
    Flush();
    next_->Finish();
  }

 protected:
  void Token(const std::string& token) override {
    if (const int byte = ParseByteToken(token); byte >= 0) {
      bytes_.push_back(static_cast<char>(byte));
      return;
    }
    Flush();
    Emit(token);
  }

 private:
  void Flush() {
    if (bytes_.empty()) return;
    if (IsValidUtf8(bytes_)) {
      Emit(bytes_);
    } else {
      for (size_t i = 0; i < bytes_.size(); ++i) Emit(kReplacement);
    }
    bytes_.clear();
  }

  std::string bytes_;
};

class FuseStage : public PassingStage {
 public:
  using PassingStage::PassingStage;
  void EndToken() override {}
  void Finish() override {
    next_->EndToken();
    next_->Finish();
  }
};

class StripStage : public PassingStage {
 public:
  StripStage(DecodeStage* next, const StripDecoder& step) : PassingStage(next), step_(step) {}
  void Text(std::string_view text) override {
    while (!text.empty()) {
      const std::string_view character = text.substr(0, CharLength(text));
      text.remove_prefix(character.size());
      if (character != step_.content) {
        at_start_ = false;
        Release(0);
        next_->Text(character);
      } else if (at_start_ && stripped_ < step_.start) {
        ++stripped_;
      } else {
        at_start_ = false;
        ++waiting_;
        Release(step_.stop);
      }
    }
  }
  void EndToken() override {
    waiting_ = 0;
    stripped_ = 0;
    at_start_ = true;
    next_->EndToken();
  }

 private:
  // Hands on all but `keep` of the characters that the token's end might take away.
  void Release(int64_t keep) {
    for (; waiting_ > keep; --waiting_) next_->Text(step_.content);
  }

  const StripDecoder& step_;
  bool at_start_ = true;
  int64_t stripped_ = 0;
  int64_t waiting_ = 0;
};

// One token behind: the last one is written differently.
class WordSuffixStage : public WholeTokenStage {
 public:
  WordSuffixStage(DecodeStage* next, const WordSuffixDecoder& step)
      : WholeTokenStage(next), step_(step) {}
  void Finish() override {
    if (any_) Write("");
    next_->Finish();
  }

 protected:
  void Token(const std::string& token) override {
    if (any_) Write(" ");
    any_ = true;
    waiting_ = token;
  }

 private:
  void Write(std::string_view replacement) {
    std::string out;
    size_t done = 0;
    for (size_t at; (at = waiting_.find(step_.suffix, done)) != std::string::npos;) {
      out.append(waiting_, done, at - done);
      out += replacement;
      done = at + step_.suffix.size();
    }
    out.append(waiting_, done);
    Emit(out);
  }

  const WordSuffixDecoder& step_;
  bool any_ = false;
  std::string waiting_;
};

struct MakeStage {
  DecodeStage* next;

  std::unique_ptr<DecodeStage> operator()(const ByteLevelDecoder&) const {
    return std::make_unique<ByteLevelStage>(next);
  }
  std::unique_ptr<DecodeStage> operator()(const MetaspaceDecoder& step) const {
    return std::make_unique<MetaspaceStage>(next, step);
  }
  std::unique_ptr<DecodeStage> operator()(const ReplaceDecoder& step) const {
    if (step.literal.empty()) return std::make_unique<ReplaceRegexStage>(next, step);
    return std::make_unique<ReplaceLiteralStage>(next, step);
  }
  std::unique_ptr<DecodeStage> operator()(const ByteFallbackDecoder&) const {
    return std::make_unique<ByteFallbackStage>(next);
  }
  std::unique_ptr<DecodeStage> operator()(const FuseDecoder&) const {
    return std::make_unique<FuseStage>(next);
  }
  std::unique_ptr<DecodeStage> operator()(const StripDecoder& step) const {
    return std::make_unique<StripStage>(next, step);
  }
  std::unique_ptr<DecodeStage> operator()(const WordSuffixDecoder& step) const {
    return std::make_unique<WordSuffixStage>(next, step);
  }
};

}  // namespace

DecodeStream::DecodeStream(const std::vector<DecoderStep>& steps, bool absent)
    : text_(std::make_unique<std::string>()) {
  stages_.push_back(std::make_unique<Collect>(text_.get()));
  if (absent) stages_.push_back(std::make_unique<JoinWithSpaces>(stages_.back().get()));
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    stages_.push_back(std::visit(MakeStage{stages_.back().get()}, *step));
  }
}

void DecodeStream::Append(std::string_view token) {
  stages_.back()->Text(token);
  stages_.back()->EndToken();
}

void DecodeStream::Finish() { stages_.back()->Finish(); }

std::string DecodeStream::TakeText() { return std::exchange(*text_, std::string()); }

std::string DecodeToken(const std::vector<DecoderStep>& steps, std::string_view token) {
  std::string text(token);
  for (const DecoderStep& step : steps) {
    if (std::holds_alternative<ByteLevelDecoder>(step)) {
      return FromByteLevel(text);
    } else if (std::holds_alternative<ByteFallbackDecoder>(step)) {
      if (const int byte = ParseByteToken(text); byte >= 0) {
        return std::string(1, static_cast<char>(byte));
      }
    } else if (const auto* replace = std::get_if<ReplaceDecoder>(&step)) {
      text = ReplaceAll(text, replace->pattern, replace->content);
    } else if (const auto* metaspace = std::get_if<MetaspaceDecoder>(&step)) {
      std::string spaced;
      for (std::string_view rest = text; !rest.empty();) {
        const std::string_view character = rest.substr(0, CharLength(rest));
        rest.remove_prefix(character.size());
        spaced += character == metaspace->replacement ? " " : character;
      }
      text = std::move(spaced);
    } else if (const auto* suffix = std::get_if<WordSuffixDecoder>(&step)) {
      if (text.ends_with(suffix->suffix)) {
        text.replace(text.size() - suffix->suffix.size(), std::string::npos, " ");
      }
    }
  }
  return text;
}

int ParseByteToken(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  const int high = HexDigit(token[3]);
  const int low = HexDigit(token[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

}  // namespace tessera::tokenization
