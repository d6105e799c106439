# Is there a CUDA toolkit? Decides the default of KVALIGN_CUDA, and gives executables the CUDA back end.
find_program(KVALIGN_NVCC nvcc HINTS /usr/local/cuda/bin)
mark_as_advanced(KVALIGN_NVCC)
set(KVALIGN_FOUND_CUDA OFF)
if(KVALIGN_NVCC)
  set(KVALIGN_FOUND_CUDA ON)
endif()

# LibTorch registers its CUDA back end when the library is loaded, so only executables link it, and the
# benchmark, which captures graphs; the other kvalign libraries need the CPU library alone and run on
# whichever device the tensors are.
function(kvalign_link_cuda_backend target)
  if(KVALIGN_CUDA)
    if(NOT TARGET LibTorch::CUDA)
      message(FATAL_ERROR "KVALIGN_CUDA is on, but this LibTorch has no libtorch_cuda. "
        "Install a CUDA build of LibTorch or configure with -DKVALIGN_CUDA=OFF.")
    endif()
    target_link_libraries(${target} PRIVATE LibTorch::CUDA)
    cmake_path(GET KVALIGN_NVCC PARENT_PATH _bin)
    cmake_path(GET _bin PARENT_PATH _toolkit)
    # RPATH, not RUNPATH: libtorch_cuda's own dependencies must be found through it too.
    target_link_options(${target} PRIVATE
      "-Wl,--disable-new-dtags,-rpath,${_toolkit}/lib64,-rpath-link,${_toolkit}/lib64")
  endif()
endfunction()

# For sources that call CUDA's own libraries, the same that the back end loads.
function(kvalign_link_cuda_toolkit target)
  kvalign_link_cuda_backend(${target})
  kvalign_include_cuda_headers(${target})
  cmake_path(GET KVALIGN_NVCC PARENT_PATH _bin)
  foreach(library IN ITEMS cublasLt cudart)
    find_library(KVALIGN_${library}_LIBRARY ${library} HINTS "${_bin}/../lib64" REQUIRED)
    mark_as_advanced(KVALIGN_${library}_LIBRARY)
    target_link_libraries(${target} PRIVATE "${KVALIGN_${library}_LIBRARY}")
  endforeach()
endfunction()

# Kernels that need format/ and the CUDA runtime alone, which is linked statically.
function(kvalign_add_cuda_library name)
  add_library(kvalign_${name} ${ARGN})
  add_library(kvalign::${name} ALIAS kvalign_${name})
  set_target_properties(kvalign_${name} PROPERTIES EXPORT_NAME ${name} CUDA_STANDARD 17
    CUDA_STANDARD_REQUIRED ON CUDA_VISIBILITY_PRESET hidden POSITION_INDEPENDENT_CODE ON
    INSTALL_RPATH "$ORIGIN")
  target_link_libraries(kvalign_${name} PUBLIC kvalign::format)
  # Its sources are C++17; what format/ asks of its users is C++20.
  install(TARGETS kvalign_${name} EXPORT kvalign-targets)
endfunction()

# The toolkit's headers, where there is one; tests that run CUDA's own conversions on the CPU skip without.
function(kvalign_include_cuda_headers target)
  find_path(KVALIGN_CUDA_INCLUDE_DIR cuda_fp8.h HINTS /usr/local/cuda/include)
  mark_as_advanced(KVALIGN_CUDA_INCLUDE_DIR)
  if(TARGET ${target} AND KVALIGN_CUDA_INCLUDE_DIR)
    target_include_directories(${target} SYSTEM PRIVATE "${KVALIGN_CUDA_INCLUDE_DIR}")
  endif()
endfunction()
