# The list of attention backends is the list of folders with a backend.cmake under src/attention/backends.

# tessera_backend(NAME CLASS Prefix DESCRIPTION "one line" SOURCES ... [LIBS ...])
# The folder defines, in namespace tessera,
#   Support Probe<Prefix>Backend(const DeviceInfo&)
#   Result<std::unique_ptr<Backend>> Create<Prefix>Backend(const BackendContext&)
function(tessera_backend NAME)
  cmake_parse_arguments(ARG "" "CLASS;DESCRIPTION" "SOURCES;LIBS" ${ARGN})
  list(TRANSFORM ARG_SOURCES PREPEND ${TESSERA_BACKEND_DIR}/)
  set_property(GLOBAL APPEND PROPERTY TESSERA_BACKEND_SOURCES ${ARG_SOURCES})
  set_property(GLOBAL APPEND PROPERTY TESSERA_BACKEND_LIBS ${ARG_LIBS})
  set_property(GLOBAL APPEND_STRING PROPERTY TESSERA_BACKEND_DECLARATIONS
    "Support Probe${ARG_CLASS}Backend(const DeviceInfo& device);\nResult<std::unique_ptr<Backend>> Create${ARG_CLASS}Backend(const BackendContext& context);\n")
  set_property(GLOBAL APPEND_STRING PROPERTY TESSERA_BACKEND_ENTRIES
    "        {\"${NAME}\", \"${ARG_DESCRIPTION}\",\n         Probe${ARG_CLASS}Backend,\n         [](const BackendContext& context) { return Create${ARG_CLASS}Backend(context); }},\n")
endfunction()

macro(tessera_collect_backends FOLDER)
  file(GLOB backend_files CONFIGURE_DEPENDS ${FOLDER}/*/backend.cmake)
  list(SORT backend_files)
  foreach(backend_file ${backend_files})
    get_filename_component(TESSERA_BACKEND_DIR ${backend_file} DIRECTORY)
    include(${backend_file})
  endforeach()
  get_property(backend_sources GLOBAL PROPERTY TESSERA_BACKEND_SOURCES)
  get_property(backend_libs GLOBAL PROPERTY TESSERA_BACKEND_LIBS)
  get_property(backend_declarations GLOBAL PROPERTY TESSERA_BACKEND_DECLARATIONS)
  get_property(backend_entries GLOBAL PROPERTY TESSERA_BACKEND_ENTRIES)
  configure_file(${FOLDER}/backend_list.cc.in ${CMAKE_CURRENT_BINARY_DIR}/backend_list.cc @ONLY)
endmacro()
