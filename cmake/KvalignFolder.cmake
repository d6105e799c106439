# One folder, one target: kvalign_add_folder(core LINK format LibTorch::CPU ...) makes the library
# kvalign_core (kvalign::core) from src/core, with public headers in include/kvalign/core, and the test
# program kvalign_core_test from tests/core. Folders with TORCH share one precompiled header, and their
# sources, as those with UNITY, are compiled eight at a time.
function(kvalign_add_folder name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "TORCH;UNITY" "" "LINK;PRIVATE_LINK")
  file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/${name}/*.cpp")
  add_library(kvalign_${name} ${sources})
  add_library(kvalign::${name} ALIAS kvalign_${name})
  set_target_properties(kvalign_${name} PROPERTIES EXPORT_NAME ${name})
  target_compile_features(kvalign_${name} PUBLIC cxx_std_20)
  target_include_directories(kvalign_${name} PUBLIC
    "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>" "$<INSTALL_INTERFACE:include>")
  target_link_libraries(kvalign_${name} PUBLIC ${arg_LINK} PRIVATE ${arg_PRIVATE_LINK})
  kvalign_set_up_target(kvalign_${name})
  kvalign_run_in_threads(kvalign_${name} ${sources})
  set(compilation "")
  if(arg_TORCH)
    set(compilation TORCH)
    kvalign_read_torch_once(kvalign_${name} kvalign_precompiled)
  elseif(arg_UNITY)
    set(compilation UNITY)
    kvalign_compile_together(kvalign_${name})
  endif()
  install(TARGETS kvalign_${name} EXPORT kvalign-targets)
  install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/kvalign/${name}"
    DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/kvalign")
  if(KVALIGN_BUILD_TESTS)
    kvalign_add_test(${name} "${PROJECT_SOURCE_DIR}/tests/${name}" unit ${compilation})
    if(IS_DIRECTORY "${PROJECT_SOURCE_DIR}/tests/${name}/slow")
      kvalign_add_test(${name}_slow "${PROJECT_SOURCE_DIR}/tests/${name}/slow" slow ${compilation})
    endif()
  endif()
endfunction()

# at::parallel_for is a template: compiled without OpenMP it runs everything on the calling thread, and says
# nothing. Its users are found by name; libgomp is the one that LibTorch brings or, by its soname, uses.
function(kvalign_run_in_threads target)
  foreach(source IN LISTS ARGN)
    file(STRINGS "${source}" uses REGEX "at::parallel_for\\(" LIMIT_COUNT 1)
    if(uses)
      set_property(SOURCE "${source}" APPEND PROPERTY COMPILE_OPTIONS -fopenmp)
      set_source_files_properties("${source}" PROPERTIES
        SKIP_PRECOMPILE_HEADERS ON SKIP_UNITY_BUILD_INCLUSION ON)
      set_property(TARGET ${target} PROPERTY KVALIGN_RUNS_IN_THREADS ON)
    endif()
  endforeach()
  get_target_property(runs_in_threads ${target} KVALIGN_RUNS_IN_THREADS)
  if(runs_in_threads)
    target_link_libraries(${target} PRIVATE gomp)
  endif()
endfunction()

# Flags of every target of ours; none is global, so a parent project is left alone.
function(kvalign_set_up_target target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wno-unused-parameter)
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON
    CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
    INSTALL_RPATH "$ORIGIN;$ORIGIN/../${CMAKE_INSTALL_LIBDIR};${LibTorch_LIBRARY_DIR}")
  # Programs are compiled as libraries are (-fPIC, not -fPIE): only so do they share the precompiled header.
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "EXECUTABLE")
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${target} PRIVATE -fPIC)
  endif()
  if(KVALIGN_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=address,undefined -fno-sanitize-recover=undefined
      -fno-omit-frame-pointer)
    target_link_options(${target} PUBLIC -fsanitize=address,undefined)
  endif()
endfunction()

# Headers that targets with REUSE_FROM read once; all of them are compiled as `name` is.
function(kvalign_add_precompiled name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LINK;HEADERS")
  add_library(${name} OBJECT "${PROJECT_SOURCE_DIR}/cmake/precompiled.cpp")
  target_compile_features(${name} PUBLIC cxx_std_20)
  target_link_libraries(${name} PRIVATE LibTorch::CPU ${arg_LINK})
  target_precompile_headers(${name} PRIVATE ${arg_HEADERS})
  kvalign_set_up_target(${name})
endfunction()

# LibTorch's headers, even precompiled, cost 5 s and more a compilation: so sources share those, eight each.
# Names in their unnamed namespaces must differ within a folder; GCC takes such a source for a header that
# has unnamed namespaces, and need not warn of it.
function(kvalign_read_torch_once target precompiled)
  target_precompile_headers(${target} REUSE_FROM ${precompiled})
  kvalign_compile_together(${target})
endfunction()

function(kvalign_compile_together target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
  target_compile_options(${target} PRIVATE -Wno-subobject-linkage)
endfunction()

# What is tested is optimised as it is used; unit tests themselves only have to compile soon.
function(kvalign_compile_soon target)
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
endfunction()

# The test program of one folder, run as one ctest entry: LibTorch takes long to load.
function(kvalign_add_test name folder label)
  file(GLOB sources CONFIGURE_DEPENDS "${folder}/*.cpp")
  if(NOT sources)
    return()
  endif()
  string(REGEX REPLACE "_(slow|gpu)$" "" library "${name}")
  add_executable(kvalign_${name}_test ${sources})
  target_include_directories(kvalign_${name}_test PRIVATE "${PROJECT_SOURCE_DIR}")
  target_compile_definitions(kvalign_${name}_test PRIVATE
    KVALIGN_SOURCE_DIR="${PROJECT_SOURCE_DIR}" KVALIGN_PYTHON="${KVALIGN_PYTHON}")
  target_link_libraries(kvalign_${name}_test PRIVATE kvalign::${library} GTest::gmock_main)
  kvalign_set_up_target(kvalign_${name}_test)
  set(precompiled kvalign_precompiled)
  if(label STREQUAL "unit")
    set(precompiled kvalign_test_precompiled)
    kvalign_compile_soon(kvalign_${name}_test)
  endif()
  if("TORCH" IN_LIST ARGN)
    kvalign_read_torch_once(kvalign_${name}_test ${precompiled})
  elseif("UNITY" IN_LIST ARGN)
    kvalign_compile_together(kvalign_${name}_test)
  endif()
  add_test(NAME ${name} COMMAND kvalign_${name}_test)
  set_tests_properties(${name} PROPERTIES LABELS ${label} WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}"
    ENVIRONMENT "UBSAN_OPTIONS=print_stacktrace=1;ASAN_OPTIONS=detect_leaks=0;OMP_WAIT_POLICY=passive")
endfunction()
