#include "grammar/string_format.h"

namespace tessera::grammar {
namespace {

// No February 29th, so that no year need be looked at; no leap seconds.
#define TESSERA_DATE                                     \
  "[12]\\d{3}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|" \
  "(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|1\\d|2[0-8]))"
#define TESSERA_TIME \
  "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,6})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)"
#define TESSERA_BYTE "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define TESSERA_LABEL "[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?"

struct Format {
  std::string_view name;
  const char* pattern;
};

constexpr Format kFormats[] = {
    {"date", TESSERA_DATE},
    {"time", TESSERA_TIME},
    {"date-time", TESSERA_DATE "T" TESSERA_TIME},
    {"email", "[A-Za-z0-9_+-]{1,30}(\\.[A-Za-z0-9_+-]{1,30}){0,3}@" TESSERA_LABEL
              "(\\." TESSERA_LABEL "){1,3}"},
    {"hostname", TESSERA_LABEL "(\\." TESSERA_LABEL "){0,5}"},
    {"ipv4", TESSERA_BYTE "\\." TESSERA_BYTE "\\." TESSERA_BYTE "\\." TESSERA_BYTE},
    {"ipv6", "[0-9a-f]{1,4}(:[0-9a-f]{1,4}){7}"},
    {"uuid", "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"},
    {"uri", "https?://" TESSERA_LABEL "(\\." TESSERA_LABEL
            "){0,5}(:[1-9]\\d{0,3})?(/[A-Za-z0-9._~-]{0,60}){0,12}(\\?[A-Za-z0-9=&._~-]{0,200})?"},
    {"duration", "P(\\d{1,3}D|(\\d{1,3}D)?T(\\d{1,3}H)?(\\d{1,3}M)?\\d{1,3}S)"},
};

}  // namespace

const char* PatternOfFormat(std::string_view format) {
  for (const Format& known : kFormats) {
    if (known.name == format) return known.pattern;
  }
  return nullptr;
}

}  // namespace tessera::grammar
