#include "text/chat/chat_template.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/testing/source_path.h"
#include "base/testing/test_scale.h"
#include "text/chat/testing/fixed_clock.h"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

Result<std::string> Render(const std::string& source, const Json& context = Json::object(),
                           const RenderOptions& options = testing::FixedClock()) {
  TESSERA_ASSIGN_OR_RETURN(const auto parsed, ChatTemplate::Parse(source));
  return parsed->Render(context, options);
}

TEST(ChatTemplate, SnippetsRenderAsJinja2) {
  std::ifstream file(testing::SourcePath("src/text/chat/testdata/snippets.json"));
  const Json recorded = Json::parse(file);
  for (const Json& snippet : recorded["snippets"]) {
    const auto rendered = Render(snippet[0], recorded["context"]);
    const Json got = rendered.ok() ? Json(*rendered) : Json();
    EXPECT_EQ(got, snippet[1]) << "in " << snippet[0]
                               << (rendered.ok() ? "" : ": " + rendered.error().message);
  }
  std::printf("%zu snippets compared.\n", recorded["snippets"].size());
}

struct Failure {
  const char* name;
  std::string source;
  const char* message;  // a part of it
};

std::string Repeat(const std::string& text, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

TEST(ChatTemplate, HostileTemplatesEndInAnError) {
  const Failure kCases[] = {
      {"brackets", "{{ " + Repeat("(", 100000) + "1" + Repeat(")", 100000) + " }}",
       "nested too deeply"},
      {"lists", "{{ " + Repeat("[", 100000) + Repeat("]", 100000) + " }}", "nested too deeply"},
      {"minus", "{{ " + Repeat("-", 100000) + "1 }}", "nested too deeply"},
      {"not", "{{ " + Repeat("not ", 100000) + "1 }}", "nested too deeply"},
      {"sum", "{{ 1" + Repeat(" + 1", 100000) + " }}", "too many operators"},
      {"attributes", "{{ a" + Repeat(".b", 100000) + " }}", "too many operators"},
      {"filters", "{{ a" + Repeat("|e", 100000) + " }}", "too many operators"},
      {"tags", Repeat("{% if 1 %}", 100000), "nested too deeply"},
      {"elif", "{% if 0 %}" + Repeat("{% elif 0 %}", 100000) + "{% endif %}", "too deeply"},
      {"recursion", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "too deeply"},
      {"mutual",
       "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{% if 1 %}{{ a() }}{% endif %}"
       "{% endmacro %}{{ a() }}",
       "too deeply"},
      {"long string", "{{ 'abcd' * 100000000 }}", "64 MiB"},
      {"doubling",
       "{% set ns = namespace(s='xx') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}"
       "{% endfor %}",
       "64 MiB"},
      {"many strings",
       "{% set ns = namespace(l=[]) %}{% for i in range(100) %}"
       "{% set ns.l = ns.l + ['x' * 60000000] %}{% endfor %}",
       "values of more than"},
      {"output", "{% for i in range(1000) %}{{ 'x' * 1000000 }}{% endfor %}", "64 MiB"},
      {"steps", "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
       "The template "},
      {"long list", "{{ [1] * 1000000000 }}", "10 million"},
      {"deep value",
       "{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}"
       "{% endfor %}",
       "300 deep"},
      {"namespaces",
       "{% for i in range(100000) %}{% set a = namespace() %}{% set b = "
       "namespace() %}{% endfor %}",
       "100000 namespaces"},
      {"exponential repr",
       "{% set ns = namespace(l=['x']) %}{% for i in range(200) %}{% set ns.l = [ns.l, ns.l] %}"
       "{% endfor %}{{ ns.l }}",
       ""},
      {"exponential equality",
       "{% set a = namespace(l=[1]) %}{% set b = namespace(l=[1]) %}{% for i in range(200) %}"
       "{% set a.l = [a.l, a.l] %}{% set b.l = [b.l, b.l] %}{% endfor %}{{ a.l == b.l }}",
       ""},
      {"overflow", "{{ 9223372036854775807 + 1 }}", "64 bits"},
      {"negation", "{{ -(-9223372036854775807 - 1) }}", "64 bits"},
      {"division", "{{ (-9223372036854775807 - 1) // -1 }}", "64 bits"},
      {"power", "{{ 10 ** 100 }}", "64 bits"},
      {"range", "{{ range(1000000) }}", "100000"},
      {"width", "{{ '%99999999999s' % 1 }}", "too large"},
      {"invalid UTF-8", "\xff", "UTF-8"},
  };
  // Under a sanitizer the limits that take longest to reach are nearer.
  RenderOptions few_steps = testing::FixedClock();
  few_steps.max_steps = testing::Scaled(few_steps.max_steps);
  RenderOptions few_bytes = few_steps;
  few_bytes.max_value_bytes = testing::Scaled(few_bytes.max_value_bytes);
  for (const Failure& failure : kCases) {
    const auto rendered =
        Render(failure.source, Json::object(),
               std::string_view(failure.name) == "many strings" ? few_bytes : few_steps);
    ASSERT_FALSE(rendered.ok()) << failure.name;
    EXPECT_NE(rendered.error().message.find(failure.message), std::string::npos)
        << failure.name << ": " << rendered.error().message;
  }
}

TEST(ChatTemplate, CirclesAreFreed) {
  const auto rendered = Render(
      "{% set ns = namespace() %}{% set ns.self = ns %}{% macro m() %}{% endmacro %}"
      "{% set ns.m = m %}{% for i in [1] %}{% set ns.loop = loop %}{% set l = loop %}{% endfor %}");
  EXPECT_TRUE(rendered.ok()) << rendered.error().message;
}

TEST(ChatTemplate, ErrorsNameTheLine) {
  const auto runtime = Render("a\n{{ 1 }}\n{{ missing.x }}\n");
  ASSERT_FALSE(runtime.ok());
  EXPECT_EQ(runtime.error().message, "Chat template, line 3: 'missing' is undefined.");
  const auto syntax = Render("a\n{% if %}\n");
  ASSERT_FALSE(syntax.ok());
  EXPECT_NE(syntax.error().message.find("line 2"), std::string::npos) << syntax.error().message;
  const auto raised = Render("\n{{ raise_exception('Roles must alternate.') }}");
  ASSERT_FALSE(raised.ok());
  EXPECT_NE(raised.error().message.find("line 2: "), std::string::npos);
  EXPECT_NE(raised.error().message.find("Roles must alternate."), std::string::npos);
}

TEST(ChatTemplate, ContextsAreChecked) {
  EXPECT_FALSE(Render("", Json::array()).ok());
  EXPECT_FALSE(Render("", Json{{"x", 18446744073709551615ULL}}).ok());
  Json deep = 1;
  for (int i = 0; i < 1000; ++i) deep = Json::array({deep});
  EXPECT_FALSE(Render("", Json{{"x", deep}}).ok());
  EXPECT_EQ(*Render("{{ x }}", Json{{"x", "a\xff z"}}), "a\xff z");
}

}  // namespace
}  // namespace tessera
