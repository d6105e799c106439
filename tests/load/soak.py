#!/usr/bin/env python3
"""Sends a server requests for as long as it takes to see a leak: its memory, threads and descriptors must be flat.

    soak.py --queries 300000 --output soak.csv

Prints its figures as JSON; exits with 1 where something does not hold. The CSV has every sample;
scripts/plot_soak.py draws it.
"""
import argparse
import csv
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import served  # noqa: E402

WARMUP_QUERIES = 2000
# From the second quarter of a soak to its last. A pool may still start a thread for a connection that overlaps others.
LARGEST_GROWTH = {"resident_mib": 8, "threads": 2}
SECONDS_TO_CLOSE = 10


def soak(server, queries):
    idle = server.sample()
    query = ["scenario=offline", "connections=4", "input=codes", "tokens=[1, 4, 16]", "warmup_queries=0"]
    # What the server makes once and keeps: threads, and the allocator's memory of each.
    served.load(server, f"queries={WARMUP_QUERIES}", *query)
    before, first_sample = server.counted_since({}, WARMUP_QUERIES), len(server.samples)
    figures = served.load(server, f"queries={queries}", *query)
    samples = server.samples[first_sample:]
    grown = {key: served.growth([sample[key] for sample in samples]) for key in LARGEST_GROWTH}
    failures = [f"{key} grew by {grown[key]}" for key, largest in LARGEST_GROWTH.items() if grown[key] > largest]
    if server.seconds_to_close(idle["descriptors"], SECONDS_TO_CLOSE) is None:
        failures.append(f"it keeps descriptors: {server.sample()}, at first {idle}")
    counted = server.counted_since(before, queries)
    if counted != {"200": queries} or figures["answered"] != queries:
        failures.append(f"the server counted {counted}, the client {figures['answered']} and {figures['errors']}")
    return samples, {"queries": queries, "queries_per_second": figures["queries_per_second"],
                     "seconds": figures["seconds"], "grown": grown,
                     "largest": {key: max(sample[key] for sample in samples) for key in samples[0] if key != "time"},
                     "failures": failures}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=300000)
    parser.add_argument("--output", help="CSV file of the samples")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with served.Server(served.make_checkpoint(folder, 128, 512)) as server:
            samples, found = soak(server, options.queries)
            found["exit_code"] = server.stop()
    if options.output:
        with open(options.output, "w", newline="") as file:
            writer = csv.DictWriter(file, samples[0].keys())
            writer.writeheader()
            writer.writerows(samples)
    return served.report(found)


if __name__ == "__main__":
    sys.exit(main())
