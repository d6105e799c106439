"""What scripts/plot_rate.py draws of a report; drawing itself is matplotlib's."""
import importlib.util
import unittest
from pathlib import Path

PATH = Path(__file__).resolve().parents[2] / "scripts/plot_rate.py"
SPEC = importlib.util.spec_from_file_location("plot_rate", PATH)
plot_rate = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(plot_rate)


def row(name, retention, size, wire="float16"):
    return {"row": name, "wire": wire, "bytes_per_token": size, "retention_first16": retention}


class Points(unittest.TestCase):
    def test_projected_rows_with_sinks_by_rising_bytes(self):
        report = {"ladder": [
            row("true cache", 1.0, 28000), row("ridge + sinks", 0.75, 12000), row("ridge", 0.25, 12000),
            row("V1 + sinks", 0.5, 12000), row("latent + sinks", 0.5, 512, "float8_e4m3fn"),
            row("ridge + sinks + last 16", 0.9, 11000), row("mean + sinks", -0.2, 0, ""),
            row("random + sinks", -3.0, 12000), row("wrong document + sinks", -0.5, 12000),
            row("sinks alone", 0.0, 0, ""),
        ]}
        # Of two rows with equal bytes the better one.
        self.assertEqual(plot_rate.points(report, "x"),
                         [(512, 0.5, "latent"), (12000, 0.75, "ridge")])

    def test_a_report_without_such_rows_is_named(self):
        with self.assertRaisesRegex(SystemExit, "x.json has no projected row"):
            plot_rate.points({"ladder": [row("true cache", 1.0, 1)]}, "x.json")


if __name__ == "__main__":
    unittest.main()
