"""Compares our training step with the same step in Python torch.

Workers (workers.py): ours, ours again (the A/A spread), Python eager, Python with fused AdamW.
A round gives each worker a few steps in a new random order; its time is the round's median step.
Only the standard library is needed here.

    python tests/benchmarks/compare_train_step.py --binary build/bench/tests/benchmarks/train_step \
        --python .deps/capture/bin/python --threads 2
"""

import argparse
import json
import pathlib

from workers import Worker, take_turns

SIZES = [(8, 100), (256, 100)]  # sequences x tokens a step


def main():
    folder = pathlib.Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, help="the built train_step")
    parser.add_argument("--python", required=True, help="a Python with torch")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=10, help="a round of the smaller size, fewer of the larger")
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
    for sequences, tokens in SIZES:
        size = f"{sequences} {tokens}"
        result = {"sequences": sequences, "tokens": tokens, "rounds": arguments.rounds}
        steps = max(1, arguments.steps * SIZES[0][0] // sequences)
        result |= take_turns(workers, f"{size} {steps}", f"{size} 1", arguments.rounds)
        print(json.dumps(result), flush=True)
    for worker in workers.values():
        worker.close()


if __name__ == "__main__":
    main()
