# Writes OUTPUT from INPUT with the version and the commit of SOURCE_ROOT; leaves it alone where nothing changed, so that a
# new commit recompiles one file and nothing else. Run as a script at build time; SOURCE_ROOT, VERSION, COMPILER and
# LIBRARIES are given with -D.
execute_process(COMMAND git -C ${SOURCE_ROOT} describe --always --dirty --exclude "*" --abbrev=8
  OUTPUT_VARIABLE COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE FAILED)
set(TESSERA_VERSION_TEXT ${VERSION})
if(NOT FAILED AND COMMIT)
  string(APPEND TESSERA_VERSION_TEXT " (${COMMIT})")
endif()
configure_file(${INPUT} ${OUTPUT} @ONLY)
