# The messages of ONNX files, generated from the format's own definition, which the `onnx` wheel carries.
# It asks for protobuf's lite runtime: no descriptors, so none can clash with those inside LibTorch. The
# generated header stays inside onnx/: LibTorch's headers may bring another protobuf.
find_package(Protobuf 3.12 REQUIRED)
file(GLOB _wheel "${PROJECT_SOURCE_DIR}/.deps/venv/lib/python3*/site-packages/onnx")
find_file(KVALIGN_ONNX_PROTO onnx.proto PATHS ${_wheel} NO_DEFAULT_PATH
  DOC "The definition of ONNX files: onnx.proto of the `onnx` wheel")
mark_as_advanced(KVALIGN_ONNX_PROTO)
if(NOT EXISTS "${KVALIGN_ONNX_PROTO}")
  message(FATAL_ERROR "onnx.proto was not found. Run scripts/setup.sh, which installs the `onnx` wheel, or "
    "configure with -DKVALIGN_ONNX_PROTO=/path/to/onnx.proto.")
endif()

function(kvalign_generate_onnx_messages target)
  cmake_path(GET KVALIGN_ONNX_PROTO PARENT_PATH folder)
  set(generated "${PROJECT_BINARY_DIR}/onnx_messages")
  file(MAKE_DIRECTORY "${generated}")
  add_custom_command(OUTPUT "${generated}/onnx.pb.cc" "${generated}/onnx.pb.h"
    COMMAND protobuf::protoc "--proto_path=${folder}" "--cpp_out=${generated}" "${KVALIGN_ONNX_PROTO}"
    DEPENDS "${KVALIGN_ONNX_PROTO}" VERBATIM)
  target_sources(${target} PRIVATE "${generated}/onnx.pb.cc" "${generated}/onnx.pb.h")
  set_source_files_properties("${generated}/onnx.pb.cc" PROPERTIES COMPILE_OPTIONS -w)
  target_include_directories(${target} SYSTEM PRIVATE "${generated}")
endfunction()
