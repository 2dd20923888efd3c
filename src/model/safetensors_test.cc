#include "model/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "model/testing/safetensors_builder.h"

namespace tessera {
namespace {

using ::testing::HasSubstr;

Result<TensorMap> Parse(const std::string& file) {
  return ParseSafetensors(std::as_bytes(std::span(file)), "weights.safetensors");
}

struct HostileCase {
  const char* name;
  std::string file;
  const char* message;  // a part of it
};

void PrintTo(const HostileCase& c, std::ostream* out) { *out << c.name; }

std::string One(const std::string& entry, size_t data_bytes) {
  return SafetensorsBytes("{\"t\":" + entry + "}", std::string(data_bytes, 'x'));
}

std::string WithLength(uint64_t length, const std::string& rest) {
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  return file + rest;
}

const std::string kGood = R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})";

std::vector<HostileCase> HostileCases() {
  return {
      {"empty", "", "too short"},
      {"seven_bytes", std::string(7, '\0'), "too short"},
      {"no_header", WithLength(0, ""), "does not begin with '{'"},
      {"header_past_the_end", WithLength(3, "{}"), "cut short"},
      {"header_length_of_all_ones", WithLength(~uint64_t{0}, "{}"), "not a safetensors file"},
      {"header_above_the_limit", WithLength(100'000'001, "{}"), "100000000 are allowed"},
      {"header_is_no_json", SafetensorsBytes("{nonsense", ""), "not valid JSON"},
      {"header_is_a_list", SafetensorsBytes("[1]", ""), "does not begin with '{'"},
      {"header_is_not_utf8", SafetensorsBytes("{\"\xff\xfe\":1}", ""), "not valid JSON"},
      {"header_is_deep",
       SafetensorsBytes("{\"t\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}",
                        ""),
       "not valid JSON"},
      {"null_byte_in_header", SafetensorsBytes(std::string("{\0}", 3), ""), "not valid JSON"},
      {"entry_is_a_number", One("7", 0), "not an object"},
      {"entry_is_empty", One("{}", 0), "lacks one of"},
      {"no_shape", One(R"({"dtype":"F32","data_offsets":[0,4]})", 4), "lacks one of"},
      {"field_twice", One(R"({"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]})", 4),
       "field twice"},
      {"unknown_type", One(R"({"dtype":"F31","shape":[1],"data_offsets":[0,4]})", 4),
       "dtype \"F31\", which is unknown"},
      {"type_is_a_number", One(R"({"dtype":3,"shape":[1],"data_offsets":[0,4]})", 4),
       "not a string"},
      {"shape_is_a_number", One(R"({"dtype":"F32","shape":1,"data_offsets":[0,4]})", 4),
       "not a list"},
      {"negative_size", One(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})", 4),
       "not a count"},
      {"size_is_a_fraction", One(R"({"dtype":"F32","shape":[1.0],"data_offsets":[0,4]})", 4),
       "not a count"},
      {"size_above_int64",
       One(R"({"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,4]})", 4),
       "not a count"},
      {"size_above_uint64",
       One(R"({"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4]})", 4), "JSON"},
      {"product_overflows",
       One(R"({"dtype":"U8","shape":[4294967296,4294967296,2],"data_offsets":[0,0]})", 0),
       "overflows"},
      {"product_wraps_to_the_right_size",
       One(R"({"dtype":"U8","shape":[9223372036854775807,2,9223372036854775807],"data_offsets":[0,2]})",
           2),
       "overflows"},
      {"bytes_overflow",
       One(R"({"dtype":"F64","shape":[4611686018427387904],"data_offsets":[0,0]})", 0),
       "overflows"},
      {"offsets_are_three", One(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4,8]})", 4),
       "no pair"},
      {"offsets_are_negative", One(R"({"dtype":"F32","shape":[1],"data_offsets":[-4,0]})", 4),
       "no pair"},
      {"offsets_run_backwards", One(R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})", 4),
       "needs 4 bytes"},
      {"too_few_bytes", One(R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})", 4),
       "needs 8 bytes"},
      {"half_a_byte", One(R"({"dtype":"F4","shape":[3],"data_offsets":[0,2]})", 2), "whole byte"},
      {"data_is_cut", One(kGood, 3), "cut short"},
      {"bytes_after_the_data", One(kGood, 5), "after its last tensor"},
      {"hole_at_the_start", One(R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})", 8),
       "leaves a hole"},
      {"far_away",
       One(R"({"dtype":"F32","shape":[1],"data_offsets":[9223372036854775800,9223372036854775804]})",
           4),
       "leaves a hole"},
      {"overlap",
       SafetensorsBytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                        R"("b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                        "12345678"),
       "overlaps"},
      {"same_bytes_twice",
       SafetensorsBytes(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                        R"("b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
                        "1234"),
       "overlaps"},
      {"same_name_twice",
       SafetensorsBytes(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                        R"("a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                        "12345678"),
       "occurs twice"},
  };
}

class HostileSafetensors : public ::testing::TestWithParam<HostileCase> {};

TEST_P(HostileSafetensors, IsRefusedWithItsReason) {
  const Result<TensorMap> result = Parse(GetParam().file);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(result.error().message, HasSubstr("weights.safetensors"));
  EXPECT_THAT(result.error().message, HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(All, HostileSafetensors, ::testing::ValuesIn(HostileCases()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(Safetensors, ReadsEveryShape) {
  const std::string file = SafetensorsBuilder()
                               .Add("matrix", "BF16", {2, 3}, std::string(12, 'm'))
                               .Add("scalar", "I64", {}, std::string(8, 's'))
                               .Add("nothing", "F32", {0, 7}, "")
                               .Add("nibbles", "F4", {4}, "ab")
                               .Add("", "BOOL", {1}, "b")
                               .Build();
  const auto tensors = Parse(file);
  ASSERT_TRUE(tensors.ok()) << tensors.error().message;
  ASSERT_EQ(tensors->size(), 5u);
  const TensorView& matrix = tensors->at("matrix");
  EXPECT_EQ(matrix.type, TensorType::kBF16);
  EXPECT_EQ(matrix.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(matrix.bytes, 12);
  EXPECT_EQ(static_cast<char>(matrix.data[11]), 'm');
  EXPECT_EQ(tensors->at("scalar").bytes, 8);
  EXPECT_EQ(tensors->at("nothing").bytes, 0);
  EXPECT_EQ(tensors->at("nibbles").bytes, 2);
}

TEST(Safetensors, TakesMetadataAndNoTensorAtAll) {
  const auto empty = Parse(SafetensorsBytes("{}", ""));
  ASSERT_TRUE(empty.ok());
  EXPECT_TRUE(empty->empty());
  const auto metadata = Parse(SafetensorsBytes(R"({"__metadata__":{"format":"pt"}}   )", ""));
  ASSERT_TRUE(metadata.ok()) << metadata.error().message;
  EXPECT_TRUE(metadata->empty());
}

TEST(Safetensors, EmptyTensorsMayLieBetweenOthers) {
  const auto tensors =
      Parse(SafetensorsBytes(R"({"z":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                             R"("b":{"dtype":"U8","shape":[0],"data_offsets":[2,2]},)"
                             R"("a":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
                             "123"));
  EXPECT_TRUE(tensors.ok()) << tensors.error().message;
}

TEST(Safetensors, EveryPrefixOfAFileIsRefused) {
  const std::string file = SafetensorsBuilder().Add("a", "F32", {3}, std::string(12, 'a')).Build();
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_FALSE(Parse(file.substr(0, size)).ok()) << size;
  }
}

TEST(Safetensors, NamesInMessagesAreShortAndPrintable) {
  EXPECT_EQ(QuoteName("a\nb"), "\"a?b\"");
  EXPECT_LT(QuoteName(std::string(10'000, 'x')).size(), 200u);
}

TEST(Checkpoint, OpensASingleFile) {
  const TempDir dir("single");
  WriteFile(dir / "model.safetensors", SafetensorsBuilder().Add("a", "U8", {3}, "abc").Build());
  const auto checkpoint = Checkpoint::Open(dir.path().string());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  ASSERT_NE(checkpoint->Find("a"), nullptr);
  EXPECT_EQ(checkpoint->Find("b"), nullptr);
  EXPECT_EQ(checkpoint->bytes(), 3);
  Checkpoint::Release(*checkpoint->Find("a"));
  EXPECT_EQ(static_cast<char>(checkpoint->Find("a")->data[2]), 'c') << "readable after Release";
}

TEST(Checkpoint, OpensShards) {
  const TempDir dir("shards");
  WriteFile(dir / "one.safetensors", SafetensorsBuilder().Add("a", "U8", {1}, "a").Build());
  WriteFile(dir / "two.safetensors",
            SafetensorsBuilder().Add("b", "U8", {1}, "b").Add("unlisted", "U8", {1}, "u").Build());
  WriteFile(dir / "model.safetensors.index.json",
            R"({"metadata":{"total_size":2},
                "weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  const auto checkpoint = Checkpoint::Open(dir.path().string());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  EXPECT_EQ(static_cast<char>(*checkpoint->Find("a")->data), 'a');
  EXPECT_EQ(static_cast<char>(*checkpoint->Find("b")->data), 'b');
  EXPECT_EQ(checkpoint->Find("unlisted"), nullptr);
}

struct IndexCase {
  const char* name;
  std::string index;
  const char* message;
};

void PrintTo(const IndexCase& c, std::ostream* out) { *out << c.name; }

class BadIndex : public ::testing::TestWithParam<IndexCase> {};

TEST_P(BadIndex, IsRefusedWithItsReason) {
  const TempDir dir("index");
  std::filesystem::create_directory(dir.path() / "inside");
  WriteFile(dir / "secret.safetensors", SafetensorsBuilder().Add("a", "U8", {1}, "a").Build());
  WriteFile(dir / "inside/here.safetensors", SafetensorsBuilder().Add("a", "U8", {1}, "a").Build());
  WriteFile(dir / "inside/broken.safetensors", "broken");
  WriteFile(dir / "inside/model.safetensors.index.json", GetParam().index);
  const auto checkpoint = Checkpoint::Open(dir / "inside");
  ASSERT_FALSE(checkpoint.ok());
  EXPECT_THAT(checkpoint.error().message, HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadIndex,
    ::testing::Values(
        IndexCase{"empty", "", "not valid JSON"}, IndexCase{"list", "[]", "not a JSON object"},
        IndexCase{"no_map", "{}", "weight_map"},
        IndexCase{"shard_is_a_number", R"({"weight_map":{"a":1}})", "not a string"},
        IndexCase{"missing_shard", R"({"weight_map":{"a":"gone.safetensors"}})", "missing"},
        IndexCase{"tensor_not_in_shard", R"({"weight_map":{"b":"here.safetensors"}})",
                  "does not have it"},
        IndexCase{"tensor_twice",
                  R"({"weight_map":{"a":"here.safetensors","a":"here.safetensors"}})", "twice"},
        IndexCase{"broken_shard", R"({"weight_map":{"a":"broken.safetensors"}})", "too short"},
        IndexCase{"parent", R"({"weight_map":{"a":"../secret.safetensors"}})", "plain file name"},
        IndexCase{"dots", R"({"weight_map":{"a":".."}})", "plain file name"},
        IndexCase{"absolute", R"({"weight_map":{"a":"/etc/passwd"}})", "plain file name"},
        IndexCase{"backslash", R"({"weight_map":{"a":"..\\x"}})", "plain file name"},
        IndexCase{"nul", R"({"weight_map":{"a":"here\u0000x"}})", "plain file name"},
        IndexCase{"no_name", R"({"weight_map":{"a":""}})", "plain file name"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(Checkpoint, SaysWhatIsMissing) {
  const TempDir dir("none");
  const auto none = Checkpoint::Open(dir.path().string());
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(none.error().message, HasSubstr("model.safetensors.index.json"));
  EXPECT_FALSE(Checkpoint::OpenFile(dir.path().string()).ok()) << "a directory";
  WriteFile(dir / "empty", "");
  EXPECT_FALSE(Checkpoint::OpenFile(dir / "empty").ok());
}

}  // namespace
}  // namespace tessera
