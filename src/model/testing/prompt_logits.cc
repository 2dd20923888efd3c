#include "model/testing/prompt_logits.h"

#include <numeric>
#include <utility>

namespace tessera {
namespace {

constexpr int32_t kBlock = 4;

}  // namespace

PromptLogits::PromptLogits(Model* model, Backend* backend, Device* device, Ops* ops,
                           int32_t max_len)
    : model_(model), device_(device), ops_(ops), backend_(backend), max_len_(max_len) {
  auto plan =
      backend->NewPlan(model->layer_specs().front(), {.max_seqs = 1, .max_tokens = max_len});
  TESSERA_CHECK(plan.ok(), "a plan for the test's model");
  plan_ = std::move(plan).value();
  for (const AttentionSpec& spec : model->layer_specs()) {
    KvCacheShape shape;
    shape.num_blocks = (max_len + kBlock - 1) / kBlock;
    shape.block_size = kBlock;
    shape.num_kv_heads = spec.num_kv_heads;
    shape.head_size = spec.head_size;
    shape.head_size_v = spec.value_size();
    const int64_t bytes = KvCacheElements(shape) * static_cast<int64_t>(SizeOf(spec.cache_dtype));
    auto buffer = device->Allocate(bytes, MemoryKind::kDevice);
    TESSERA_CHECK(buffer.ok(), "memory for the test's cache");
    ops->stream().Fill(buffer->data(), 0xff, bytes);  // NaN
    layers_.push_back({backend, plan_.get(), MakeKvCache(shape, spec.cache_dtype, buffer->data())});
    memory_.push_back(std::move(buffer).value());
  }
}

Result<const void*> PromptLogits::Upload(const void* data, size_t bytes) {
  TESSERA_ASSIGN_OR_RETURN(Buffer buffer,
                           device_->Allocate(static_cast<int64_t>(bytes), MemoryKind::kDevice));
  ops_->stream().Copy(buffer.data(), data, static_cast<int64_t>(bytes));
  const void* const address = buffer.data();
  memory_.push_back(std::move(buffer));
  return address;
}

Result<std::vector<float>> PromptLogits::Step(std::span<const int32_t> tokens, int32_t wanted) {
  const auto count = static_cast<int32_t>(tokens.size());
  if (wanted < 0) wanted = count;
  std::vector<int32_t> positions(tokens.size()), rows(static_cast<size_t>(wanted)),
      table(static_cast<size_t>((max_len_ + kBlock - 1) / kBlock));
  std::iota(positions.begin(), positions.end(), length_);
  std::iota(rows.begin(), rows.end(), count - wanted);
  std::iota(table.begin(), table.end(), 0);
  const std::vector<int64_t> slots(positions.begin(), positions.end());
  const std::vector<int32_t> starts = {0, count}, lens = {length_ + count};
  length_ += count;
  TESSERA_CHECK(length_ <= max_len_, "a prompt longer than the test has room for");

  ForwardBatch batch;
  const auto upload = [&](const auto& values, auto** address) -> Status {
    using T = std::remove_pointer_t<std::remove_pointer_t<decltype(address)>>;
    TESSERA_ASSIGN_OR_RETURN(const void* const data,
                             Upload(values.data(), values.size() * sizeof(values[0])));
    *address = static_cast<T*>(data);
    return {};
  };
  AttentionBatch& attention = batch.attention;
  attention.num_seqs = 1;
  attention.num_tokens = attention.max_query_len = count;
  attention.max_seq_len = length_;
  attention.block_table_stride = static_cast<int64_t>(table.size());
  attention.host = {.query_start_loc = starts.data(),
                    .seq_lens = lens.data(),
                    .block_table = table.data(),
                    .slot_mapping = slots.data()};
  TESSERA_RETURN_IF_ERROR(upload(tokens, &batch.token_ids));
  TESSERA_RETURN_IF_ERROR(upload(positions, &batch.positions));
  TESSERA_RETURN_IF_ERROR(upload(rows, &batch.logit_rows));
  TESSERA_RETURN_IF_ERROR(upload(starts, &attention.device.query_start_loc));
  TESSERA_RETURN_IF_ERROR(upload(lens, &attention.device.seq_lens));
  TESSERA_RETURN_IF_ERROR(upload(table, &attention.device.block_table));
  TESSERA_RETURN_IF_ERROR(upload(slots, &attention.device.slot_mapping));
  const int64_t vocab = model_->config().vocab_size;
  TESSERA_ASSIGN_OR_RETURN(Buffer output,
                           device_->Allocate(wanted * vocab * 4, MemoryKind::kDevice));
  batch.layers = layers_;
  batch.logits = {output.data(), DType::kFloat32, wanted, vocab, vocab};

  Stream& stream = ops_->stream();
  TESSERA_RETURN_IF_ERROR(model_->Prepare(length_));
  TESSERA_RETURN_IF_ERROR(backend_->Prepare(plan_.get(), attention, stream));
  TESSERA_RETURN_IF_ERROR(model_->Forward(batch));
  std::vector<float> logits(static_cast<size_t>(wanted * vocab));
  stream.Copy(logits.data(), output.data(), output.bytes());
  TESSERA_RETURN_IF_ERROR(stream.Synchronize());
  return logits;
}

}  // namespace tessera
