# Finds LibTorch without its own TorchConfig.cmake, which fails where no CUDA toolkit is installed and
# sets global flags. Looks in CMAKE_PREFIX_PATH (an unpacked LibTorch zip or a wheel's `torch` folder),
# then in .deps/libtorch, where scripts/setup.sh puts the wheel.
#
# Defines LibTorch_VERSION and the targets
#   LibTorch::CPU    tensors and autograd on the CPU
#   LibTorch::CUDA   the same plus the CUDA back end (only where libtorch_cuda is found)
#
# torch ships fmt headers that would shadow the system's: its folders come last (-idirafter).
find_path(LibTorch_INCLUDE_DIR ATen/ATen.h
  HINTS "${CMAKE_CURRENT_LIST_DIR}/../.deps/libtorch/torch" PATH_SUFFIXES include)
foreach(library IN ITEMS torch_cpu c10 torch_cuda c10_cuda)
  find_library(LibTorch_${library}_LIBRARY ${library}
    HINTS "${LibTorch_INCLUDE_DIR}/../lib" NO_DEFAULT_PATH)
  mark_as_advanced(LibTorch_${library}_LIBRARY)
endforeach()

if(LibTorch_INCLUDE_DIR)
  set(_header "${LibTorch_INCLUDE_DIR}/torch/headeronly/version.h")
  if(NOT EXISTS "${_header}")
    set(_header "${LibTorch_INCLUDE_DIR}/torch/csrc/api/include/torch/version.h")
  endif()
  file(STRINGS "${_header}" _lines REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
  string(REGEX REPLACE ".*MAJOR ([0-9]+).*MINOR ([0-9]+).*PATCH ([0-9]+).*" "\\1.\\2.\\3"
    LibTorch_VERSION "${_lines}")
  string(REGEX REPLACE "^([0-9]+\\.[0-9]+).*" "\\1" LibTorch_MAJOR_MINOR "${LibTorch_VERSION}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_torch_cpu_LIBRARY LibTorch_c10_LIBRARY LibTorch_INCLUDE_DIR
  VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "Run scripts/setup.sh, or give CMAKE_PREFIX_PATH the folder of LibTorch.")

cmake_path(GET LibTorch_torch_cpu_LIBRARY PARENT_PATH LibTorch_LIBRARY_DIR)
if(LibTorch_FOUND AND NOT TARGET LibTorch::CPU)
  foreach(library IN ITEMS torch_cpu c10 torch_cuda c10_cuda)
    if(LibTorch_${library}_LIBRARY)
      add_library(LibTorch::${library} SHARED IMPORTED)
      set_target_properties(LibTorch::${library} PROPERTIES
        IMPORTED_LOCATION "${LibTorch_${library}_LIBRARY}")
    endif()
  endforeach()
  add_library(LibTorch::CPU INTERFACE IMPORTED)
  target_compile_options(LibTorch::CPU INTERFACE
    "$<$<COMPILE_LANGUAGE:CXX>:SHELL:-idirafter ${LibTorch_INCLUDE_DIR}>"
    "$<$<COMPILE_LANGUAGE:CXX>:SHELL:-idirafter ${LibTorch_INCLUDE_DIR}/torch/csrc/api/include>")
  target_link_libraries(LibTorch::CPU INTERFACE LibTorch::torch_cpu LibTorch::c10)
  # The CUDA runtime and CUPTI come as wheels beside torch; the linker must find them by itself.
  cmake_path(SET _wheels NORMALIZE "${LibTorch_INCLUDE_DIR}/../../nvidia/cu13/lib")
  if(EXISTS "${_wheels}")
    target_link_options(LibTorch::CPU INTERFACE "-Wl,-rpath-link,${_wheels}")
  endif()
  if(TARGET LibTorch::torch_cuda AND TARGET LibTorch::c10_cuda)
    add_library(LibTorch::CUDA INTERFACE IMPORTED)
    # The back end registers itself when loaded; no symbol of it is named, so it must not be dropped.
    target_link_libraries(LibTorch::CUDA INTERFACE LibTorch::CPU
      "-Wl,--no-as-needed,$<TARGET_FILE:LibTorch::torch_cuda>,$<TARGET_FILE:LibTorch::c10_cuda>,--as-needed"
      "-Wl,--allow-shlib-undefined")
  endif()
endif()
