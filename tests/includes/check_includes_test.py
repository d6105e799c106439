"""The include check passes on this source tree and fires on each kind of wrong include."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run_on(root):
    return subprocess.run([sys.executable, ROOT / "scripts/check_includes.py", root],
                          capture_output=True, text=True)


class CheckIncludes(unittest.TestCase):
    def test_the_source_tree_is_clean(self):
        result = run_on(ROOT)
        self.assertEqual(result.returncode, 0, result.stdout)

    def expect(self, file, line, message):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / file
            path.parent.mkdir(parents=True)
            path.write_text("// A header.\n" + line + "\n")
            result = run_on(folder)
            self.assertEqual(result.returncode, 1)
            self.assertIn(f"{file}", result.stdout)
            self.assertIn(message, result.stdout)

    def test_upwards(self):
        self.expect("src/core/a.cpp", '#include "kvalign/train/distiller.h"',
                    "core/ must not include train/")

    def test_strangers(self):
        self.expect("src/loss/a.cpp", '#include "kvalign/projector/projector.h"',
                    "loss/ must not include projector/")
        self.expect("include/kvalign/projector/a.h", '#include "kvalign/loss/mse_term.h"',
                    "projector/ must not include loss/")

    def test_torch_below(self):
        self.expect("include/kvalign/format/a.h", "#include <ATen/ATen.h>",
                    "format/ must not see LibTorch")

    def test_unknown_folder(self):
        self.expect("src/utils/a.cpp", "", "folder 'utils' is not one of")

    def test_brackets(self):
        self.expect("src/core/a.cpp", "#include <kvalign/core/safetensors.h>", '"quotes"')


if __name__ == "__main__":
    unittest.main()
