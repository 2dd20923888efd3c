#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "text/tokenizer/components.h"
#include "text/tokenizer/model_reader.h"
#include "text/tokenizer/tokenizer_impl.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using tokenization::AddedToken;
using tokenization::Json;

// The whole file; kNotFound if there is none.
Result<std::string> ReadFile(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) {
    return NotFound("There is no file " + path.string() +
                    "; give the directory of a model in the Hugging Face format.");
  }
  std::ifstream file(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file)
    return IoError("The file " + path.string() + " cannot be read; check its permissions.");
  return bytes;
}

// A file that need not be there: "" then.
Result<std::string> ReadOptionalFile(const fs::path& path) {
  auto bytes = ReadFile(path);
  if (!bytes.ok() && bytes.error().code == ErrorCode::kNotFound) return std::string();
  return bytes;
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> Tokenizer::Parse(std::string_view tokenizer_json,
                                                    std::string_view tokenizer_config_json) {
  simdjson::dom::parser parser;
  TESSERA_ASSIGN_OR_RETURN(const Json root,
                           tokenization::ParseJson(&parser, tokenizer_json, "tokenizer.json"));
  auto impl = std::make_unique<Impl>();
  TESSERA_ASSIGN_OR_RETURN(impl->config, tokenization::ParseTokenizerConfig(tokenizer_config_json));

  const auto model = tokenization::Member(root, "model");
  if (!model) return Corrupt("tokenizer.json has no \"model\"; download it again.");
  TESSERA_ASSIGN_OR_RETURN(auto bpe_config, tokenization::ParseBpeConfig(*model));

  const auto put = [&](int32_t id) -> Impl::Token& {
    const auto index = static_cast<size_t>(id);
    if (index >= impl->tokens.size()) impl->tokens.resize(index + 1);
    return impl->tokens[index];
  };
  for (const auto& [text, id] : bpe_config.vocabulary) put(id) = {text, true, false, false};
  TESSERA_ASSIGN_OR_RETURN(impl->bpe, tokenization::Bpe::Create(std::move(bpe_config)));

  if (const auto json = tokenization::Member(root, "normalizer")) {
    TESSERA_ASSIGN_OR_RETURN(impl->normalizer, tokenization::ParseNormalizer(*json));
  }
  TESSERA_ASSIGN_OR_RETURN(auto added, tokenization::ParseAddedTokens(root, *impl->bpe));
  for (const AddedToken& token : added) {
    Impl::Token& entry = put(token.id);
    if (entry.exists && entry.text != token.content) {
      return Corrupt("The id " + std::to_string(token.id) + " belongs to \"" + entry.text +
                     "\" and to the added token \"" + token.content +
                     "\"; the tokenizer.json is damaged.");
    }
    // Decoding writes a token that was looked for in normalised text as it was found there.
    const bool rewrite = token.normalized && !token.special;
    entry = {rewrite ? impl->normalizer.Apply(token.content) : token.content, true, token.special,
             true};
    impl->added_ids.emplace(token.content, token.id);
  }
  // Of two tokens that normalise to the same text the special one counts.
  std::stable_partition(added.begin(), added.end(), [](const auto& t) { return t.special; });
  for (const AddedToken& token : added) {
    if (token.normalized) {
      impl->normalized_finder.Add(impl->normalizer.Apply(token.content), token);
    } else {
      impl->raw_finder.Add(token.content, token);
    }
  }

  if (const auto json = tokenization::Member(root, "pre_tokenizer")) {
    TESSERA_ASSIGN_OR_RETURN(impl->pre_tokenizer, tokenization::ParsePreTokenizer(*json));
  }
  if (const auto json = tokenization::Member(root, "post_processor")) {
    const auto largest = static_cast<int32_t>(impl->tokens.size()) - 1;
    TESSERA_ASSIGN_OR_RETURN(impl->post_processor,
                             tokenization::ParsePostProcessor(*json, largest));
  }
  if (const auto json = tokenization::Member(root, "decoder")) {
    TESSERA_ASSIGN_OR_RETURN(impl->decoder, tokenization::ParseDecoder(*json));
    impl->has_decoder = true;
  }
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(impl)));
}

Result<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::string& directory) {
  const fs::path base = directory;
  TESSERA_ASSIGN_OR_RETURN(const std::string json, ReadFile(base / "tokenizer.json"));
  TESSERA_ASSIGN_OR_RETURN(const std::string config,
                           ReadOptionalFile(base / "tokenizer_config.json"));
  TESSERA_ASSIGN_OR_RETURN(std::string chat_template,
                           ReadOptionalFile(base / "chat_template.jinja"));
  TESSERA_ASSIGN_OR_RETURN(auto tokenizer, Parse(json, config));
  if (!chat_template.empty()) tokenizer->impl_->config.chat_template = std::move(chat_template);
  return tokenizer;
}

}  // namespace tessera
