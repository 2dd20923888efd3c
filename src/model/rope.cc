#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "tessera/result.h"

namespace tessera {
namespace {

// transformers computes base^(2i/d) and its reciprocal in float32; every scaling below works on
// these float32 values, so that the differences stay within a unit in the last place.
std::vector<float> PlainFrequencies(double base, int32_t rotary_size) {
  std::vector<float> inverse(static_cast<size_t>(rotary_size / 2));
  for (size_t i = 0; i < inverse.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(rotary_size);
    const float power = static_cast<float>(std::pow(base, static_cast<double>(exponent)));
    inverse[i] = 1.0f / power;
  }
  return inverse;
}

// "NTK-aware" scaling: the base grows so that the slowest frequency stretches by the factor.
double DynamicBase(const RopeConfig& rope, int32_t rotary_size, int64_t max_position_embeddings,
                   int64_t max_model_len) {
  const double trained = static_cast<double>(max_position_embeddings);
  const double length = static_cast<double>(std::max(max_model_len, max_position_embeddings));
  const double stretch = rope.factor * length / trained - (rope.factor - 1.0);
  const double dims = rotary_size;
  // One pair has no slowest frequency apart from the fastest, which never changes.
  if (rotary_size <= 2) return rope.theta;
  return rope.theta * std::pow(stretch, dims / (dims - 2.0));
}

// Llama 3.1: wavelengths beyond original / low_freq_factor are stretched by the factor, those
// within original / high_freq_factor stay, and those between go linearly from one to the other.
void ScaleLlama3(const RopeConfig& rope, std::vector<float>* inverse) {
  const double original = static_cast<double>(rope.original_max_position_embeddings);
  const double low_wavelength = original / rope.low_freq_factor;
  const double high_wavelength = original / rope.high_freq_factor;
  for (float& frequency : *inverse) {
    const float wavelength = static_cast<float>(2.0 * std::numbers::pi) / frequency;
    if (wavelength < high_wavelength) continue;
    const float stretched = frequency / static_cast<float>(rope.factor);
    if (wavelength > low_wavelength) {
      frequency = stretched;
      continue;
    }
    const float smooth =
        (static_cast<float>(original) / wavelength - static_cast<float>(rope.low_freq_factor)) /
        static_cast<float>(rope.high_freq_factor - rope.low_freq_factor);
    frequency = (1.0f - smooth) * stretched + smooth * frequency;
  }
}

// YaRN (arXiv 2309.00071, section 3.2): dimensions that turn more than beta_fast times in the
// original context stay, those that turn less than beta_slow times are stretched, with a ramp
// between.
void ScaleYarn(const RopeConfig& rope, int32_t rotary_size, std::vector<float>* inverse) {
  const double original = static_cast<double>(rope.original_max_position_embeddings);
  const auto dimension_of = [&](double rotations) {
    return rotary_size * std::log(original / (rotations * 2.0 * std::numbers::pi)) /
           (2.0 * std::log(rope.theta));
  };
  double low = dimension_of(rope.beta_fast);
  double high = dimension_of(rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(rotary_size - 1));
  if (low == high) high += 0.001;  // transformers' guard against a division by zero
  for (size_t i = 0; i < inverse->size(); ++i) {
    float& frequency = (*inverse)[i];
    const float ramp = std::clamp(
        (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low), 0.0f,
        1.0f);
    const float kept = 1.0f - ramp;
    const float stretched = 1.0f / (static_cast<float>(rope.factor) * (1.0f / frequency));
    frequency = stretched * (1.0f - kept) + frequency * kept;
  }
}

double YarnMscale(double factor, double mscale) {
  return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

double YarnAttentionFactor(const RopeConfig& rope) {
  if (rope.attention_factor != 0.0) return rope.attention_factor;
  if (rope.mscale != 0.0 && rope.mscale_all_dim != 0.0) {
    return YarnMscale(rope.factor, rope.mscale) / YarnMscale(rope.factor, rope.mscale_all_dim);
  }
  return YarnMscale(rope.factor, 1.0);
}

}  // namespace

int32_t RotarySize(const RopeConfig& rope, int32_t head_size) {
  const auto size = static_cast<int32_t>(head_size * rope.partial_rotary_factor);
  return std::max(size / 2 * 2, 2);
}

RopeFrequencies ComputeRopeFrequencies(const RopeConfig& rope, int32_t rotary_size,
                                       int64_t max_position_embeddings, int64_t max_model_len) {
  RopeFrequencies result;
  result.inverse = PlainFrequencies(rope.theta, rotary_size);
  switch (rope.type) {
    case RopeType::kDefault:
      break;
    case RopeType::kLinear:
      for (float& frequency : result.inverse) frequency /= static_cast<float>(rope.factor);
      break;
    case RopeType::kDynamic:
      result.inverse = PlainFrequencies(
          DynamicBase(rope, rotary_size, max_position_embeddings, max_model_len), rotary_size);
      break;
    case RopeType::kLlama3:
      ScaleLlama3(rope, &result.inverse);
      break;
    case RopeType::kYarn:
      ScaleYarn(rope, rotary_size, &result.inverse);
      result.attention_factor = static_cast<float>(YarnAttentionFactor(rope));
      break;
  }
  return result;
}

int64_t MaxSupportedLength(const RopeConfig& rope, int64_t max_position_embeddings) {
  constexpr double kLongest = 1 << 30;
  double stretched = 0;
  switch (rope.type) {
    case RopeType::kLinear:
    case RopeType::kDynamic:
      stretched = rope.factor * static_cast<double>(max_position_embeddings);
      break;
    case RopeType::kYarn:
      stretched = rope.factor * static_cast<double>(rope.original_max_position_embeddings);
      break;
    case RopeType::kDefault:
    case RopeType::kLlama3:
      break;
  }
  return std::max(max_position_embeddings, static_cast<int64_t>(std::min(stretched, kLongest)));
}

DeviceRope::DeviceRope(const ModelConfig& config, int64_t max_model_len)
    : rotary_size_(RotarySize(config.rope, config.head_size)),
      max_model_len_(max_model_len),
      frequencies_(ComputeRopeFrequencies(config.rope, rotary_size_, config.max_position_embeddings,
                                          max_model_len)) {}

Status DeviceRope::Allocate(Device& device) {
  const int64_t bytes = max_model_len_ * (rotary_size_ / 2) * static_cast<int64_t>(sizeof(float));
  TESSERA_ASSIGN_OR_RETURN(cos_, device.Allocate(bytes, MemoryKind::kDevice));
  TESSERA_ASSIGN_OR_RETURN(sin_, device.Allocate(bytes, MemoryKind::kDevice));
  return {};
}

void DeviceRope::Fill(int64_t positions, Stream& stream) {
  TESSERA_CHECK(positions <= max_model_len_, "a position beyond max_model_len");
  if (positions <= filled_) return;
  constexpr int64_t kFirst = 1024;
  const int64_t grown = std::min(std::max({positions, 2 * filled_, kFirst}), max_model_len_);
  const int64_t half = rotary_size_ / 2;
  const auto count = static_cast<size_t>((grown - filled_) * half);
  std::vector<float> cos(count), sin(count);
  for (int64_t p = filled_; p < grown; ++p) {
    for (int64_t i = 0; i < half; ++i) {
      // The angle is a float32 product, as in transformers: at large positions its rounding is
      // larger than anything that follows.
      const float angle = static_cast<float>(p) * frequencies_.inverse[static_cast<size_t>(i)];
      const auto index = static_cast<size_t>((p - filled_) * half + i);
      cos[index] = std::cos(angle) * frequencies_.attention_factor;
      sin[index] = std::sin(angle) * frequencies_.attention_factor;
    }
  }
  const auto bytes = static_cast<int64_t>(count * sizeof(float));
  stream.Copy(cos_.As<float>() + filled_ * half, cos.data(), bytes);
  stream.Copy(sin_.As<float>() + filled_ * half, sin.data(), bytes);
  filled_ = grown;
}

RopeTable DeviceRope::table() const {
  return {cos_.As<float>(), sin_.As<float>(), max_model_len_, rotary_size_};
}

}  // namespace tessera
