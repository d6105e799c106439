"""What scripts/plot_rate.py draws of a report; drawing itself is matplotlib's."""
import importlib.util
import unittest
from pathlib import Path

PATH = Path(__file__).resolve().parents[2] / "scripts/plot_rate.py"
SPEC = importlib.util.spec_from_file_location("plot_rate", PATH)
plot_rate = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(plot_rate)


def row(name, nll, size, wire="float16", reread=0):
    return {"row": name, "wire": wire, "reread": reread, "bytes_per_token": size,
            "first16": {"nll": nll}}


class Points(unittest.TestCase):
    def test_projected_rows_with_sinks_by_rising_bytes(self):
        report = {"ladder": [
            row("true cache", 1.0, 28000), row("ridge + sinks", 1.5, 12000), row("ridge", 2.5, 12000),
            row("V1 + sinks", 2.0, 12000), row("latent + sinks", 2.0, 512, "float8_e4m3fn"),
            row("ridge + sinks + last 16", 1.2, 11000, reread=16), row("mean + sinks", 3.5, 0, ""),
            row("random + sinks", 9.0, 12000), row("wrong document + sinks", 4.0, 12000),
            row("wrong document + sinks + last 16", 1.3, 11000, reread=16),
            row("sinks alone", 3.0, 0, ""),
        ]}
        # Floor 3 (sinks alone), ceiling 1; of two rows with equal bytes the better one.
        self.assertEqual(plot_rate.points(report, "x"),
                         [(512, 0.5, "latent"), (12000, 0.75, "ridge")])

    def test_a_report_without_such_rows_is_named(self):
        with self.assertRaisesRegex(SystemExit, "x.json has no projected row"):
            plot_rate.points({"ladder": [row("true cache", 1.0, 1)]}, "x.json")


if __name__ == "__main__":
    unittest.main()
