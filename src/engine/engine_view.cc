#include "engine/engine_view.h"

#include <algorithm>

namespace tessera {

std::vector<StepRecord> StepHistory::Latest() const {
  std::vector<StepRecord> latest;
  const size_t count = std::min(num_added_, kSize);
  latest.reserve(count);
  for (size_t i = num_added_ - count; i < num_added_; ++i) latest.push_back(records_[i % kSize]);
  return latest;
}

std::vector<BlockRun> BlockOwners(const BlockPool& pool,
                                  std::span<const Sequence* const> sequences) {
  std::vector<int64_t> owners(static_cast<size_t>(pool.num_blocks()), BlockRun::kFree);
  for (const Sequence* sequence : sequences) {
    for (const int32_t block : sequence->blocks) {
      const int32_t references = pool.references(block);
      owners[static_cast<size_t>(block)] =
          references > 1 ? -static_cast<int64_t>(references) : static_cast<int64_t>(sequence->id);
    }
  }
  std::vector<BlockRun> runs;
  for (int32_t block = 0; block < pool.num_blocks(); ++block) {
    int64_t owner = owners[static_cast<size_t>(block)];
    if (owner == BlockRun::kFree && pool.retained(block)) owner = BlockRun::kCached;
    if (runs.empty() || runs.back().owner != owner) runs.push_back({0, owner});
    ++runs.back().count;
  }
  return runs;
}

}  // namespace tessera
