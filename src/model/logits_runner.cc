#include "model/logits_runner.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

namespace tessera {

LogitsRunner::LogitsRunner(Model* model, std::vector<Backend*> backends, int32_t num_sequences,
                           int32_t max_len, int32_t block_size)
    : model_(model),
      backends_(std::move(backends)),
      block_size_(block_size),
      max_len_(max_len),
      pages_((max_len + block_size - 1) / block_size),
      lengths_(static_cast<size_t>(num_sequences), 0) {
  for (const AttentionSpec& spec : model->layer_specs()) {
    KvCacheShape shape;
    shape.num_blocks = int64_t{num_sequences} * pages_;
    shape.block_size = block_size;
    shape.num_kv_heads = spec.num_kv_heads;
    shape.head_size = spec.head_size;
    shape.head_size_v = spec.value_size();
    const int64_t elements = KvCacheElements(shape);
    std::vector<std::byte> memory(static_cast<size_t>(elements) * SizeOf(spec.cache_dtype));
    const float nan = std::numeric_limits<float>::quiet_NaN();
    for (int64_t i = 0; i < elements; ++i) {
      StoreFromFloat(spec.cache_dtype, memory.data(), i, nan);
    }
    caches_.push_back(MakeKvCache(shape, spec.cache_dtype, memory.data()));
    memory_.push_back(std::move(memory));
  }
  plans_.resize(caches_.size());
}

Result<LogitsRunner> LogitsRunner::Create(Model* model, Backend* backend, int32_t num_sequences,
                                          int32_t max_len, int32_t block_size) {
  return Create(model, std::vector<Backend*>(model->layer_specs().size(), backend), num_sequences,
                max_len, block_size);
}

Result<LogitsRunner> LogitsRunner::Create(Model* model, std::vector<Backend*> backends,
                                          int32_t num_sequences, int32_t max_len,
                                          int32_t block_size) {
  const std::vector<AttentionSpec>& specs = model->layer_specs();
  TESSERA_CHECK(backends.size() == specs.size());
  for (size_t i = 0; i < specs.size(); ++i) {
    const Support support = backends[i]->Supports(specs[i], block_size);
    if (!support.ok()) {
      return Unsupported("the attention backend " + backends[i]->Name() + " cannot run " +
                         ToString(specs[i]) + ": " + support.reasons.front());
    }
  }
  return LogitsRunner(model, std::move(backends), num_sequences, max_len, block_size);
}

Result<std::vector<float>> LogitsRunner::Step(std::span<const Piece> pieces) {
  const auto num_sequences = static_cast<int32_t>(lengths_.size());
  std::vector<int32_t> tokens, positions, rows, query_start_loc = {0}, seq_lens, block_table;
  std::vector<int64_t> slots;
  AttentionBatch batch;
  for (const Piece& piece : pieces) {
    TESSERA_CHECK(piece.sequence >= 0 && piece.sequence < num_sequences, "a sequence's number");
    const auto page = [&](int32_t index) { return index * num_sequences + piece.sequence; };
    const auto length = static_cast<int32_t>(piece.tokens.size());
    int32_t& position = lengths_[static_cast<size_t>(piece.sequence)];
    if (length > max_len_ - position) {
      return InvalidArgument("the sequence would have more than the " + std::to_string(max_len_) +
                             " tokens that there is room for.");
    }
    const int32_t wanted = piece.num_logits < 0 ? length : std::min(piece.num_logits, length);
    for (int32_t i = length - wanted; i < length; ++i) {
      rows.push_back(static_cast<int32_t>(tokens.size()) + i);
    }
    for (int32_t token : piece.tokens) {
      tokens.push_back(token);
      positions.push_back(position);
      slots.push_back(int64_t{page(position / block_size_)} * block_size_ + position % block_size_);
      ++position;
    }
    for (int32_t i = 0; i < pages_; ++i) block_table.push_back(page(i));
    query_start_loc.push_back(static_cast<int32_t>(tokens.size()));
    seq_lens.push_back(position);
    batch.max_query_len = std::max(batch.max_query_len, length);
    batch.max_seq_len = std::max(batch.max_seq_len, position);
  }
  batch.num_seqs = static_cast<int32_t>(pieces.size());
  batch.num_tokens = static_cast<int32_t>(tokens.size());
  batch.query_start_loc = query_start_loc.data();
  batch.seq_lens = seq_lens.data();
  batch.block_table = block_table.data();
  batch.block_table_stride = pages_;
  batch.slot_mapping = slots.data();

  const std::vector<AttentionSpec>& specs = model_->layer_specs();
  std::vector<LayerAttention> layers(specs.size());
  for (size_t i = 0; i < specs.size(); ++i) {
    plans_[i] = backends_[i]->Plan(specs[i], batch, std::move(plans_[i]));
    layers[i] = {backends_[i], plans_[i].get(), &specs[i], caches_[i]};
  }
  std::vector<float> logits(rows.size() * static_cast<size_t>(model_->config().vocab_size));
  TESSERA_RETURN_IF_ERROR(model_->Forward({tokens, positions, batch, layers, rows}, logits.data()));
  return logits;
}

}  // namespace tessera
