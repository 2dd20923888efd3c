// Reads the components of a tokenizer.json: normaliser, pre-tokenizer, post-processor, decoder. A
// type that is not known here is refused by name: leaving it out would change the tokens.
#pragma once

#include <optional>
#include <vector>

#include "text/tokenizer/decoder.h"
#include "text/tokenizer/json.h"
#include "text/tokenizer/normalizer.h"
#include "text/tokenizer/post_processor.h"
#include "text/tokenizer/pre_tokenizer.h"

namespace tessera::tokenization {

Result<Normalizer> ParseNormalizer(Json json);
Result<PreTokenizer> ParsePreTokenizer(Json json);
Result<PostProcessor> ParsePostProcessor(Json json, int32_t largest_id);
Result<std::vector<DecoderStep>> ParseDecoder(Json json);

}  // namespace tessera::tokenization
