#!/usr/bin/env python3
"""Kills clients with SIGKILL in the middle of their requests for caches and for texts, again and again: the server must
go on, answer others to the bit as before, write no more for those who are gone, and give their descriptors back.

    kill_clients.py --rounds 200

Prints its figures as JSON; exits with 1 where something does not hold.
"""
import argparse
import multiprocessing
import pathlib
import random
import socket
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import served  # noqa: E402

CLIENTS_A_ROUND = 6
TOKENS = 64  # of a cache
NEW_TOKENS = 200  # of a text: enough for its client to be killed within it
SECONDS_TO_RECOVER = 30
MAX_CONNECTIONS = 32  # of the server, which keeps the thread that it made for each


def head(path, body, headers):
    lines = [f"POST {path} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}",
             *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def half_a_body(connection, request):
    connection.sendall(head(*request) + request[1][:len(request[1]) // 2])
    time.sleep(60)


def no_reading(connection, request):
    """Sends until the server has to wait for its reader."""
    while True:
        connection.sendall(head(*request) + request[1])


def half_an_answer(connection, request):
    connection.sendall(head(*request) + request[1])
    connection.recv(1000)
    time.sleep(60)


def one_after_the_other(connection, request):
    while True:
        connection.sendall(head(*request) + request[1])
        connection.recv(1)  # the answer has begun; what is left of it comes with the next


WAYS = [half_a_body, no_reading, half_an_answer, one_after_the_other]


def client(address, way, request):
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        way(connection, request)


def kill_round(server, requests, random_numbers):
    """Which ways were under way when their client was killed."""
    context = multiprocessing.get_context("fork")
    chosen = [(random_numbers.choice(WAYS), random_numbers.choice(requests)) for _ in range(CLIENTS_A_ROUND)]
    clients = [context.Process(target=client, args=(server.address, way, request)) for way, request in chosen]
    for process in clients:
        process.start()
    time.sleep(random_numbers.uniform(0.02, 0.3))
    ended = [f"{way.__name__} of {path}" for (way, (path, *_)), process in zip(chosen, clients)
             if process.exitcode is not None]
    for process in clients:
        process.kill()
        process.join()
    return ended


def seconds_until_idle(server):
    """Until no text is written any more for those who are gone; None where that takes too long."""
    start = time.monotonic()
    while time.monotonic() - start < SECONDS_TO_RECOVER:
        if server.in_flight() == 0:
            return time.monotonic() - start
        time.sleep(0.1)
    return None


def kill_rounds(server, packet, rounds):
    requests = [served.infer_request(server.input_width(), TOKENS),
                served.generate_request(packet, "generate", NEW_TOKENS),
                served.generate_request(packet, "generate_stream", NEW_TOKENS)]
    expected = [served.answer_data(server.request("POST", *request)) for request in requests]
    assert all(status == 200 and data for status, data in expected), expected
    time.sleep(0.5)  # until the connections above are gone
    baseline, failures = server.sample(), []
    random_numbers = random.Random(1)
    for number in range(rounds):
        ended = kill_round(server, requests, random_numbers)
        if ended:
            failures.append(f"round {number}: clients ended before they were killed: {ended}")
        for request, answer in zip(requests, expected):
            if served.answer_data(server.request("POST", *request)) != answer:
                failures.append(f"round {number}: another answer of {request[0]} than before")
    idle = seconds_until_idle(server)
    if idle is None:
        failures.append(f"it goes on with {server.in_flight()} requests whose clients are gone")
    seconds = server.seconds_to_close(baseline["descriptors"], SECONDS_TO_RECOVER)
    if seconds is None:
        failures.append(f"it keeps descriptors: {server.sample()}, at first {baseline}")
    if server.sample()["threads"] > baseline["threads"] + MAX_CONNECTIONS:
        failures.append(f"it keeps threads: {server.sample()}, at first {baseline}")
    return {"rounds": rounds, "clients": rounds * CLIENTS_A_ROUND, "before": baseline, "after": server.sample(),
            "by_status": server.requests_by_status(), "seconds_until_idle": idle, "seconds_to_recover": seconds,
            "failures": failures[:10]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200, help=f"of {CLIENTS_A_ROUND} clients")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, packet = served.make_generating_checkpoint(folder)
        with served.Server(checkpoint, f"service.receivers=[{served.MODEL}=demo/receiver]",
                           f"serve.max_connections={MAX_CONNECTIONS}",
                           f"service.generate.concurrent={MAX_CONNECTIONS}") as server:
            found = kill_rounds(server, packet, options.rounds)
            found["exit_code"] = server.stop()
    return served.report(found)


if __name__ == "__main__":
    sys.exit(main())
