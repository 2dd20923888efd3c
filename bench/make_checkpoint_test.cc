#include "make_checkpoint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <vector>

#include "model/safetensors.h"
#include "model/testing/prompt_logits.h"
#include "model/testing/safetensors_builder.h"
#include "model/testing/slow_ops.h"
#include "tessera/registry.h"

namespace tessera {
namespace {

RandomCheckpoint Small(const std::string& directory) {
  RandomCheckpoint options;
  options.directory = directory;
  options.hidden_size = 128;
  options.intermediate_size = 320;
  options.num_layers = 3;
  options.num_heads = 4;
  options.num_kv_heads = 2;
  options.head_size = 34;
  options.vocab_size = 301;
  options.max_position_embeddings = 256;
  return options;
}

TEST(MakeCheckpoint, ShardsHoldWhatOneFileHolds) {
  const TempDir dir("make");
  RandomCheckpoint options = Small(dir / "single");
  ASSERT_TRUE(WriteRandomCheckpoint(options).ok());
  options.directory = dir / "shards";
  options.shard_bytes = 100'000;
  ASSERT_TRUE(WriteRandomCheckpoint(options).ok());
  const auto single = Checkpoint::Open(dir / "single");
  const auto shards = Checkpoint::Open(dir / "shards");
  ASSERT_TRUE(single.ok()) << single.error().message;
  ASSERT_TRUE(shards.ok()) << shards.error().message;
  const auto files = std::filesystem::directory_iterator(dir.path() / "shards");
  EXPECT_GT(std::distance(begin(files), end(files)), 5) << "several shards";
  ASSERT_EQ(single->tensors().size(), shards->tensors().size());
  for (const auto& [name, view] : single->tensors()) {
    const TensorView* other = shards->Find(name);
    ASSERT_NE(other, nullptr) << name;
    EXPECT_EQ(view.shape, other->shape) << name;
    EXPECT_TRUE(std::equal(view.data, view.data + view.bytes, other->data)) << name;
  }
}

TEST(MakeCheckpoint, LogitsAreSane) {
  for (bool tied : {false, true}) {
    const TempDir dir("sane");
    RandomCheckpoint options = Small(dir.path().string());
    options.tied = tied;
    ASSERT_TRUE(WriteRandomCheckpoint(options).ok());
    const std::unique_ptr<Device> device = CreateCpuDevice();
    const std::unique_ptr<Stream> stream = std::move(device->NewStream()).value();
    SlowOps ops(stream.get());
    ThreadPool threads({1, false, 0});
    const auto model =
        LoadModel(options.directory, device.get(), &ops,
                  {.dtype = DType::kFloat32, .max_batch_tokens = 20, .max_logit_rows = 20});
    ASSERT_TRUE(model.ok()) << model.error().message;
    const auto selection =
        SelectBackend({"reference", (*model)->layer_specs()[0], 4}, {device.get(), &threads});
    ASSERT_TRUE(selection.ok()) << selection.error().message;
    std::vector<int32_t> prompt(20);
    for (int32_t i = 0; i < 20; ++i) prompt[static_cast<size_t>(i)] = i * 13 % 301;
    const auto logits =
        PromptLogits(model->get(), selection->backend.get(), device.get(), &ops, 20).Step(prompt);
    ASSERT_TRUE(logits.ok());
    double squares = 0;
    for (float logit : *logits) squares += static_cast<double>(logit) * logit;
    const double deviation = std::sqrt(squares / static_cast<double>(logits->size()));
    EXPECT_GT(deviation, 0.5);
    EXPECT_LT(deviation, 2.0);
  }
}

TEST(MakeCheckpoint, RefusesNonsense) {
  const TempDir dir("nonsense");
  RandomCheckpoint options = Small(dir.path().string());
  options.num_kv_heads = 3;
  EXPECT_FALSE(WriteRandomCheckpoint(options).ok());
  options = Small(dir.path().string());
  options.vocab_size = 0;
  EXPECT_FALSE(WriteRandomCheckpoint(options).ok());
  options = Small(dir.path().string());
  options.tokenizer_directory = dir / "absent";
  EXPECT_FALSE(WriteRandomCheckpoint(options).ok());
  WriteFile(dir / "file", "");
  EXPECT_FALSE(WriteRandomCheckpoint(Small(dir / "file")).ok());
}

}  // namespace
}  // namespace tessera
