// Answers a question with a model, without a server:  offline_generation MODEL_DIRECTORY
#include <cstdio>

#include "engine/offline.h"

int main(int argc, char** argv) {
  const auto fail = [](const tessera::Error& error) {
    return std::fprintf(stderr, "error: %s\n", error.message.c_str()), 1;
  };
  auto engine = tessera::Engine::Create({.model_directory = argc > 1 ? argv[1] : "."});
  if (!engine.ok()) return fail(engine.error());
  const std::string prompt =
      "Question: Ada has 12 pears and buys 30 more. How many pears does Ada have?\nAnswer:";
  const auto answers =
      tessera::Generate(engine->get(), {prompt}, {.temperature = 0, .stop = {"Question:"}});
  if (!answers.ok()) return fail(answers.error());
  std::printf("%s\n", answers->front().text.c_str());
}
