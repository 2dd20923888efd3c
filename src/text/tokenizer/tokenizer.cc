#include "text/tokenizer/tokenizer.h"

#include "text/tokenizer/tokenizer_impl.h"
#include "text/tokenizer/unicode.h"

namespace tessera {

using tokenization::DecodeStream;

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

void Tokenizer::Impl::EncodeSection(std::string_view text, bool at_start,
                                    std::vector<int32_t>* ids) const {
  std::string normalized;
  if (!normalizer.empty()) {
    normalized = normalizer.Apply(text, &at_start);
    text = normalized;
  }
  const char* const begin = text.data();
  normalized_finder.Split(text, [&](std::string_view piece, int32_t id) {
    if (id >= 0) {
      ids->push_back(id);
      return;
    }
    const auto words = pre_tokenizer.Apply(std::string(piece), at_start && piece.data() == begin);
    const std::string_view all = words.text;
    for (const auto& [from, to] : words.ranges) bpe->Encode(all.substr(from, to - from), ids);
  });
}

std::vector<int32_t> Tokenizer::Encode(std::string_view text, bool add_special_tokens) const {
  std::string repaired;
  if (!tokenization::IsValidUtf8(text)) {
    tokenization::Utf8Repair repair;
    repair.Append(text, &repaired);
    repair.Finish(&repaired);
    text = repaired;
  }
  const auto& [before, after] = impl_->post_processor;
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 3 + before.size() + after.size());
  if (add_special_tokens) ids = before;
  const char* const begin = text.data();
  impl_->raw_finder.Split(text, [&](std::string_view piece, int32_t id) {
    if (id >= 0) {
      ids.push_back(id);
    } else {
      impl_->EncodeSection(piece, piece.data() == begin, &ids);
    }
  });
  if (add_special_tokens) ids.insert(ids.end(), after.begin(), after.end());
  return ids;
}

std::string Tokenizer::Decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  DecodeStream stream(impl_->decoder, !impl_->has_decoder);
  for (const int32_t id : ids) {
    const Impl::Token* token = impl_->Find(id);
    if (token == nullptr || (skip_special_tokens && token->special)) continue;
    stream.Append(token->text);
  }
  stream.Finish();
  return stream.TakeText();
}

std::string Tokenizer::TokenBytes(int32_t id) const {
  const Impl::Token* token = impl_->Find(id);
  if (token == nullptr) return "";
  return token->added ? token->text : tokenization::DecodeToken(impl_->decoder, token->text);
}

std::optional<int32_t> Tokenizer::TokenId(std::string_view content) const {
  const auto it = impl_->added_ids.find(std::string(content));
  if (it != impl_->added_ids.end()) return it->second;
  return impl_->bpe->TokenId(content);
}

bool Tokenizer::IsSpecial(int32_t id) const {
  const Impl::Token* token = impl_->Find(id);
  return token != nullptr && token->special;
}

int64_t Tokenizer::vocab_size() const { return static_cast<int64_t>(impl_->tokens.size()); }

std::optional<int32_t> Tokenizer::bos_id() const {
  return bos_token().empty() ? std::nullopt : TokenId(bos_token());
}

std::optional<int32_t> Tokenizer::eos_id() const {
  return eos_token().empty() ? std::nullopt : TokenId(eos_token());
}

const std::string& Tokenizer::bos_token() const { return impl_->config.bos_token; }
const std::string& Tokenizer::eos_token() const { return impl_->config.eos_token; }
const std::string& Tokenizer::chat_template() const { return impl_->config.chat_template; }

struct Tokenizer::StreamDecoder::State {
  const Impl* tokenizer;
  bool skip_special_tokens;
  DecodeStream stream;
};

Tokenizer::StreamDecoder::StreamDecoder(const Tokenizer* tokenizer, bool skip_special_tokens)
    : state_(new State{tokenizer->impl_.get(), skip_special_tokens,
                       DecodeStream(tokenizer->impl_->decoder, !tokenizer->impl_->has_decoder)}) {}

Tokenizer::StreamDecoder::~StreamDecoder() = default;
Tokenizer::StreamDecoder::StreamDecoder(StreamDecoder&& other) noexcept = default;
Tokenizer::StreamDecoder& Tokenizer::StreamDecoder::operator=(StreamDecoder&& other) noexcept =
    default;

std::string Tokenizer::StreamDecoder::Append(int32_t id) {
  const Impl::Token* token = state_->tokenizer->Find(id);
  if (token == nullptr || (state_->skip_special_tokens && token->special)) return "";
  state_->stream.Append(token->text);
  return state_->stream.TakeText();
}

std::string Tokenizer::StreamDecoder::Finish() {
  state_->stream.Finish();
  return state_->stream.TakeText();
}

}  // namespace tessera
