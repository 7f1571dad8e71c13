# What `cmake --install` copies: the library, its public headers, and what find_package(sat) and pkg-config read.
# The program and the default model are installed by examples/.
include(CMakePackageConfigHelpers)

# A header that says "Private" in its first lines serves the library's own sources: not installed.
file(GLOB_RECURSE sat_headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR} sat/*.h)
set(SAT_PUBLIC_HEADERS "")
foreach(header ${sat_headers})
  file(STRINGS ${header} first_lines LIMIT_COUNT 4)
  if(NOT first_lines MATCHES "Private")
    list(APPEND SAT_PUBLIC_HEADERS ${header})
    get_filename_component(folder ${header} DIRECTORY)
    install(FILES ${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/${folder} COMPONENT sat_development)
  endif()
endforeach()

install(TARGETS sat EXPORT sat-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT sat_development)
set(sat_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/sat)
install(EXPORT sat-targets NAMESPACE sat:: DESTINATION ${sat_package_dir} COMPONENT sat_development)
configure_package_config_file(cmake/sat-config.cmake.in sat-config.cmake INSTALL_DESTINATION ${sat_package_dir})
write_basic_package_version_file(sat-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/sat-config.cmake ${PROJECT_BINARY_DIR}/sat-config-version.cmake
        DESTINATION ${sat_package_dir} COMPONENT sat_development)

# sat.pc finds its prefix from where it lies, so an installed tree can be moved.
if(IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR})
  set(sat_pc_prefix ${CMAKE_INSTALL_PREFIX})
else()
  file(RELATIVE_PATH sat_pc_prefix /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
  string(REGEX REPLACE "/$" "" sat_pc_prefix "\${pcfiledir}/${sat_pc_prefix}")
endif()
set(sat_pc_libs_private -pthread)
if(SAT_CUDA)
  string(APPEND sat_pc_libs_private " -L${CUDAToolkit_LIBRARY_DIR} -lcudart -lcublas")
endif()
if(SAT_SANITIZE)
  string(APPEND sat_pc_libs_private " -fsanitize=${SAT_SANITIZE}")
endif()
configure_file(cmake/sat.pc.in sat.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/sat.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT sat_development)
install(FILES LICENSE NOTICE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT sat_development)
