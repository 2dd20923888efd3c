#include "text/tokenizer/component_reader.h"
#include "text/tokenizer/components.h"

namespace tessera::tokenization {

Result<Normalizer> ParseNormalizer(Json json) {
  constexpr std::string_view kWhere = "the normalizer";
  std::vector<NormalizerStep> steps;
  const auto read = [&](Json step, const std::string& type) -> Status {
    if (type == "NFC") {
      steps.emplace_back(NormalForm::kNfc);
    } else if (type == "NFD") {
      steps.emplace_back(NormalForm::kNfd);
    } else if (type == "NFKC") {
      steps.emplace_back(NormalForm::kNfkc);
    } else if (type == "NFKD") {
      steps.emplace_back(NormalForm::kNfkd);
    } else if (type == "Lowercase") {
      steps.emplace_back(LowercaseStep{});
    } else if (type == "StripAccents") {
      steps.emplace_back(StripAccentsStep{});
    } else if (type == "ByteLevel") {
      steps.emplace_back(ByteLevelStep{});
    } else if (type == "Strip") {
      TESSERA_ASSIGN_OR_RETURN(const bool left, BoolOr(step, "strip_left", true, kWhere));
      TESSERA_ASSIGN_OR_RETURN(const bool right, BoolOr(step, "strip_right", true, kWhere));
      steps.emplace_back(StripStep{left, right});
    } else if (type == "Prepend") {
      TESSERA_ASSIGN_OR_RETURN(std::string content, StringAt(step, "prepend", kWhere));
      steps.emplace_back(PrependStep{std::move(content)});
    } else if (type == "Replace") {
      TESSERA_ASSIGN_OR_RETURN(Pattern pattern, ParsePattern(step, kWhere));
      TESSERA_ASSIGN_OR_RETURN(std::string content, StringAt(step, "content", kWhere));
      steps.emplace_back(ReplaceStep{std::move(pattern.regex), std::move(content)});
    } else {
      return UnknownType("normalizer", type);
    }
    return {};
  };
  TESSERA_RETURN_IF_ERROR(ForEachComponent(json, "normalizers", "normalizer", read));
  return Normalizer(std::move(steps));
}

}  // namespace tessera::tokenization
