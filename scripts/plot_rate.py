#!/usr/bin/env python3
"""Draws how much of the true cache's worth survives against what crosses the network.

    plot_rate.py --report "WikiText-2=results/trained_wikitext.json" --report ... --output FILE.svg

One line a report: its projected rows with exact sinks and nothing re-read, but for baselines. The
cache rows stand at the bytes of the sender's cache, latents at their own. Needs matplotlib
(scripts/setup_capture.sh).
"""

import argparse
import json
import pathlib
import sys

BASELINES = ("mean", "random", "pad", "truncate", "interpolate", "wrong document")


def points(report, path):
    """(bytes a token, retention of the first tokens, row), sorted, best row first at equal bytes."""
    found = []
    for row in report["ladder"]:
        name, _, rest = row["row"].partition(" + ")
        projected = rest == "sinks" and name not in BASELINES and row["wire"]
        if projected:
            found.append((row["bytes_per_token"], row["retention_first16"], name))
    if not found:
        sys.exit(f"plot_rate: {path} has no projected row with exact sinks")
    best = {}
    for size, value, name in found:
        if size not in best or value > best[size][0]:
            best[size] = (value, name)
    return [(size, *best[size]) for size in sorted(best)]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--report", action="append", required=True, metavar="NAME=PATH")
    parser.add_argument("--output", required=True, help="an .svg or .png file")
    arguments = parser.parse_args()
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "kvalign"  # equal data give equal bytes
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4), layout="constrained")
    for text in arguments.report:
        label, _, path = text.partition("=")
        line = points(json.loads(pathlib.Path(path).read_text()), path)
        axes.plot([p[0] for p in line], [p[1] for p in line], marker="o", label=label)
        for size, value, name in line:
            axes.annotate(name, (size, value), xytext=(4, -10), textcoords="offset points", size=7)
    axes.axhline(1, color="grey", linewidth=0.8)
    axes.annotate("true cache", (1, 1), xycoords=("axes fraction", "data"), ha="right", va="bottom", size=7)
    axes.set(xscale="log", xlabel="bytes a token that cross the network",
             ylabel="retention, first 16 tokens")
    axes.margins(x=0.15)
    axes.legend(loc="lower right")
    figure.savefig(arguments.output, metadata={"Date": None} if arguments.output.endswith("svg") else None)


if __name__ == "__main__":
    main()
