// Runs check_onnx.py on a folder of models.
#pragma once

#include <string>

#include "tests/support/python.h"

namespace kvalign {

// 0: every model passes, with errors of at most `tolerance` of the largest output.
inline int check_onnx(const std::string& folder, const std::string& tolerance) {
  return run_python(
      "import runpy, sys; sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name=\"__main__\")",
      "\"" KVALIGN_SOURCE_DIR "/tests/support/check_onnx.py\" \"" + folder + "\" " + tolerance);
}

}  // namespace kvalign
