#include "model/decoder.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

namespace tessera {
namespace {

// Memory for the activations of the largest step, at addresses that stay.
struct Activations {
  Buffer residual, hidden, delta, qkv, attended, gate_up, activated;
  Buffer wanted_residual, wanted_attended;  // the rows whose logits are wanted
};

class DecoderModel final : public Model {
 public:
  DecoderModel(const ModelConfig& config, Decoder decoder, Device* device, Ops* ops,
               const ModelOptions& options, int64_t max_model_len)
      : config_(config),
        decoder_(std::move(decoder)),
        device_(*device),
        ops_(*ops),
        dtype_(ops->activation_dtype()),
        max_tokens_(options.max_batch_tokens),
        max_logit_rows_(options.max_logit_rows),
        rope_(config, max_model_len) {
    for (const DecoderLayer& layer : decoder_.layers) specs_.push_back(layer.attention);
  }

  Status Allocate() {
    int64_t heads = 0, qkv = 0, inner = 0;
    for (const DecoderLayer& layer : decoder_.layers) {
      heads = std::max(heads, layer.output->in_features());
      qkv = std::max(qkv, layer.qkv->out_features());
      inner = std::max(inner, layer.mlp.down->in_features());
    }
    const int64_t hidden = config_.hidden_size;
    struct Wanted {
      Buffer* buffer;
      int64_t rows, cols;
      DType dtype;
    };
    Activations& a = activations_;
    for (const Wanted& wanted : {Wanted{&a.residual, max_tokens_, hidden, kResidual},
                                 {&a.hidden, max_tokens_, hidden, dtype_},
                                 {&a.delta, max_tokens_, hidden, dtype_},
                                 {&a.qkv, max_tokens_, qkv, dtype_},
                                 {&a.attended, max_tokens_, heads, dtype_},
                                 {&a.gate_up, max_tokens_, 2 * inner, dtype_},
                                 {&a.activated, max_tokens_, inner, dtype_},
                                 {&a.wanted_residual, max_logit_rows_, hidden, kResidual},
                                 {&a.wanted_attended, max_logit_rows_, heads, dtype_}}) {
      auto buffer =
          device_.Allocate(wanted.rows * wanted.cols * static_cast<int64_t>(SizeOf(wanted.dtype)),
                           MemoryKind::kDevice);
      if (!buffer.ok()) {
        return OutOfMemory("there is no memory for the activations of a step of " +
                           std::to_string(max_tokens_) +
                           " tokens; lower --batch-tokens: " + buffer.error().message);
      }
      *wanted.buffer = std::move(buffer).value();
    }
    return rope_.Allocate(device_);
  }

  const ModelConfig& config() const override { return config_; }
  const std::vector<AttentionSpec>& layer_specs() const override { return specs_; }

  int64_t weight_bytes() const override {
    int64_t sum = decoder_.head->bytes() + decoder_.final_norm.weight.bytes();
    if (decoder_.embedding != nullptr) sum += decoder_.embedding->bytes();
    for (const DecoderLayer& layer : decoder_.layers) {
      sum += layer.qkv->bytes() + layer.output->bytes() + layer.mlp.gate_up->bytes() +
             layer.mlp.down->bytes() + layer.before_attention.weight.bytes() +
             layer.before_mlp.weight.bytes();
    }
    return sum;
  }

  Status Prepare(int64_t max_seq_len) override {
    if (max_seq_len > rope_.max_model_len()) {
      return InvalidArgument("a sequence of " + std::to_string(max_seq_len) +
                             " tokens is longer than the longest that was asked for, " +
                             std::to_string(rope_.max_model_len()) + " tokens.");
    }
    rope_.Fill(max_seq_len, ops_.stream());
    return {};
  }

  Status Forward(const ForwardBatch& batch) override {
    const int64_t tokens = batch.attention.num_tokens, wanted = batch.logits.rows;
    TESSERA_CHECK(batch.layers.size() == decoder_.layers.size(), "attention for every layer");
    TESSERA_CHECK(tokens <= max_tokens_ && wanted <= max_logit_rows_,
                  "a step is larger than the model was made for");
    if (tokens == 0) return {};
    const int64_t hidden_size = config_.hidden_size;
    const Tensor residual = Residual(activations_.residual, tokens);
    const Tensor hidden = View(activations_.hidden, tokens, hidden_size);
    const LinearWeights& table =
        decoder_.embedding != nullptr ? *decoder_.embedding : *decoder_.head;
    ops_.Embed(table, batch.token_ids, residual);
    const Norm& first = decoder_.layers.front().before_attention;
    ops_.Norm({.x = residual, .weight = first.data(), .eps = first.eps, .y = hidden});
    for (size_t i = 0; i + 1 < decoder_.layers.size(); ++i) {
      const DecoderLayer& layer = decoder_.layers[i];
      const Tensor attended = View(activations_.attended, tokens, layer.output->in_features());
      TESSERA_RETURN_IF_ERROR(Attend(layer, batch, batch.layers[i], hidden, attended));
      FeedForward(layer, attended, residual, decoder_.layers[i + 1].before_attention, hidden);
    }

    // Nothing reads the last layer's other rows, and without any wanted row not even its attention.
    const DecoderLayer& last = decoder_.layers.back();
    const int64_t heads = last.output->in_features();
    const Tensor attended = View(activations_.attended, wanted > 0 ? tokens : 0, heads);
    TESSERA_RETURN_IF_ERROR(Attend(last, batch, batch.layers.back(), hidden, attended));
    if (wanted == 0) return {};
    const Tensor wanted_attended = View(activations_.wanted_attended, wanted, heads);
    const Tensor wanted_residual = Residual(activations_.wanted_residual, wanted);
    const Tensor wanted_hidden = View(activations_.hidden, wanted, hidden_size);
    ops_.Gather(attended, batch.logit_rows, wanted_attended);
    ops_.Gather(residual, batch.logit_rows, wanted_residual);
    FeedForward(last, wanted_attended, wanted_residual, decoder_.final_norm, wanted_hidden);
    ops_.Linear(*decoder_.head, wanted_hidden, batch.logits);
    return {};
  }

 private:
  Tensor View(const Buffer& buffer, int64_t rows, int64_t cols) const {
    return {buffer.data(), dtype_, rows, cols, cols};
  }

  Tensor Residual(const Buffer& buffer, int64_t rows) const {
    return {buffer.data(), kResidual, rows, config_.hidden_size, config_.hidden_size};
  }

  // The attention of one layer: hidden [tokens, hidden] -> attended [tokens, query heads' values].
  Status Attend(const DecoderLayer& layer, const ForwardBatch& batch,
                const LayerAttention& attention, const Tensor& hidden, const Tensor& attended) {
    const AttentionSpec& spec = layer.attention;
    const Tensor qkv = View(activations_.qkv, hidden.rows, layer.qkv->out_features());
    ops_.Linear(*layer.qkv, hidden, qkv);
    // A plain cache is written in the same pass; its backend writes any other.
    const bool plain = spec.kv_scales == ScaleMode::kNone && !spec.shares_kv &&
                       attention.cache.packing == KvPacking::kStandard;
    QkNormRopeArgs args{.qkv = qkv,
                        .num_heads = spec.num_heads,
                        .num_kv_heads = spec.num_kv_heads,
                        .head_size = spec.head_size,
                        .value_size = spec.value_size(),
                        .rope = rope_.table(),
                        .positions = batch.positions,
                        .cache = plain ? &attention.cache : nullptr,
                        .slot_mapping = batch.attention.device.slot_mapping};
    if (layer.q_norm) {
      args.q_norm = layer.q_norm->data();
      args.norm_eps = layer.q_norm->eps;
    }
    if (layer.k_norm) args.k_norm = layer.k_norm->data();
    ops_.QkNormRope(args);
    Stream& stream = ops_.stream();
    if (!plain) {
      const int64_t keys = int64_t{spec.num_heads} * spec.head_size;
      const int64_t values = keys + int64_t{spec.num_kv_heads} * spec.head_size;
      TESSERA_RETURN_IF_ERROR(attention.backend->WriteKv(*attention.plan, batch.attention,
                                                         {.key = At(qkv, keys),
                                                          .value = At(qkv, values),
                                                          .dtype = dtype_,
                                                          .key_token_stride = qkv.stride,
                                                          .key_head_stride = spec.head_size,
                                                          .value_token_stride = qkv.stride,
                                                          .value_head_stride = spec.value_size()},
                                                         attention.cache, stream));
    }
    if (attended.rows == 0) return {};
    RunArgs run;
    run.query = qkv.data;
    run.query_token_stride = qkv.stride;
    run.query_head_stride = spec.head_size;
    run.output = attended.data;
    run.output_token_stride = attended.stride;
    run.output_head_stride = spec.value_size();
    return attention.backend->Run(attention.plan, batch.attention, attention.cache, run, stream);
  }

  // What follows attention in a layer, up to the norm that comes next: `residual` and `hidden` are
  // updated.
  void FeedForward(const DecoderLayer& layer, const Tensor& attended, const Tensor& residual,
                   const Norm& next, const Tensor& hidden) {
    const int64_t rows = residual.rows, inner = layer.mlp.down->in_features();
    const Tensor delta = View(activations_.delta, rows, config_.hidden_size);
    ops_.Linear(*layer.output, attended, delta);
    AddAndNorm(delta, residual, layer.before_mlp, hidden);
    const Tensor gate_up = View(activations_.gate_up, rows, 2 * inner);
    const Tensor activated = View(activations_.activated, rows, inner);
    ops_.LinearActivate(*layer.mlp.gate_up, layer.mlp.activation, hidden, gate_up, activated);
    ops_.Linear(*layer.mlp.down, activated, delta);
    AddAndNorm(delta, residual, next, hidden);
  }

  void AddAndNorm(const Tensor& delta, const Tensor& residual, const Norm& norm,
                  const Tensor& hidden) {
    ops_.Norm({.x = residual, .add = &delta, .weight = norm.data(), .eps = norm.eps, .y = hidden});
  }

  static const void* At(const Tensor& tensor, int64_t element) {
    return static_cast<const std::byte*>(tensor.data) +
           element * static_cast<int64_t>(SizeOf(tensor.dtype));
  }

  static constexpr DType kResidual = DType::kFloat32;

  const ModelConfig config_;
  const Decoder decoder_;
  Device& device_;
  Ops& ops_;
  const DType dtype_;
  const int64_t max_tokens_;
  const int64_t max_logit_rows_;
  std::vector<AttentionSpec> specs_;
  DeviceRope rope_;
  Activations activations_;
};

}  // namespace

Result<std::unique_ptr<Model>> MakeDecoderModel(const ModelConfig& config, Decoder decoder,
                                                Device* device, Ops* ops,
                                                const ModelOptions& options,
                                                int64_t max_model_len) {
  TESSERA_CHECK(!decoder.layers.empty() && decoder.head != nullptr, "a decoder has layers");
  auto model = std::make_unique<DecoderModel>(config, std::move(decoder), device, ops, options,
                                              max_model_len);
  TESSERA_RETURN_IF_ERROR(model->Allocate());
  return std::unique_ptr<Model>(std::move(model));
}

}  // namespace tessera
