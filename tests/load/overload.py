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
CAPACITY_QUERIES = 200


def failures(figures, queries, logged, counted):
    """What does not hold, in words. `queries` and `logged`: the client's and the server's log."""
    errors = {query["id"]: query["error"] for query in queries if query["error"] not in ("", "503")}
    silent = [query["id"] for query in queries if query["error"] == "503" and not query["retry_after"]]
    ids = collections.Counter(query["id"] for query in queries)
    told = collections.Counter((query["id"], query["status"]) for query in queries)
    answers = collections.Counter((entry["id"], entry["status"]) for entry in logged if entry.get("id") in ids)
    expected = {status: count for status, count in
                {"200": figures["answered"], "503": figures["errors"].get("503", 0)}.items() if count}
    if errors:
        yield f"{len(errors)} queries without an answer, e.g. {list(errors.items())[:3]}"
    if silent:
        yield f"{len(silent)} times 503 without Retry-After"
    if len(ids) != figures["options"]["queries"] or max(ids.values()) != 1:
        yield f"{len(ids)} queries are in the log, expected {figures['options']['queries']}, each once"
    if answers != told:
        yield f"the server's log differs, e.g. in {list(((answers - told) + (told - answers)).items())[:3]}"
    if counted != expected:
        yield f"the server counted {counted}, the client {expected}"
    if not figures["errors"].get("503"):
        yield "nothing was refused: that was no overload"
    if figures["outcomes"] != {"applied": figures["answered"]}:
        yield f"outcomes are {figures['outcomes']}"


def json_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def overload(server, seconds, factor, log):
    # As many at once as may wait: the fullest batches without a refusal.
    alone = served.load(server, "scenario=offline", f"queries={CAPACITY_QUERIES}", f"connections={QUEUE}", *QUERY)
    capacity = alone["queries_per_second"]
    rate = factor * capacity
    before, first_sample = server.requests_by_status(), len(server.samples)
    figures = served.load(server, "scenario=server", "seed=2", f"queries={max(100, int(rate * seconds))}",
                          f"queries_per_second={rate}", f"connections={CONNECTIONS}", *QUERY, log=log)
    queries = json_lines(log)
    counted = server.counted_since(before, len(queries))
    resident = [sample["resident_mib"] for sample in server.samples[first_sample:]]
    sent = len(queries) / max(query["sent"] for query in queries)
    return {"capacity_per_second": capacity, "sent_per_second": sent, "times_capacity": sent / capacity,
            "times_answered": len(queries) / figures["answered"], "answered": figures["answered"],
            "errors": figures["errors"], "seconds": figures["seconds"],
            "answered_per_second": figures["queries_per_second"], "latency_ms": figures["latency_ms"],
            "send_delay_ms": figures["send_delay_ms"], "server_counted": counted,
            "growth_mib": served.growth(resident), "resident_mib": max(resident),
            "exit_code": server.stop(),
            "failures": list(failures(figures, queries, json_lines(server.access_log), counted))}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="of overload")
    parser.add_argument("--largest-growth", type=float, default=32, metavar="MIB",
                        help="of memory, from the second quarter of the time to the last")
    parser.add_argument("--factor", type=float, default=10, help="times what the server answers without it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = served.make_checkpoint(folder, 512, 4096)
        with served.Server(checkpoint, f"service.batch.queue_requests={QUEUE}",
                           access_log=pathlib.Path(folder, "access.jsonl")) as server:
            found = overload(server, options.seconds, options.factor, pathlib.Path(folder, "queries.jsonl"))
    if found["growth_mib"] > options.largest_growth:
        found["failures"].append(f"memory grew by {found['growth_mib']:.1f} MiB")
    return served.report(found)


if __name__ == "__main__":
    sys.exit(main())
