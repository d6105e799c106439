"""Workers of a comparison: processes that live side by side and take turns, so that whatever else the
machine does hits all of them alike. A worker reads a line and answers with a JSON line."""

import json
import os
import random
import statistics
import subprocess


class Worker:
    def __init__(self, command, threads):
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads), OMP_PROC_BIND="true")
        self.process = subprocess.Popen(
            [*command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"worker {self.process.args} ended with {self.process.wait()}")
        return json.loads(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def times_by_turns(workers, line, warm_up, rounds):
    """Median milliseconds of each worker's answers by round, {name: [..]}, in a new random order a
    round. `line` and `warm_up` are what is asked."""
    times = {name: [] for name in workers}
    for worker in workers.values():
        worker.ask(warm_up)
    order = list(workers)
    shuffler = random.Random(1)
    for _ in range(rounds):
        shuffler.shuffle(order)
        for name in order:
            times[name].append(statistics.median(workers[name].ask(line)))
    return times


def take_turns(workers, line, warm_up, rounds):
    """times_by_turns in figures: for each name its milliseconds, and its ratio to the first worker."""
    times = times_by_turns(workers, line, warm_up, rounds)
    first = next(iter(workers))
    result = {}
    for name, values in times.items():
        ratios = [value / ours for value, ours in zip(values, times[first])]
        result[name] = {
            "median_ms": statistics.median(values),
            "min_ms": min(values),
            "max_ms": max(values),
            f"ratio_to_{first}": statistics.median(ratios),
            "ratio_low": min(ratios),
            "ratio_high": max(ratios),
        }
    return result
