// Reads the vocabulary of a tokenizer.json: the byte-pair model and the added tokens.
#pragma once

#include <vector>

#include "text/tokenizer/added_tokens.h"
#include "text/tokenizer/bpe.h"
#include "text/tokenizer/json.h"

namespace tessera::tokenization {

// A table with one entry per id may be made: no id is larger than this.
inline constexpr int32_t kMaxTokenId = (1 << 22) - 1;

// `json` is the member "model". Refuses models of other types, ids out of range and ids that occur
// twice.
Result<BpeConfig> ParseBpeConfig(Json json);

// `root` is the whole file. A token that is also in the model's vocabulary has its id there,
// whatever the entry says, as `tokenizers` has it. Texts that occur again are left out.
Result<std::vector<AddedToken>> ParseAddedTokens(Json root, const Bpe& bpe);

}  // namespace tessera::tokenization
