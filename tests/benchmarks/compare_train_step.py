"""Compares our training step with the same step in Python torch.

Workers live side by side for the whole comparison and take turns, so that whatever else the machine
does hits all of them alike: ours, ours again (the A/A spread), Python eager, Python with fused AdamW.
A round gives each worker a few steps in a new random order; its time is the round's median step.
Only the standard library is needed here.

    python tests/benchmarks/compare_train_step.py --binary build/bench/tests/benchmarks/train_step \
        --python .deps/capture/bin/python --threads 2
"""

import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess

SIZES = [(8, 100), (32, 100)]  # sequences x tokens a step


class Worker:
    def __init__(self, command, threads):
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads), OMP_PROC_BIND="true")
        self.process = subprocess.Popen(
            [*command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def median_ms(self, sequences, tokens, steps):
        self.process.stdin.write(f"{sequences} {tokens} {steps}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"worker {self.process.args} ended with {self.process.wait()}")
        return statistics.median(json.loads(answer))


def compare(workers, size, rounds, steps):
    times = {name: [] for name in workers}
    for worker in workers.values():
        worker.median_ms(*size, 2)  # warm-up
    order = list(workers)
    shuffler = random.Random(1)
    for _ in range(rounds):
        shuffler.shuffle(order)
        for name in order:
            times[name].append(workers[name].median_ms(*size, steps))
    result = {"sequences": size[0], "tokens": size[1], "rounds": rounds, "steps_per_round": steps}
    for name, values in times.items():
        result[name] = {"median_ms": statistics.median(values), "min_ms": min(values), "max_ms": max(values)}
        ratios = [value / ours for value, ours in zip(values, times["kvalign"])]
        result[name]["ratio_to_kvalign"] = statistics.median(ratios)
        result[name]["ratio_low"], result[name]["ratio_high"] = min(ratios), max(ratios)
    return result


def main():
    folder = pathlib.Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, help="the built train_step")
    parser.add_argument("--python", required=True, help="a Python with torch")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=10, help="a round")
    arguments = parser.parse_args()
    threads = arguments.threads
    ours = [arguments.binary, str(threads)]
    python = [arguments.python, str(folder / "train_step.py"), str(threads)]
    workers = {
        "kvalign": Worker(ours, threads),
        "kvalign_again": Worker(ours, threads),
        "python": Worker(python, threads),
        "python_fused_adamw": Worker([*python, "--fused"], threads),
    }
    for size in SIZES:
        print(json.dumps(compare(workers, size, arguments.rounds, arguments.steps)), flush=True)
    for worker in workers.values():
        worker.process.stdin.close()
        worker.process.wait()


if __name__ == "__main__":
    main()
