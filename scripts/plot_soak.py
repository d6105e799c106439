#!/usr/bin/env python3
"""Draws what a server's process held while it was soaked: memory, threads and descriptors over time.

    plot_soak.py soak.csv --output FILE.svg

The CSV is that of tests/load/soak.py --output. Needs matplotlib (scripts/setup_capture.sh).
"""

import argparse
import csv
import pathlib
import sys

PANELS = {"resident_mib": "resident, MiB", "threads": "threads", "descriptors": "open descriptors"}
MOST_POINTS = 1000


def read_samples(path):
    """Column -> numbers; "time" in seconds since the first sample."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"time", *PANELS} <= rows[0].keys():
        sys.exit(f"plot_soak: {path}: expected samples of tests/load/soak.py with the columns time, {', '.join(PANELS)}")
    samples = {name: [float(row[name]) for row in rows] for name in ("time", *PANELS)}
    samples["time"] = [time - samples["time"][0] for time in samples["time"]]
    return samples


def thin(samples, most=MOST_POINTS):
    """At most `most` stretches of time, each by its largest value: no peak is lost."""
    step = -(-len(samples["time"]) // most)
    starts = range(0, len(samples["time"]), step)
    return {name: [values[i] if name == "time" else max(values[i:i + step]) for i in starts]
            for name, values in samples.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", type=pathlib.Path, help="the CSV file")
    parser.add_argument("--output", required=True, help="an .svg or .png file")
    arguments = parser.parse_args()
    samples = thin(read_samples(arguments.samples))
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "kvalign"  # equal data give equal bytes
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(len(PANELS), sharex=True, figsize=(6.4, 5), layout="constrained")
    for axes, (name, label) in zip(panels, PANELS.items()):
        axes.plot(samples["time"], samples[name], linewidth=1)
        axes.set(ylabel=label, ylim=(0, 1.15 * max(samples[name])))
        axes.grid(alpha=0.3)
    panels[-1].set(xlabel="seconds under load")
    figure.savefig(arguments.output, metadata={"Date": None} if arguments.output.endswith("svg") else None)


if __name__ == "__main__":
    main()
