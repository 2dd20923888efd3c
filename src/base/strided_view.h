// A window on somebody else's array, with a stride for every dimension.
#pragma once

#include <array>
#include <cstdint>
#include <type_traits>

#include "tessera/result.h"

namespace tessera {

// Element (i, j, ...) lies at data[i * strides[0] + j * strides[1] + ...]; strides count elements
// and may be zero (a broadcast) or negative. Owns nothing; copying copies the window.
// Debug builds (without NDEBUG) check every index.
template <typename T, int Rank>
class StridedView {
  static_assert(Rank >= 1);

 public:
  using Extents = std::array<int64_t, Rank>;

  StridedView() = default;

  StridedView(T* data, const Extents& shape, const Extents& strides)
      : data_(data), shape_(shape), strides_(strides) {
    for (int64_t size : shape) TESSERA_CHECK(size >= 0, "a view's shape must not be negative");
  }

  // A dense row-major array: the last dimension is contiguous.
  StridedView(T* data, const Extents& shape) : StridedView(data, shape, DenseStrides(shape)) {}

  // Views of mutable elements serve as views of constant ones.
  template <typename U>
    requires(std::is_same_v<T, const U> && !std::is_const_v<U>)
  StridedView(const StridedView<U, Rank>& other)  // NOLINT(google-explicit-constructor)
      : StridedView(other.data(), other.shape(), other.strides()) {}

  T* data() const { return data_; }
  const Extents& shape() const { return shape_; }
  const Extents& strides() const { return strides_; }
  int64_t size(int dimension) const { return shape_[static_cast<size_t>(dimension)]; }
  int64_t stride(int dimension) const { return strides_[static_cast<size_t>(dimension)]; }

  // Elements in all.
  int64_t count() const {
    int64_t product = 1;
    for (int64_t size : shape_) product *= size;
    return product;
  }

  // True if the elements lie in row-major order without gaps. Strides of dimensions with at most
  // one element do not matter.
  bool IsDense() const {
    if (count() == 0) return true;
    int64_t expected = 1;
    for (size_t d = Rank; d-- > 0;) {
      if (shape_[d] > 1 && strides_[d] != expected) return false;
      expected *= shape_[d];
    }
    return true;
  }

  template <typename... Index>
    requires(sizeof...(Index) == Rank && (std::is_integral_v<Index> && ...))
  T& operator()(Index... index) const {
    return data_[Offset({static_cast<int64_t>(index)...})];
  }

  // The window of the remaining dimensions at `index` of the first one.
  StridedView<T, Rank - 1> operator[](int64_t index) const
    requires(Rank > 1)
  {
    CheckIndex(0, index);
    std::array<int64_t, Rank - 1> shape;
    std::array<int64_t, Rank - 1> strides;
    for (size_t d = 1; d < Rank; ++d) {
      shape[d - 1] = shape_[d];
      strides[d - 1] = strides_[d];
    }
    return {data_ + index * strides_[0], shape, strides};
  }

  T& operator[](int64_t index) const
    requires(Rank == 1)
  {
    return (*this)(index);
  }

 private:
  static Extents DenseStrides(const Extents& shape) {
    Extents strides{};
    int64_t stride = 1;
    for (size_t d = Rank; d-- > 0;) {
      strides[d] = stride;
      stride *= shape[d];
    }
    return strides;
  }

  int64_t Offset(const Extents& index) const {
    int64_t offset = 0;
    for (size_t d = 0; d < Rank; ++d) {
      CheckIndex(d, index[d]);
      offset += index[d] * strides_[d];
    }
    return offset;
  }

  void CheckIndex([[maybe_unused]] size_t dimension, [[maybe_unused]] int64_t index) const {
#ifndef NDEBUG
    TESSERA_CHECK(index >= 0 && index < shape_[dimension], "an index lies outside of its view");
#endif
  }

  T* data_ = nullptr;
  Extents shape_{};
  Extents strides_{};
};

}  // namespace tessera
