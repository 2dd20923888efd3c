#include "engine/output_processor.h"

#include <string>
#include <utility>

namespace tessera {

OutputProcessor::OutputProcessor(const Tokenizer* tokenizer, const SamplingParams& params,
                                 StopChecker checker)
    : checker_(std::move(checker)),
      keeps_stop_(params.include_stop_str_in_output),
      stop_strings_(checker_.rules().stops, keeps_stop_) {
  if (tokenizer != nullptr) decoder_.emplace(tokenizer, params.skip_special_tokens);
}

void OutputProcessor::Append(int32_t token, int64_t num_tokens, RequestUpdate* update) {
  const int32_t index = num_output_++;
  update->tokens.push_back(token);
  update->finish = checker_.Check(token, num_output_, num_tokens);
  if (decoder_) {
    // A token that ends the request is no part of its text, even if it has a text of its own,
    // unless that is wanted.
    const bool end_mark = update->finish == FinishReason::kStop && !keeps_stop_;
    const std::string text = end_mark ? std::string() : decoder_->Append(token);
    update->text += checker_.SearchesTextOf(index) ? stop_strings_.Append(text)
                                                   : stop_strings_.AppendUnsearched(text);
  }
  if (update->finish != FinishReason::kNone) Flush(update);
  if (stop_strings_.stopped()) {
    update->finish = FinishReason::kStop;
    update->stop_string = stop_strings_.match();
  } else if (update->finish == FinishReason::kStop && !checker_.IsModelEnd(token)) {
    update->stop_token = token;
  }
}

void OutputProcessor::Flush(RequestUpdate* update) {
  if (!decoder_) return;
  update->text += stop_strings_.Append(decoder_->Finish());
  update->text += stop_strings_.Finish();
}

}  // namespace tessera
