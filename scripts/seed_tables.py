"""The numbers of the note that this project began with, beside what was measured here: seed's number, ours,
why they differ. A module of results_table.py, which puts the table into README.md; every figure of ours
is read from results/*.json. `scripts/seed_tables.sh` makes those anew.
"""

import json
import math
import statistics

import benchmark_tables


class Results:
    """The reports in a folder, each read once."""

    def __init__(self, folder):
        self._folder, self._reports = folder, {}

    def __getitem__(self, name):
        if name not in self._reports:
            path = self._folder / f"{name}.json"
            if not path.is_file():
                raise SystemExit(f"{path} is missing, but README.md has a table that needs it")
            self._reports[name] = json.loads(path.read_text(encoding="utf-8"))
        return self._reports[name]

    def row(self, report, section, name):
        rows = self[report][section]
        rows = rows["rows"] if isinstance(rows, dict) else rows
        found = [row for row in rows if row["row"] == name]
        if not found:
            raise SystemExit(f"results of {report}: no row '{name}' in {section}, but README.md quotes it")
        return found[0]

    def timed(self, suite, case):
        """The machine of benchmarks/cpu.jsonl, and its first measurement of a case in float32."""
        path = self._folder / "benchmarks/cpu.jsonl"
        if not path.is_file():
            raise SystemExit(f"{path} is missing, but README.md has a table that needs it")
        machine, rows = benchmark_tables.read(path)
        found = [row for row in benchmark_tables.first_variants(rows)
                 if (row["suite"], row["case"], row["dtype"]) == (suite, case, "float32")]
        if not found:
            raise SystemExit(f"{path}: no case '{case}' of suite {suite}, but README.md quotes it")
        return machine, found[0]


def interval(figure, digits=2):
    return f"{figure['value']:.{digits}f} [{figure['low']:.{digits}f}, {figure['high']:.{digits}f}]"


def milliseconds(row, step):
    value = row["milliseconds"][step]
    return f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms"


def parameters(results):
    """2.2, 2.3, 6.1: what V1 and V2 are, whatever they are fed."""
    v1 = results.row("seed_512_to_4096", "reconstruction", "V1, LayerNorm")["num_parameters"]
    bare = results.row("seed_512_to_4096", "reconstruction", "V1, no norm")["num_parameters"]
    v2 = results.row("seed_512_to_4096", "reconstruction", "V2, LayerNorm")["num_parameters"]
    yield ("2.2 V1, parameters", "2,101,248", f"{v1:,}", f"the note leaves out LayerNorm's own; without it {bare:,}")
    yield ("2.2 V1, memory", "8.4 MB in FP32, 4.2 MB in FP16", f"{4e-6 * v1:.1f} MB, {2e-6 * v1:.1f} MB", "it is the same")
    yield ("2.3 V2, parameters", "1.5M (V1) to 5M", f"{v1 / 1e6:.1f}M to {v2 / 1e6:.1f}M", "2.3 forgets what 2.2 counted")
    whole = results.row("qwen", "reconstruction", "V1 all, LayerNorm")["num_parameters"]
    yield ("2.2 V1 for a whole cache", "2.1M", f"{whole / 1e6:.0f}M",
           "a cache is keys and values of every layer, 56 streams of the Qwen pair, not one vector a token")
    operations = 2 * 100 * 512 * 4096
    yield ("6.1 operations, 100 tokens", "209M FLOP", f"{operations / 1e6:.0f} MFLOP",
           "a multiplication and an addition are two; LayerNorm is about eight operations a number, not one")


def times(results):
    """2.2, 2.3, 6.1, 1.2: milliseconds, on what was at hand."""
    for shape, note, why in (
        ("V1 512 -> 4096, 100 tokens", "1.2 ms", "estimate: an A100's memory reads V1's weights in 3 µs; the note's figure is kernels being launched"),
        ("V1 512 -> 4096, 8 x 100 tokens", "2.3 ms", "eight times the tokens are eight times the work here"),
        ("V2 512 -> 4096, 100 tokens", "3.5 ms", "5 multiplications for 2 of V1"),
    ):
        machine, figure = results.timed("projection", shape)
        yield (f"2.2, 2.3, 6.1 {shape}", f"{note} on an A100",
               f"{figure['milliseconds']['median']:.2f} ms on {machine['num_threads']} CPU threads, "
               f"{figure['ratios']['gemm']['median']:.2f} times its matrix products alone", why)
    text = results.row("ladder_wikitext", "ladder", "text")
    ridge = results.row("ladder_wikitext", "ladder", "ridge + sinks")
    yield ("6.1 projector against full inference", "1.2 ms against 120 ms: 100 times",
           f"{milliseconds(ridge, 'project')} + {milliseconds(ridge, 'prefill')} for the sinks against {milliseconds(text, 'prefill')}: "
           f"{text['milliseconds']['prefill'] / (ridge['milliseconds']['project'] + ridge['milliseconds']['prefill']):.0f} times",
           "256 tokens of the Qwen pair on 2 CPU cores; on a GPU a pass over the sinks costs what the text does (see On a GPU)")
    joules = {name: results.row("gpu_pair", "ladder", name)["joules"] for name in ("text", "ridge", "rank 512 + sinks")}
    yield ("6.2 energy", "0.48 J against 48 J",
           f"{joules['ridge']['project']:.2f} J (closed form), {joules['rank 512 + sinks']['project']:.2f} J (latents) against "
           f"{joules['text']['prefill']:.2f} J",
           "the note multiplies a power limit by a time; ours are NVML's counts on an H200, 512 tokens, random weights")


def training(results):
    """3.1: how long learning takes."""
    steps = results["benchmarks/train_step"]
    step = statistics.median(steps["milliseconds"])
    whole = 10_000 / steps["sequences"] * 100 * step / 3.6e6
    yield ("3.1 training, 10,000 samples, 100 epochs", "2 hours on an A100",
           f"{whole:.1f} hours on {steps['threads']} CPU threads: 125,000 steps of {step:.0f} ms, not run to their end",
           "V1, 8 x 100 tokens a step; 13 TFLOP an epoch are under a second of an A100 that is kept busy. And the closed "
           "form of the same map needs one pass, not 100")


def certificates(results):
    """4.1: what FP8 does, measured and certified."""
    rows = results["certificates"]["certificates"]["rows"]
    for row in rows:
        if row["row"] not in ("V1 with LayerNorm", "trained latent 512"):
            continue
        layers = row["attention"]["layers"]
        measured = statistics.median(layer["c_measured"]["p50"] for layer in layers)
        certified = statistics.median(layer["c_certified"]["p50"] for layer in layers)
        yield (f"4.1 C_attn, {row['row']}", "6.4, 8.2, 9.5 by task", f"measured {measured:.2f}, certified {certified:,.0f}",
               "the note's 1.8 x 3.5 follows from nothing; ours: the move of an attention output by FP8 relative to that of the cache, "
               "median over queries and layers, and what is proved of it, which is vacuous")
    own = 0.1 + 2 * math.sqrt(512) * 2**-3
    yield ("4.1 bound of the projector, one token", "6.76", f"{own:.2f} by the note's own numbers",
           f"0.1 + 2 x 2.83; {rows[0]['seed_formula']['value']:.1f} with those of V1 with LayerNorm of the Qwen pair. And no bound: a mean, a sampled slope, and an FP8 error that holds for magnitudes up to 4")


PAIRS = (
    {"name": "demo pair", "texts": "200 texts each", "rows": ("text", "sender alone", "V2 + sinks", "V2 E4M3/token + sinks"),
     "tasks": ("demo_task_alarm", "demo_task_severity", "demo_task_code")},
    {"name": "Qwen pair", "texts": "SMS spam, SST-5, Banking77",
     "rows": ("text", "sender alone", "ridge + sinks", "ridge E4M3/token + sinks"),
     "tasks": ("task_sms", "task_sst5", "task_banking")},
)


def sensitivity(results):
    """4.1: how often the answer is another one than after the receiver's own cache."""
    for pair in PAIRS:
        for task, note in zip(pair["tasks"], ("0.068, 2 classes", "0.087, 5 classes", "-")):
            row = results.row(task, "task_success", pair["rows"][3])["agreement"]
            yield (f"4.1 D_task, {len(results[task]['task_success']['classes'])} classes, {pair['name']}", note,
                   f"{1 - row['value']:.3f} [{1 - row['high']:.3f}, {1 - row['low']:.3f}]",
                   "share of texts answered otherwise than from the text, projected and in FP8; the note's is C_attn times a "
                   "relative norm, which is no share of anything")


def alternatives(results):
    """1.2 and 7.2: what else could be sent, in the receiver's words."""
    sequences = results["bidirectional"]["ladder_data"]["sequences"]
    for row, note in (("text", "+120 ms, 100 times the bytes"), ("pad + sinks", "hallucination"),
                       ("interpolate + sinks", "75 % of tasks"),
                      ("autoencoder + sinks", "errors add up"), ("bidirectional + sinks", "-"), ("ridge + sinks", "90 % of tasks"),
                      ("no cache", "-"), ("sender alone", "-"), ("bidirectional to sender + sinks", "-"), ("sender, no cache", "-")):
        figures = results.row("bidirectional", "ladder", row)
        yield (f"1.2, 5.2, 7 {row}, Qwen pair", note,
               f"{figures['all']['nll']:.3f} nats a token, {figures['bytes_per_token']:,.0f} bytes",
               f"WikiText-2, 256 tokens of prefix, {sequences} sequences; a narrower cache cannot be truncated to a wider one")


def configurations(results):
    """3.2, 4.2 and 7: what the receiver makes of each cache."""
    for pair in PAIRS:
        for row, called, note in zip(pair["rows"], ("cloud-only", "edge-only", "edge + projector", "edge + projector + FP8"),
                                     ("92 %", "88 %", "90 %", "89 %")):
            shares = [results.row(task, "task_success", row)["accuracy"]["value"] for task in pair["tasks"]]
            yield (f"4.2 {called}, {pair['name']}", f"{note} of one binary task",
                   f"{', '.join(f'{100 * share:.1f} %' for share in shares)} of tasks of 2, 5, 20 classes",
                   f"{pair['texts']}; the note has no data behind it")
    for row, called in (("text", "cloud-only"), ("sender alone", "edge-only"),
                        ("trained latent 512 + sinks", "edge + projector + FP8")):
        nll = results.row("trained_wikitext", "ladder", row)["all"]["nll"]
        yield (f"4.2 {called}, real pair", "-", f"{nll:.3f} nats a token",
               "WikiText-2, Qwen pair, less is better")
    gain = next(gain for gain in results["demo_fine_tune"]["task"]["gains"]
                if (gain["row"], gain["against"]) == ("V1-head", "V1"))["accuracy"]
    yield ("3.2 fine-tuning the head", "+1-2 % of tasks",
           f"+{100 * gain['value']:.1f} [{100 * gain['low']:.1f}, {100 * gain['high']:.1f}] points",
           "demo pair, 5 classes; the note's optimiser holds the frozen projector, and would change nothing")
    for name, note in (("pad", "hallucination"), ("interpolate", "75 % of tasks"), ("random", "-")):
        row = results.row("seed_512_to_4096", "reconstruction", name)
        v1 = results.row("seed_512_to_4096", "reconstruction", "V1, LayerNorm")
        yield (f"1.2/7.1 {name}", note, f"R² {interval(row['headline']['r2'])}, task {interval(row['task']['accuracy'])}",
               f"generated caches; V1 there: R² {interval(v1['headline']['r2'])}, task {interval(v1['task']['accuracy'])}")


PARTS = (parameters, times, training, certificates, sensitivity, configurations, alternatives)


def rows(folder):
    """[where, seed's number, ours, why they differ] of every number."""
    results = Results(folder)
    return [row for part in PARTS for row in part(results)]
