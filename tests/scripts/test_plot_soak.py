"""What scripts/plot_soak.py draws of a soak's samples; drawing itself is matplotlib's."""
import importlib.util
import tempfile
import unittest
from pathlib import Path

PATH = Path(__file__).resolve().parents[2] / "scripts/plot_soak.py"
SPEC = importlib.util.spec_from_file_location("plot_soak", PATH)
plot_soak = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(plot_soak)


class Samples(unittest.TestCase):
    def read(self, text):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "soak.csv")
            path.write_text(text)
            return plot_soak.read_samples(path)

    def test_times_count_from_the_first_sample(self):
        self.assertEqual(self.read("time,resident_mib,threads,descriptors\n100.5,90.25,7,20\n101,91,8,21\n"),
                         {"time": [0, 0.5], "resident_mib": [90.25, 91], "threads": [7, 8], "descriptors": [20, 21]})

    def test_another_file_is_refused(self):
        for text in ("", "time,resident_mib,threads,descriptors\n", "time,threads\n1,2\n"):
            with self.assertRaisesRegex(SystemExit, "soak.csv: expected samples of tests/load/soak.py"):
                self.read(text)

    def test_thinning_keeps_peaks(self):
        samples = {"time": [0, 1, 2, 3, 4], "threads": [1, 9, 2, 3, 1]}
        self.assertEqual(plot_soak.thin(samples, most=3), {"time": [0, 2, 4], "threads": [9, 3, 1]})
        self.assertEqual(plot_soak.thin(samples, most=5), samples)


if __name__ == "__main__":
    unittest.main()
