// From a request's tokens to its text, and to its end.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/request.h"
#include "engine/stop_checker.h"
#include "engine/stop_strings.h"
#include "text/tokenizer/tokenizer.h"

namespace tessera {

// Of one request. Not thread-safe.
class OutputProcessor {
 public:
  // Without a tokenizer (null) there is no text, and no stop string ever matches. It outlives this.
  OutputProcessor(const Tokenizer* tokenizer, const SamplingParams& params, StopChecker checker);

  const StopChecker& checker() const { return checker_; }
  int32_t num_output() const { return num_output_; }

  // Takes the request's next token, the num_tokens-th of prompt and output together: adds it and
  // the text that became certain to `update`, and sets update->finish if the request ends.
  void Append(int32_t token, int64_t num_tokens, RequestUpdate* update);

  // The request ends from outside: adds the text that was held back.
  void Flush(RequestUpdate* update);

 private:
  StopChecker checker_;
  bool keeps_stop_;  // what ends the text is a part of it
  StopStrings stop_strings_;
  std::optional<Tokenizer::StreamDecoder> decoder_;
  int32_t num_output_ = 0;
};

}  // namespace tessera
