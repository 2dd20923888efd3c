#include "base/process_usage.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <memory>

namespace tessera {
namespace {

TEST(ProcessUsage, KnowsWhatIsTaken) {
  const ProcessUsage before = ReadProcessUsage();
  EXPECT_GT(before.resident_bytes, 0);
  EXPECT_GE(before.virtual_bytes, before.resident_bytes);
  EXPECT_GT(before.open_files, 0);
  EXPECT_GE(before.files_limit, before.open_files);

  constexpr size_t kBytes = 48 << 20;
  auto memory = std::make_unique<char[]>(kBytes);
  std::memset(memory.get(), 1, kBytes);
  const int file = open("/dev/null", O_RDONLY);
  ASSERT_GE(file, 0);
  const ProcessUsage during = ReadProcessUsage();
  EXPECT_EQ(during.open_files, before.open_files + 1);
  EXPECT_GT(during.resident_bytes, before.resident_bytes + static_cast<int64_t>(kBytes) / 2);
  if (before.heap_bytes > 0) {  // another C library cannot tell
    EXPECT_GE(during.heap_bytes, before.heap_bytes + static_cast<int64_t>(kBytes));
  }
  EXPECT_GT(during.cpu_seconds, before.cpu_seconds);

  close(file);
  memory.reset();
  const ProcessUsage after = ReadProcessUsage();
  EXPECT_EQ(after.open_files, before.open_files);
  EXPECT_LT(after.heap_bytes, before.heap_bytes + (1 << 20));
}

}  // namespace
}  // namespace tessera
