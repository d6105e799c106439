# libkvalign_edge, the library of the device: a C interface, C++17 without exceptions inside, and no other
# library but libc. Always a shared library, which takes in what it needs of format/.
set(KVALIGN_EDGE_OPTIONS
  # Fused multiplications would make other packets on machines that have them.
  -ffp-contract=off
  # Nothing reads errno or floating-point flags; GCC vectorises divisions and comparisons only then.
  -fno-math-errno -fno-trapping-math
  -fno-exceptions -fno-rtti)
file(GLOB KVALIGN_EDGE_SOURCES CONFIGURE_DEPENDS
  "${PROJECT_SOURCE_DIR}/src/edge/*.cpp" "${PROJECT_SOURCE_DIR}/src/format/packet_*.cpp")
list(APPEND KVALIGN_EDGE_SOURCES
  "${PROJECT_SOURCE_DIR}/src/format/checksum.cpp" "${PROJECT_SOURCE_DIR}/src/format/encoder_file.cpp")

add_library(kvalign_edge SHARED ${KVALIGN_EDGE_SOURCES})
add_library(kvalign::edge ALIAS kvalign_edge)
set_target_properties(kvalign_edge PROPERTIES EXPORT_NAME edge
  CXX_STANDARD 17 CXX_STANDARD_REQUIRED ON CXX_EXTENSIONS OFF
  LINK_DEPENDS "${PROJECT_SOURCE_DIR}/src/edge/kvalign_edge.map")
target_compile_options(kvalign_edge PRIVATE ${KVALIGN_EDGE_OPTIONS})
target_include_directories(kvalign_edge PUBLIC
  "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>" "$<INSTALL_INTERFACE:include>")
# g++ links libstdc++, of which nothing is used: it must not become a dependency. A symbol that nobody
# defines is an error here, not on the device.
target_link_options(kvalign_edge PRIVATE -Wl,--as-needed -Wl,--gc-sections
  "-Wl,--version-script=${PROJECT_SOURCE_DIR}/src/edge/kvalign_edge.map")
if(NOT KVALIGN_SANITIZE)
  target_link_options(kvalign_edge PRIVATE -Wl,-z,defs)
endif()
kvalign_set_up_target(kvalign_edge)
install(TARGETS kvalign_edge EXPORT kvalign-targets)
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/kvalign/edge"
  DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/kvalign")
