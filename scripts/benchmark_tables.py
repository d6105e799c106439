"""README's tables of speed, from what `kvalign bench --output results/benchmarks/NAME.jsonl` wrote and
tests/benchmarks/compare_peers.py in the same form: the first line is the machine, then one a measurement. And of
what peak_memory.py wrote.

results_table.py fills them in between  <!-- benchmark:NAME.SUITE -->  and  <!-- /benchmark -->.
"""
import json


def read(path):
    """The machine of a file, and its measurements."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return lines[0]["machine"], [line for line in lines if "milliseconds" in line]


def digits(value):
    """Three of them, for microseconds and minutes alike."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def ratio_cell(row, baseline):
    ratio = row["ratios"].get(baseline)
    if ratio is None:
        return "-"
    text = f"{ratio['median']:.2f} [{ratio['p10']:.2f}, {ratio['p90']:.2f}]"
    return text + " =" if ratio["verdict"] == "equal" else text


def percent(value):
    return "-" if value is None else f"{value:.0f} %"


def first_variants(rows):
    """Of each case, dtype and state of buffers the variant that the others are baselines of, and the same as a graph."""
    first = {}
    for row in rows:
        ours = first.setdefault((row["case"], row["dtype"], row["buffers"]), row["variant"])
        if row["variant"] == ours:
            yield row
        elif row["variant"] == f"{ours}, graph":
            yield row | {"case": f"{row['case']}, one graph of {row['detail']}"}


def titles_and_cells(rows):
    rows = list(first_variants(rows))
    baselines = list(dict.fromkeys(name for row in rows for name in row["ratios"]))
    titles = ["case", "dtype", "buffers", "ms", *(f"/ {name}" for name in baselines), "of peak", "of copy"]
    cells = []
    for row in rows:
        times = row["milliseconds"]
        cells.append([
            row["case"], row["dtype"], row["buffers"],
            f"{digits(times['median'])} [{digits(times['p10'])}, {digits(times['p90'])}]",
            *(ratio_cell(row, name) for name in baselines),
            percent(row["percent_of_peak"]), percent(row["percent_of_copy"]),
        ])
    return titles, cells


def memory_titles_and_cells(peaks):
    """What peak_memory.py wrote."""
    few, tokens = peaks["sequences"], peaks["tokens"]
    titles = ["command", f"{few} sequences of {tokens} tokens, MiB", f"{few * peaks['more']} sequences"]
    return titles, [[row["tool"], f"{row['peak_mib']:,}", "-" if row["peak_mib_of_more"] is None else
                     f"{row['peak_mib_of_more']:,}"] for row in peaks["rows"]]


def note(machine, rows):
    """One line below the table: what the figures are, and where they come from."""
    rounds = sorted({row["rounds"] for row in rows})
    return (
        f"\nOurs: median [p10, p90] of {rounds[0]} to {rounds[-1]} rounds; its time over each baseline's, round by "
        "round, where \"=\" means that two turns of ours differ as much. Hot: the same buffers every call; cold: "
        "others, beyond the last cache. Of peak and copy: of the multiply-adds and of the bytes that this machine "
        f"does at most, measured in the same run. {machine['cpu']}, {machine['device']}, "
        f"{machine['num_threads']} threads, LibTorch {machine['libtorch']}.\n"
    )
