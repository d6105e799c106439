"""The prefill of decoder.cpp in llama.cpp, on a GGUF file: a worker for compare_peers.py, which reads "prefill
TOKENS REPEATS" and answers with milliseconds as llama.cpp counts them. Arguments: threads, file. Needs xllamacpp."""

import json
import random
import sys

import xllamacpp


def load(path, threads):
    parameters = xllamacpp.CommonParams()
    parameters.model.path = path
    parameters.n_ctx = 1024
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
    return xllamacpp.Server(parameters)


def prefill(server, tokens, repeats):
    # Ids that the vocabulary of every model here has.
    token_ids = random.Random(1).choices(range(1000, 40000), k=tokens)
    times = []
    for _ in range(repeats):
        timings = server.handle_completions({"prompt": token_ids, "n_predict": 1, "cache_prompt": False})["timings"]
        if timings["prompt_n"] != tokens:
            sys.exit(f"llama_decoder: expected {tokens} tokens to be read, got {timings['prompt_n']}")
        times.append(timings["prompt_ms"])
    return times


def main():
    threads, path = sys.argv[1:]
    server = load(path, int(threads))
    for line in sys.stdin:
        _, tokens, repeats = line.split()
        print(json.dumps(prefill(server, int(tokens), int(repeats))), flush=True)


if __name__ == "__main__":
    main()
