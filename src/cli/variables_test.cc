#include "cli/variables.h"

#include <gtest/gtest.h>

namespace tessera {
namespace {

TEST(VariablesTest, WarnsOfMisspelledVariables) {
  EXPECT_EQ(VariableWarning("TESSERA_MODEL"), "");
  EXPECT_EQ(VariableWarning("TESSERA_MODLE"),
            "TESSERA_MODLE is set, but nothing reads it; TESSERA_MODEL is probably meant");
  EXPECT_EQ(VariableWarning("TESSERA_ATTENTION_BACKENDS"),
            "TESSERA_ATTENTION_BACKENDS is set, but nothing reads it; TESSERA_ATTENTION_BACKEND is "
            "probably meant");
  EXPECT_EQ(VariableWarning("TESSERA_SOMETHING_ELSE_ENTIRELY"),
            "TESSERA_SOMETHING_ELSE_ENTIRELY is set, but nothing reads it");
}

}  // namespace
}  // namespace tessera
