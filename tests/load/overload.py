#!/usr/bin/env python3
"""Sends a server ten times what it can answer: every query must get one answer, a cache or a 503 that says when to
come back, and server and client must agree on how many of which. Memory must stay flat meanwhile.

    overload.py --seconds 60

Prints its figures as JSON; exits with 1 where something does not hold.
"""
import argparse
import collections
import json
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import served  # noqa: E402

QUERY = ["input=codes", "tokens=[64]", "warmup_queries=0"]
CONNECTIONS = 48
QUEUE = 8
LARGEST_GROWTH_MIB = 32


def failures(figures, queries, counted, growth_mib):
    """What does not hold, in words."""
    errors = {query["id"]: query["error"] for query in queries if query["error"] not in ("", "503")}
    silent = [query["id"] for query in queries if query["error"] == "503" and not query["retry_after"]]
    ids = collections.Counter(query["id"] for query in queries)
    expected = {status: count for status, count in
                {"200": figures["answered"], "503": figures["errors"].get("503", 0)}.items() if count}
    if errors:
        yield f"{len(errors)} queries without an answer, e.g. {list(errors.items())[:3]}"
    if silent:
        yield f"{len(silent)} times 503 without Retry-After"
    if len(ids) != figures["options"]["queries"] or max(ids.values()) != 1:
        yield f"{len(ids)} queries are in the log, expected {figures['options']['queries']}, each once"
    if counted != expected:
        yield f"the server counted {counted}, the client {expected}"
    if not figures["errors"].get("503"):
        yield "nothing was refused: that was no overload"
    if figures["outcomes"] != {"applied": figures["answered"]}:
        yield f"outcomes are {figures['outcomes']}"
    if growth_mib > LARGEST_GROWTH_MIB:
        yield f"memory grew by {growth_mib:.1f} MiB"


def overload(server, seconds, factor, log):
    capacity = served.load(server, "scenario=offline", "queries=100", "connections=4", *QUERY)["queries_per_second"]
    rate = factor * capacity
    before, first_sample = server.requests_by_status(), len(server.samples)
    figures = served.load(server, "scenario=server", f"queries={max(100, int(rate * seconds))}",
                          f"queries_per_second={rate}", f"connections={CONNECTIONS}", *QUERY, log=log)
    queries = [json.loads(line) for line in log.read_text().splitlines()]
    after = server.requests_by_status()
    counted = {status: after[status] - before.get(status, 0) for status in after}
    counted = {status: count for status, count in counted.items() if count}
    growth_mib = served.growth(server.samples[first_sample:], "resident_mib")
    return {"capacity_per_second": capacity, "sent_per_second": len(queries) / max(query["sent"] for query in queries),
            "answered": figures["answered"], "errors": figures["errors"], "seconds": figures["seconds"],
            "answered_per_second": figures["queries_per_second"], "latency_ms": figures["latency_ms"],
            "send_delay_ms": figures["send_delay_ms"], "server_counted": counted, "growth_mib": growth_mib,
            "resident_mib": max(sample["resident_mib"] for sample in server.samples),
            "failures": list(failures(figures, queries, counted, growth_mib))}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="of overload")
    parser.add_argument("--factor", type=float, default=10, help="times what the server answers without it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = served.write_checkpoint(f"{folder}/flat.safetensors", 512, 4096)
        with served.Server(checkpoint, f"models.batch.queue_requests={QUEUE}") as server:
            found = overload(server, options.seconds, options.factor, pathlib.Path(folder, "queries.jsonl"))
            found["exit_code"] = server.stop()
    if found["exit_code"] != 0:
        found["failures"].append(f"the server ended with {found['exit_code']}")
    print(json.dumps(found, indent=2))
    return 1 if found["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
