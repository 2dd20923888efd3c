#include "engine/layer_groups.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera {
namespace {

TEST(LayerGroups, AlikeLayersShareAGroup) {
  AttentionSpec full;
  full.num_heads = 2;
  AttentionSpec sliding = full;
  sliding.window_left = 15;
  AttentionSpec capped = full;
  capped.soft_cap = 50;
  const LayerGroups groups = GroupLayers({sliding, full, sliding, full, capped, full});
  EXPECT_THAT(groups.group_of_layer, testing::ElementsAre(0, 1, 0, 1, 2, 1));
  ASSERT_EQ(groups.specs.size(), 3u);
  EXPECT_EQ(groups.specs[0].window_left, 15);
  EXPECT_EQ(groups.specs[1].window_left, -1);
  EXPECT_EQ(groups.specs[2].soft_cap, 50);
  EXPECT_TRUE(GroupLayers({}).specs.empty());
}

}  // namespace
}  // namespace tessera
