# Installs the attention library alone: its headers, its static libraries and a package file, so that an engine of its own
# finds it with find_package(tessera) and links tessera::tessera.
if(NOT TARGET tessera_attention)
  return()
endif()
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# The name to link, in this tree as in an installed one.
add_library(tessera_tessera INTERFACE)
add_library(tessera::tessera ALIAS tessera_tessera)
set_target_properties(tessera_tessera PROPERTIES EXPORT_NAME tessera)
target_link_libraries(tessera_tessera INTERFACE tessera_attention)

install(TARGETS tessera_base tessera_device tessera_attention tessera_tessera EXPORT tesseraTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT attention)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/tessera DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT attention)
install(EXPORT tesseraTargets NAMESPACE tessera:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tessera COMPONENT attention)

if("gfx942" IN_LIST TESSERA_BUILT_ARCHS AND TESSERA_LISTINGS)
  set(TESSERA_NEEDS_ZLIB TRUE)
else()
  set(TESSERA_NEEDS_ZLIB FALSE)
endif()
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/tesseraConfig.cmake.in
  ${PROJECT_BINARY_DIR}/tesseraConfig.cmake INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tessera)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/tesseraConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/tesseraConfig.cmake ${PROJECT_BINARY_DIR}/tesseraConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tessera COMPONENT attention)
