#!/usr/bin/env python3
"""Makes the tables of README.md from results/*.json, the reports of the runs that README quotes.

A table stands between the lines  <!-- results:NAME -->  and  <!-- /results -->  and shows the
reconstruction in results/NAME.json (the report.json of `kvalign eval`); one between
<!-- ladder:NAME -->  and  <!-- /ladder -->  shows its ladder, and one between <!-- certificates:NAME -->
and  <!-- /certificates -->  what it proves, one between  <!-- task_success:NAME -->  and
<!-- /task_success -->  who answers right. One between  <!-- plan:NAME -->  and  <!-- /plan -->  quotes
results/plans/NAME.json, what `kvalign plan --json` printed; one between  <!-- times:NAME -->  and
<!-- /times -->  has a ladder's milliseconds and joules, one between  <!-- benchmark:NAME.SUITE -->  and
<!-- /benchmark -->  what `kvalign bench` wrote to results/benchmarks/NAME.jsonl of one suite, and one between  <!-- memory:NAME -->
and  <!-- /memory -->  what peak_memory.py wrote to results/benchmarks/NAME.json (benchmark_tables.py).
<!-- seed:tables --> is seed_tables.py's.
Without arguments the tables are
rewritten; with --check nothing is written, and the exit code is 1 where README and results disagree.
"""

import argparse
import json
import math
import re
import sys
from pathlib import Path

import benchmark_tables
import seed_tables

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(
    r"(<!-- (?P<kind>results|ladder|certificates|task_success|plan|times|benchmark|memory|seed):(?P<name>[\w.-]+) -->\n)"
    r".*?(<!-- /(?P=kind) -->)", re.DOTALL
)
MARKER = re.compile(r"<!-- (?:results|ladder|certificates|task_success|plan|times|benchmark|memory|seed):[\w.-]+ -->")
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


def machine_text(report):
    text = "{cpu}, {device}, {num_threads} threads, LibTorch {libtorch}.\n"
    return text.format(**report["machine"])


def describe(report):
    """One line below the table: what was held out, on which machine, how large an interval is."""
    data = report["dataset"]
    sinks = data["skip_first_tokens"]
    units = "sequences" if data["test_documents"] == data["test_sequences"] else "documents"
    return (
        f"\n{data['sender']} to {data['receiver']}: {data['test_sequences']} held-out sequences of "
        f"{data['test_documents']} documents, {data['test_tokens']:,} tokens"
        + (f" without the first {sinks} of each" if sinks else "")
        + f"; {data['train_sequences']} trained on. 95 % bootstrap intervals over {units}. "
        f"{machine_text(report)}"
    )


def score_cells(scores):
    return [format_interval(scores[name]) for name in ("accuracy", "balanced_accuracy", "macro_f1")]


def fine_tuning_tables(report):
    """What task heads say, and what fine-tuning gained; nothing where no row has a head of its own."""
    task = report["task"]
    if "gains" not in task:
        return ""

    def reference(name):
        return score_cells({"accuracy": task[name], "balanced_accuracy": task["balanced_accuracy"][name],
                            "macro_f1": task["macro_f1"][name]})

    lines = [["true cache", *reference("true_cache")], ["commonest label", *reference("majority_class")]]
    for row in report["reconstruction"]["rows"]:
        lines.append([row["row"], *score_cells(row["task"])])
        if "own_head" in row["task"]:
            own = row["task"]["own_head"]
            lines.append([row["row"] + ", own head", *score_cells(own)])
            lines.append(["true cache, head of " + row["row"], *score_cells(own["true_cache"])])
    gains = [[gain["row"] + " minus " + ("the true caches' head on it" if gain["against"] == gain["row"]
                                         else gain["against"]), *score_cells(gain)] for gain in task["gains"]]
    titles = ["accuracy", "balanced accuracy", "macro-F1"]
    return (
        "\n" + markdown_table(["caches and head", *titles], lines)
        + "\n" + markdown_table(["own head minus true cache's", *titles], gains)
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
        text += fine_tuning_tables(report)
    return text + describe(report)


def fixed(value, digits):
    return "-" if value is None else f"{value:.{digits}f}"


def percent(value):
    return "-" if value is None else f"{100 * value:.0f} %"


def ladder_cells(row):
    first, whole, steps = row["first16"], row["all"], row["milliseconds"]
    return [
        row["row"],
        fixed(first["nll"], 3),
        fixed(whole["nll"], 3),
        fixed(whole["ppl"], 2),
        fixed(first["top1"], 3),
        fixed(whole["top1"], 3),
        *([percent(row["retention_first16"])] if "retention_first16" in row else []),
        percent(row["retention"]),
        fixed(row["kl"], 3),
        fixed(whole["nats_per_byte"], 3),
        f"{row['bytes_per_token']:,.1f}",
        fixed(sum(step for step in steps.values() if step is not None), 0),
    ]


def ladder_table(report):
    """Rows of the ladder, the gate's verdict, and what was read where."""
    data = report["ladder_data"]
    first = f"first {data['first_tokens']}"
    titles = ["row", f"nll {first}", "nll", "ppl", f"top-1 {first}", "top-1",
              "retention", "KL", "nats/byte", "bytes/token", "ms"]
    if "retention_first16" in report["ladder"][0]:  # reports of before it was there are shown too
        titles.insert(titles.index("retention"), f"retention {first}")
    text = markdown_row(titles) + "|" + " --- |" + " ---: |" * (len(titles) - 1) + "\n"
    text += "".join(markdown_row(ladder_cells(row)) for row in report["ladder"])
    cold = data["sender_prefill_ms"]["cold"]
    return (
        f"{text}\n{data['conclusion']}\n\n"
        f"{data['sender']} to {data['receiver']}: {data['sequences']} held-out sequences of "
        f"{data['documents']} documents, {data['prefix_tokens']} tokens of prefix and "
        f"{data['continuation_tokens']} predicted. nll in nats a token; retention from the floor "
        f"({data['floor']} where nothing is re-read) to the true cache; ms a sequence: prefill, "
        f"projection and continuation, median of {data['timed_sequences']} sequences, without the "
        f"sender's prefill ({fixed(cold, 0)} ms cold, 0 warm). {machine_text(report)}"
    )


def median(values):
    """The ceil(n / 2)-th smallest, as reports have it; None, a bound that is infinite, is largest."""
    ordered = sorted(values, key=lambda value: float("inf") if value is None else value)
    return ordered[(len(ordered) + 1) // 2 - 1]


def share(value):
    """A share in percent, three digits."""
    digits = float(f"{100 * value:.3g}")
    return f"{digits:,.0f} %" if digits >= 1000 else f"{digits:.3g} %"


def bound(value):
    """A share that is an upper bound, rounded upwards; "none" where it is infinite."""
    if value is None:
        return "none"
    unit = 10.0 ** (math.floor(math.log10(value)) - 2) if value > 0 else 1
    return share(math.ceil(value / unit) * unit)


def ratio(value, norm):
    return None if value is None or norm is None else value / norm


def layers(attention, quantity, kind):
    """The median over layers of the median over queries."""
    return median([layer[f"{quantity}{kind}"]["p50"] for layer in attention["layers"]])


KINDS = (("measured", share), ("certified", bound))


def certificate_cells(row):
    quantisation, streams = row["quantisation"], row["streams"]
    output = {
        kind: shown(median([ratio(stream[kind]["p50"], stream["output_norm"]) for stream in streams]))
        for kind, shown in KINDS
    }
    cells = [
        row["row"],
        share(quantisation["measured"]["p50"]),
        bound(quantisation["certified"]["p50"]),
        output["measured"],
        output["certified"],
        share(sum(stream["vacuous"] for stream in streams) / len(streams)),
    ]
    for key in ("attention", "attention_whole"):
        for kind, shown in KINDS:
            cells.append(shown(layers(row[key], "", kind)) if row[key] else "-")
    for kind in ("measured", "certified"):
        whole = row["attention_whole"]
        cells.append(format_number(layers(whole, "c_", kind)) if whole else "-")
    return cells


def limit_cells(row):
    limits, decisions = row["projection"], row["decisions"]
    cells = [row["row"], *(format_number(value) for value in (
        limits["mean"], limits["mean_upper"]["betting"], limits["mean_upper"]["empirical_bernstein"],
        limits["mean_upper"]["hoeffding"], row["largest_r2"], row["seed_formula"]["value"]))]
    if decisions:
        total = decisions["sequences"]
        cells += [share(decisions[key] / total) for key in (
            "disagreements", "certified_quantisation", "certified_fully")]
        cells.append(bound(decisions["task_distortion_upper"]))
    return cells


def markdown_table(titles, rows, column=" ---: |"):
    """`column`: how all columns but the first are aligned; numbers to the right."""
    head = markdown_row(titles) + "|" + " --- |" + column * (len(titles) - 1) + "\n"
    return head + "".join(markdown_row(row) for row in rows)


def certificates_table(report):
    """What rounding does, measured and certified; what projection does, measured and statistical."""
    certificates, data = report["certificates"], report["dataset"]
    rows = certificates["rows"]
    attention = any(row["attention"] or row["attention_whole"] for row in rows)
    titles = ["row", "sent numbers move: measured", "certified", "outputs move: measured", "certified",
              "vacuous", "attention moves by rounding: measured", "certified",
              "by projection and rounding: measured", "certified", "C: measured", "certified"]
    cells = [certificate_cells(row) for row in rows]
    if not attention:
        titles, cells = titles[:6], [row[:6] for row in cells]
    limits = ["row", "relative error: measured", "mean at most (betting)", "empirical Bernstein",
              "Hoeffding", "R² at most", "seed formula (no bound)"]
    if any(row["decisions"] for row in rows):
        limits += ["decisions changed: measured", "certified against rounding", "certified fully",
                   "changed at most"]
    return (
        markdown_table(titles, cells)
        + "\n"
        + markdown_table(limits, [limit_cells(row) for row in rows])
        + f"\n{rows[0]['tokens']:,} tokens of {rows[0]['sequences']} held-out sequences, "
        f"{sum(row['violations'] for row in rows)} bounds exceeded. Medians over tokens, streams, queries "
        f"and layers. {data['sender']} to {data['receiver']}; relative errors of "
        f"{rows[0]['projection']['documents']} documents; all {certificates['statements']} statistical "
        f"limits hold together with {share(certificates['confidence'])} confidence. {machine_text(report)}"
    )


def points(interval):
    """A share and its interval in points of 100; "-" for none."""
    value, low, high = ((interval or {}).get(key) for key in ("value", "low", "high"))
    text = [fixed(None if one is None else 100 * one, 1) for one in (value, low, high)]
    return text[0] if low is None else f"{text[0]} [{text[1]}, {text[2]}]"


def task_success_table(report):
    """Shares of texts answered right, and each row against reading the text and the sender alone."""
    task, figures = report["task_success"], ("accuracy", "balanced_accuracy", "macro_f1")
    differences = {(one["row"], one["against"]): one["accuracy"] for one in task["differences"]}
    titles = ["row", "success %", "balanced accuracy %", "macro-F1 %", "success minus text",
              "minus sender alone"]
    rows = [[row["row"], *(points(row[figure]) for figure in figures),
             *(points(differences.get((row["row"], other))) for other in ("text", "sender alone"))]
            for row in task["rows"]]
    return (
        f"{markdown_table(titles, rows)}\n{task['conclusion']}\n\n{task['sender']} to "
        f"{task['receiver']}: {task['texts']} held-out texts of {len(task['classes'])} classes, asked "
        f"{json.dumps(task['question'])}. 95 % bootstrap intervals over texts. {machine_text(report)}"
    )


def plan_quote(plan):
    """What the plan says of each prompt, word for word."""
    return "".join(
        f"> **{prompt['prompt_tokens']:,} tokens.** {prompt['conclusion']}\n>\n"
        for prompt in plan["prompts"]).removesuffix(">\n")


def times_table(report):
    """Milliseconds and joules of each row's steps, once where rows share them."""
    steps = ("prefill", "project", "continue")
    titles = ["row", *(f"{step} ms" for step in steps), *(f"{step} J" for step in steps)]
    seen, rows = set(), []
    for row in report["ladder"]:
        figures = [row[unit][step] for unit in ("milliseconds", "joules") for step in steps]
        if row["row"].startswith("wrong document") or tuple(figures) in seen:
            continue
        seen.add(tuple(figures))
        rows.append([row["row"], *(fixed(figure, 2) for figure in figures)])
    data, machine = report["ladder_data"], report["machine"]
    return (
        markdown_table(titles, rows)
        + f"\n{data['prefix_tokens']} tokens of prefix, {data['continuation_tokens']} predicted; medians of "
        f"{data['timed_sequences']} texts. {machine['cpu']}, {machine['device']}. Energy: {data['energy_source']}.\n"
    )


def seed_table(results):
    titles = ["seed's section", "seed's number", "ours", "why they differ"]
    return markdown_table(titles, seed_tables.rows(results), column=" --- |")


def benchmark_table(name, folder):
    """Of one suite; `name` is FILE.SUITE."""
    file, _, suite = name.partition(".")
    path = folder / f"{file}.jsonl"
    if not path.is_file():
        raise SystemExit(f"{path} is missing, but README.md has a table of it")
    machine, rows = benchmark_tables.read(path)
    rows = [row for row in rows if row["suite"] == suite]
    if not rows:
        raise SystemExit(f"{path} holds nothing of suite {suite!r}, but README.md has a table of it")
    return markdown_table(*benchmark_tables.titles_and_cells(rows)) + benchmark_tables.note(machine, rows)


MAKERS = {"times": times_table, "results": table, "ladder": ladder_table, "certificates": certificates_table,
          "task_success": task_success_table, "plan": plan_quote,
          "memory": lambda peaks: markdown_table(*benchmark_tables.memory_titles_and_cells(peaks))}
FOLDERS = {"plan": "plans", "memory": "benchmarks"}


def fill(readme, results):
    """`readme` with every table made anew. Raises SystemExit for one that cannot be."""

    def replace(match):
        if match["kind"] == "seed":
            return match[1] + seed_table(results) + match[4]
        if match["kind"] == "benchmark":
            return match[1] + benchmark_table(match["name"], results / "benchmarks") + match[4]
        path = results / FOLDERS.get(match["kind"], "") / (match["name"] + ".json")
        if not path.is_file():
            raise SystemExit(f"{path} is missing, but README.md has a table of it")
        report = json.loads(path.read_text(encoding="utf-8"))
        needed = {"times": "ladder"}.get(match["kind"], match["kind"])
        if needed in ("ladder", "certificates", "task_success") and needed not in report:
            raise SystemExit(f"{path} holds no {needed}, but README.md has a table of it")
        return match[1] + MAKERS[match["kind"]](report) + match[4]

    if len(MARKER.findall(readme)) != len(BLOCK.findall(readme)):
        raise SystemExit(
            "README.md: a <!-- results:NAME -->, <!-- ladder:NAME -->, <!-- certificates:NAME -->, "
            "<!-- task_success:NAME --> or <!-- plan:NAME --> is not closed by <!-- /results -->, <!-- /ladder --> and so on"
        )
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
