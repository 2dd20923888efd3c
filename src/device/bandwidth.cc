#include "device/bandwidth.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "base/memory.h"

namespace tessera {
namespace {

// One cache line of words; also what a worker's share is a multiple of.
constexpr int64_t kLineWords = 8;
constexpr int64_t kMinBytesPerWorker = 4096;

// The sum of two arrays of `words` words each, read side by side: two streams keep more lines
// under way than one. The sums of a line's words are independent, so that they vectorise and no
// addition waits for the one before.
uint64_t SumTwoStreams(const uint64_t* __restrict a, const uint64_t* __restrict b, int64_t words) {
  uint64_t sums_a[kLineWords] = {};
  uint64_t sums_b[kLineWords] = {};
  for (int64_t i = 0; i < words; i += kLineWords) {
    for (int64_t j = 0; j < kLineWords; ++j) sums_a[j] += a[i + j];
    for (int64_t j = 0; j < kLineWords; ++j) sums_b[j] += b[i + j];
  }
  return std::accumulate(sums_a, sums_a + kLineWords, uint64_t{0}) +
         std::accumulate(sums_b, sums_b + kLineWords, uint64_t{0});
}

// The sum of a piece of `words` words, while the one that comes next is fetched line by line.
uint64_t SumPiece(const uint64_t* __restrict piece, const uint64_t* __restrict next,
                  int64_t words) {
  uint64_t sums[kLineWords] = {};
  for (int64_t i = 0; i < words; i += kLineWords) {
    __builtin_prefetch(next + i);
    for (int64_t j = 0; j < kLineWords; ++j) sums[j] += piece[i + j];
  }
  return std::accumulate(sums, sums + kLineWords, uint64_t{0});
}

struct alignas(128) WorkerSum {
  uint64_t value = 0;
};

// Times passes of `read`, in which each worker sums the words of its share; all words are 1.
Result<ReadBandwidth> TimePasses(ThreadPool& pool, int64_t words_read, int passes,
                                 const std::function<uint64_t(int worker)>& read) {
  std::vector<WorkerSum> sums(static_cast<size_t>(pool.num_threads()));
  const double bytes_read = static_cast<double>(words_read) * sizeof(uint64_t);
  std::vector<double> rates;
  for (int pass = 0; pass < passes; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    pool.Run([&](int worker) { sums[static_cast<size_t>(worker)].value = read(worker); });
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    uint64_t total = 0;
    for (const WorkerSum& sum : sums) total += sum.value;
    if (total != static_cast<uint64_t>(words_read)) {
      return Internal("memory did not read back as it was written: test this machine's memory");
    }
    rates.push_back(bytes_read / std::max(elapsed.count(), 1e-9) * 1e-9);
  }
  std::sort(rates.begin(), rates.end());
  return ReadBandwidth{.best = rates.back(), .median = rates[rates.size() / 2]};
}

}  // namespace

Result<ReadBandwidth> MeasureReadBandwidth(ThreadPool& pool, int64_t bytes, int passes) {
  const int64_t workers = pool.num_threads();
  if (passes < 1 || bytes / kMinBytesPerWorker < workers) {
    return InvalidArgument("a bandwidth measurement needs at least one pass and " +
                           std::to_string(kMinBytesPerWorker) + " bytes for each of the " +
                           std::to_string(workers) + " threads; it was given " +
                           std::to_string(passes) + " passes and " + std::to_string(bytes) +
                           " bytes");
  }
  TESSERA_ASSIGN_OR_RETURN(AlignedBuffer buffer, AlignedBuffer::Allocate(bytes));
  const int64_t stream_words =
      bytes / (workers * 2 * kLineWords * static_cast<int64_t>(sizeof(uint64_t))) * kLineWords;
  uint64_t* const words = buffer.As<uint64_t>();

  // Written by its reader: an untouched page would be the system's one page of zeros.
  pool.Run([&](int worker) {
    std::fill_n(words + worker * 2 * stream_words, 2 * stream_words, uint64_t{1});
  });

  return TimePasses(pool, workers * 2 * stream_words, passes, [&](int worker) {
    const uint64_t* const share = words + worker * 2 * stream_words;
    return SumTwoStreams(share, share + stream_words, stream_words);
  });
}

Result<ReadBandwidth> MeasurePagedReadBandwidth(ThreadPool& pool, int64_t bytes,
                                                int64_t piece_bytes, int passes) {
  const int64_t workers = pool.num_threads();
  constexpr int64_t kSmallestPiece = kLineWords * static_cast<int64_t>(sizeof(uint64_t));
  if (passes < 1 || piece_bytes < kSmallestPiece || piece_bytes % kSmallestPiece != 0 ||
      bytes / piece_bytes < workers) {
    return InvalidArgument(
        "a bandwidth measurement in pieces needs at least one pass, pieces of a multiple of " +
        std::to_string(kSmallestPiece) + " bytes and one for each of the " +
        std::to_string(workers) + " threads; it was given " + std::to_string(passes) +
        " passes and " + std::to_string(bytes) + " bytes in pieces of " +
        std::to_string(piece_bytes));
  }
  TESSERA_ASSIGN_OR_RETURN(AlignedBuffer buffer, AlignedBuffer::Allocate(bytes));
  const int64_t piece_words = piece_bytes / static_cast<int64_t>(sizeof(uint64_t));
  const int64_t pieces = bytes / piece_bytes / workers;  // of each worker
  uint64_t* const words = buffer.As<uint64_t>();
  std::vector<int64_t> order(static_cast<size_t>(pieces * workers));
  std::iota(order.begin(), order.end(), 0);
  for (int64_t worker = 0; worker < workers; ++worker) {
    std::shuffle(order.begin() + worker * pieces, order.begin() + (worker + 1) * pieces,
                 std::minstd_rand(static_cast<uint32_t>(worker + 1)));
  }
  pool.Run([&](int worker) {
    std::fill_n(words + worker * pieces * piece_words, pieces * piece_words, uint64_t{1});
  });

  return TimePasses(pool, workers * pieces * piece_words, passes, [&](int worker) {
    const int64_t* const mine = order.data() + worker * pieces;
    uint64_t sum = 0;
    for (int64_t i = 0; i < pieces; ++i) {
      const int64_t next = mine[std::min(i + 1, pieces - 1)];
      sum += SumPiece(words + mine[i] * piece_words, words + next * piece_words, piece_words);
    }
    return sum;
  });
}

}  // namespace tessera
