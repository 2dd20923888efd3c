#include "engine/testing/tiny_math.h"

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/testing/source_path.h"
#include "engine/testing/outcomes.h"
#include "text/tokenizer/tokenizer.h"

namespace tessera::testing {

EngineOptions TinyMathOptions() {
  EngineOptions options;
  options.model_directory = TinyMathDirectory();
  if (const char* device = std::getenv("TESSERA_DEVICE")) options.device = device;
  options.dtype = DType::kFloat32;
  options.kv_cache_bytes = int64_t{256} << 20;
  return options;
}

std::vector<RecordedAnswer> RecordedAnswers(size_t count) {
  std::vector<RecordedAnswer> answers;
  std::ifstream file(TinyMathDirectory() + "/data/reference/answers.float32.jsonl");
  std::string line;
  while (answers.size() < count && std::getline(file, line)) {
    const auto json = nlohmann::json::parse(line);
    answers.push_back({json["prompt"], json["completion"]});
  }
  return answers;
}

Request RequestFor(const Engine& engine, const RecordedAnswer& answer) {
  Request request = GreedyRequest(engine.tokenizer()->Encode(answer.prompt), 256);
  request.sampling.stop = {"Question:"};
  return request;
}

}  // namespace tessera::testing
