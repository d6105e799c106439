#!/usr/bin/env python3
"""Makes the tables of README.md from results/*.json, the reports of the runs that README quotes.

A table stands between the lines  <!-- results:NAME -->  and  <!-- /results -->  and shows
results/NAME.json (the report.json of `kvalign eval`). Without arguments the tables are rewritten;
with --check nothing is written, and the exit code is 1 where README and results disagree.
"""

import argparse
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"(<!-- results:(?P<name>[\w.-]+) -->\n).*?(<!-- /results -->)", re.DOTALL)
MARKER = re.compile(r"<!-- results:[\w.-]+ -->")
TITLES = {
    "r2": "R²",
    "r2_keys": "R² keys",
    "r2_values": "R² values",
    "relative_error": "relative error",
    "cosine": "cosine",
    "mse": "MSE",
}


def format_number(value):
    """Three decimals, or three digits where those say nothing; "-" where undefined."""
    if value is None:
        return "-"
    plain = value == 0 or 1e-2 <= abs(value) < 1e3
    return f"{value:.3f}" if plain else f"{value:.3g}"


def format_interval(interval):
    value = format_number(interval["value"])
    if interval["low"] is None:
        return value
    return f"{value} [{format_number(interval['low'])}, {format_number(interval['high'])}]"


def markdown_row(cells):
    return "| " + " | ".join(cells) + " |\n"


def describe(report):
    """One line below the table: what was held out, on which machine, how large an interval is."""
    data, machine = report["dataset"], report["machine"]
    sinks = data["skip_first_tokens"]
    units = "sequences" if data["test_documents"] == data["test_sequences"] else "documents"
    return (
        f"\n{data['sender']} to {data['receiver']}: {data['test_sequences']} held-out sequences of "
        f"{data['test_documents']} documents, {data['test_tokens']:,} tokens"
        + (f" without the first {sinks} of each" if sinks else "")
        + f"; {data['train_sequences']} trained on. 95 % bootstrap intervals over {units}. "
        f"{machine['cpu']}, {machine['device']}, {machine['num_threads']} threads, "
        f"LibTorch {machine['libtorch']}.\n"
    )


def table(report):
    rows = report["reconstruction"]["rows"]
    figures = [name for name in TITLES if name in rows[0]["headline"]]
    titles = ["row", "parameters", *(TITLES[name] for name in figures)]
    if "task" in report:
        titles.append("task accuracy")
    text = markdown_row(titles) + "|" + " --- |" + " ---: |" * (len(titles) - 1) + "\n"
    for row in rows:
        cells = [row["row"], f"{row['num_parameters']:,}"]
        cells += [format_interval(row["headline"][name]) for name in figures]
        if "task" in report:
            cells.append(format_interval(row["task"]["accuracy"]))
        text += markdown_row(cells)
    if "task" in report:
        truth = format_interval(report["task"]["true_cache"])
        majority = format_interval(report["task"]["majority_class"])
        text += f"\nTask accuracy on true caches: {truth}; commonest label: {majority}.\n"
    return text + describe(report)


def fill(readme, results):
    """`readme` with every table made anew. Raises SystemExit for one that cannot be."""

    def replace(match):
        path = results / (match["name"] + ".json")
        if not path.is_file():
            raise SystemExit(f"{path} is missing, but README.md has a table of it")
        return match[1] + table(json.loads(path.read_text(encoding="utf-8"))) + match[3]

    if len(MARKER.findall(readme)) != len(BLOCK.findall(readme)):
        raise SystemExit("README.md: a <!-- results:NAME --> is not closed by <!-- /results -->")
    return BLOCK.sub(replace, readme)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 on a difference")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    arguments = parser.parse_args()
    readme = arguments.readme.read_text(encoding="utf-8")
    filled = fill(readme, arguments.results)
    if filled == readme:
        return 0
    if arguments.check:
        print(
            f"{arguments.readme}: tables and results disagree. Run scripts/results_table.py.",
            file=sys.stderr,
        )
        return 1
    arguments.readme.write_text(filled, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
