// The program's version and what it was built from.
#pragma once

namespace tessera {

// "0.1.0 (1a2b3c4d)"; the commit is left out if the source tree has none.
const char* VersionText();

// "GNU 12.2.0, Release".
const char* CompilerText();

// "Highway 1.0.3, simdjson 3.0.1": the libraries that the build found.
const char* LibraryVersions();

// The source tree at build time: where the embedded model lies if the program was moved away.
extern const char* const kSourceDirectory;

}  // namespace tessera
