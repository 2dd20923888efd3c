// make_checkpoint DIR: writes a random Llama checkpoint of any shape.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "make_checkpoint.h"

int main(int argc, char** argv) {
  tessera::RandomCheckpoint options;
  bool untied = false;
  CLI::App app("Writes a random Llama checkpoint: config.json, safetensors in bfloat16");
  app.option_defaults()->always_capture_default();
  app.add_option("directory", options.directory, "Where to write")->required();
  app.add_option("--hidden", options.hidden_size, "Hidden size");
  app.add_option("--intermediate", options.intermediate_size, "Size of the feed-forward network");
  app.add_option("--layers", options.num_layers, "Layers");
  app.add_option("--heads", options.num_heads, "Query heads");
  app.add_option("--kv-heads", options.num_kv_heads, "KV heads");
  app.add_option("--head-size", options.head_size, "Head size");
  app.add_option("--vocab", options.vocab_size, "Vocabulary");
  app.add_option("--max-position", options.max_position_embeddings, "Longest sequence");
  app.add_option("--rope-theta", options.rope_theta, "Base of the rotary embedding");
  app.add_flag("--untied", untied, "A separate output matrix");
  app.add_option("--shard-bytes", options.shard_bytes, "Size of a shard; 0: one file")
      ->transform(CLI::AsSizeValue(false));
  app.add_option("--seed", options.seed, "Seed of the weights");
  app.add_option("--tokenizer", options.tokenizer_directory, "Copies the tokenizer of this model");
  CLI11_PARSE(app, argc, argv);
  options.tied = !untied;
  const tessera::Status status = tessera::WriteRandomCheckpoint(options);
  if (!status.ok()) {
    std::fprintf(stderr, "make_checkpoint: %s\n", status.error().message.c_str());
    return 1;
  }
  return 0;
}
