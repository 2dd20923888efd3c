#include "tessera/plugin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "attention/testing/attention_case.h"
#include "tessera/registry.h"

namespace tessera {
namespace {

using ::testing::HasSubstr;

// The folder of the plugins that were built for this test.
std::string Plugin(const std::string& name) {
  return std::string(std::getenv("TESSERA_PLUGINS")) + "/lib" + name + ".so";
}

TEST(BackendPlugin, ComputesAndIsChosenByName) {
  const auto entry = LoadBackendPlugin(Plugin("naive_backend"));
  ASSERT_TRUE(entry.ok()) << entry.error().message;
  EXPECT_EQ(entry->name, "naive");
  EXPECT_THAT(entry->description, HasSubstr("plain loops"));

  const std::unique_ptr<Device> device = CreateFencedDevice();
  ThreadPool pool({.num_threads = 2, .pin = false});
  const BackendContext context{device.get(), &pool};
  SelectionRequest request;
  request.backend = "naive";
  request.spec = {.num_heads = 4, .num_kv_heads = 2, .head_size = 32};
  request.plugins = {*entry};
  const auto selection = SelectBackend(request, context);
  ASSERT_TRUE(selection.ok()) << selection.error().message;
  EXPECT_EQ(selection->backend->Name(), "naive");
  EXPECT_EQ(selection->candidates.size(), BackendEntries().size() + 1);

  testing::CaseOptions options;
  options.spec = request.spec;
  options.sequences = {{1, 9}, {5, 40}, {3, 3}, {0, 4}, {1, 100}};
  options.query_padding = 3;
  testing::AttentionCase problem(options);
  for (Phases phases : {Phases::kBoth, Phases::kPrefill, Phases::kDecode}) {
    const auto errors = problem.Check(selection->backend.get(),
                                      {.device = device.get(), .phases = phases}, 1.5e-2, 1e-2);
    EXPECT_EQ(errors.problem, "");
    EXPECT_LE(errors.output, 1.0);
  }

  request.spec.sinks = true;
  EXPECT_THAT(SelectBackend(request, context).error().message, HasSubstr("sinks"));
  request.backend = "auto";
  EXPECT_NE(SelectBackend(request, context)->backend->Name(), "naive");
  request.backend = "niave";
  EXPECT_THAT(SelectBackend(request, context).error().message, HasSubstr("naive"));
}

TEST(BackendPlugin, RefusesWhatIsNoPlugin) {
  const struct {
    std::string path;
    ErrorCode code;
    const char* message;
  } cases[] = {
      {"/no/such/file.so", ErrorCode::kNotFound, "there is no file /no/such/file.so"},
      {"libnaive_backend.so", ErrorCode::kNotFound, "give the path"},
      {"", ErrorCode::kNotFound, "there is no file"},
      {"/tmp", ErrorCode::kNotFound, "there is no file"},
      {Plugin("broken_entry_point"), ErrorCode::kCorrupt, "lacks the function tessera_backend"},
      {Plugin("broken_old"), ErrorCode::kUnsupported,
       "was built for version 1 of the interface, but this program has version 2: rebuild it"},
      {Plugin("broken_null"), ErrorCode::kCorrupt, "returns nothing"},
      {Plugin("broken_version"), ErrorCode::kUnsupported,
       "was built for version 3 of the interface"},
      {Plugin("broken_layout"), ErrorCode::kUnsupported, "other headers"},
      {Plugin("broken_name"), ErrorCode::kCorrupt, "lower case letters"},
      {Plugin("broken_taken"), ErrorCode::kInvalidArgument, "one of that name"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.path);
    const auto entry = LoadBackendPlugin(c.path);
    ASSERT_FALSE(entry.ok());
    EXPECT_EQ(entry.error().code, c.code);
    EXPECT_THAT(entry.error().message, HasSubstr(c.message));
  }
}

TEST(BackendPlugin, TwoOfOneNameAreRefused) {
  const std::string path = Plugin("naive_backend");
  EXPECT_EQ(LoadBackendPlugins({path})->size(), 1u);
  EXPECT_TRUE(LoadBackendPlugins({})->empty());
  EXPECT_THAT(LoadBackendPlugins({path, path}).error().message, HasSubstr("two attention plugins"));
}

TEST(BackendPlugin, RefusesFilesThatAreNoLibraries) {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("tessera-plugin-" + std::to_string(getpid()));
  for (const std::string& content :
       {std::string(), std::string("text"), std::string(4096, '\x7f')}) {
    std::ofstream(path, std::ios::binary) << content;
    const auto entry = LoadBackendPlugin(path);
    ASSERT_FALSE(entry.ok());
    EXPECT_EQ(entry.error().code, ErrorCode::kCorrupt);
    EXPECT_THAT(entry.error().message, HasSubstr("cannot be loaded as a shared library"));
  }
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace tessera
