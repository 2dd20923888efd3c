# Writes OUTPUT, a C++ file with the contents of all files of FOLDER. Run as a script at build time; FOLDER, FILES (names,
# separated by commas) and OUTPUT are given with -D.
string(REPLACE "," ";" FILES "${FILES}")
set(arrays "")
set(entries "")
set(index 0)
foreach(name ${FILES})
  file(READ ${FOLDER}/${name} bytes HEX)
  string(LENGTH "${bytes}" digits)
  math(EXPR size "${digits} / 2")
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
  # Lines of a length that every compiler reads.
  string(REGEX REPLACE "(................................................................................)" "\\1\n" bytes "${bytes}")
  string(APPEND arrays "const unsigned char kFile${index}[] = {\n${bytes}0};\n")
  string(APPEND entries "      {\"${name}\", {reinterpret_cast<const char*>(kFile${index}), ${size}}},\n")
  math(EXPR index "${index} + 1")
endforeach()
file(WRITE ${OUTPUT} "// Written by CMake.
#include <span>

#include \"server/web/web_files.h\"

namespace tessera {

std::span<const WebFile> WebFiles();

namespace {

${arrays}
}  // namespace

std::span<const WebFile> WebFiles() {
  static const WebFile kFiles[] = {
${entries}  };
  return kFiles;
}

}  // namespace tessera
")
