#!/usr/bin/env python3
"""Kills clients with SIGKILL in the middle of their requests, again and again: the server must go on, answer others to
the bit as before, and give their descriptors back.

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
TOKENS = 64
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


def kill_round(server, request, random_numbers):
    """Which ways were under way when their client was killed."""
    context = multiprocessing.get_context("fork")
    ways = random_numbers.choices(WAYS, k=CLIENTS_A_ROUND)
    clients = [context.Process(target=client, args=(server.address, way, request)) for way in ways]
    for process in clients:
        process.start()
    time.sleep(random_numbers.uniform(0.02, 0.3))
    ended = [way.__name__ for way, process in zip(ways, clients) if process.exitcode is not None]
    for process in clients:
        process.kill()
        process.join()
    return ended


def kill_rounds(server, rounds):
    request = served.infer_request(server.input_width(), TOKENS)
    expected = served.answer_data(server.request("POST", *request))
    assert expected[0] == 200 and expected[1], expected
    time.sleep(0.5)  # until the connection above is gone
    baseline, failures = server.sample(), []
    random_numbers = random.Random(1)
    for number in range(rounds):
        ended = kill_round(server, request, random_numbers)
        if ended:
            failures.append(f"round {number}: clients ended before they were killed: {ended}")
        if served.answer_data(server.request("POST", *request)) != expected:
            failures.append(f"round {number}: another answer than before")
    seconds = server.seconds_to_close(baseline["descriptors"], SECONDS_TO_RECOVER)
    if seconds is None:
        failures.append(f"it keeps descriptors: {server.sample()}, at first {baseline}")
    if server.sample()["threads"] > baseline["threads"] + MAX_CONNECTIONS:
        failures.append(f"it keeps threads: {server.sample()}, at first {baseline}")
    return {"rounds": rounds, "clients": rounds * CLIENTS_A_ROUND, "before": baseline, "after": server.sample(),
            "seconds_to_recover": seconds, "failures": failures[:10]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200, help=f"of {CLIENTS_A_ROUND} clients")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = served.write_checkpoint(f"{folder}/flat.safetensors", 128, 512)
        with served.Server(checkpoint, f"serve.max_connections={MAX_CONNECTIONS}") as server:
            found = kill_rounds(server, options.rounds)
            found["exit_code"] = server.stop()
    return served.report(found)


if __name__ == "__main__":
    sys.exit(main())
