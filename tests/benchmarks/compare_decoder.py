"""Compares our decoder with transformers on one Hugging Face folder: logits, speed, peak memory.

Workers (workers.py): ours, ours again (the A/A spread), transformers in the folder's dtype.
--tokens gives a safetensors file with `token_ids` of at least 512 real tokens; logits are then compared
with transformers in float32 (float32 activations on the same weights, as ours).

    python tests/benchmarks/compare_decoder.py --binary build/release/tests/benchmarks/decoder \\
        --python .deps/capture/bin/python --folder models/smollm2-135m --threads 2
"""

import argparse
import json
import pathlib
import tempfile

from workers import Worker, take_turns


def compare_logits(ours, theirs, tokens):
    from safetensors.numpy import load_file

    with tempfile.TemporaryDirectory() as folder:
        logits = []
        for worker in (ours, theirs):
            worker.ask(f"logits {tokens} {folder}/logits.safetensors")
            logits.append(load_file(f"{folder}/logits.safetensors")["logits"])
    difference = abs(logits[0] - logits[1])
    return {
        "tokens": len(logits[0]),
        "top1_equal": int((logits[0].argmax(-1) == logits[1].argmax(-1)).sum()),
        "max_abs_difference": float(difference.max()),
        "largest_logit": float(abs(logits[1]).max()),
    }


def main():
    here = pathlib.Path(__file__).parent
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--binary", required=True, help="the built decoder")
    parser.add_argument("--python", required=True, help="a Python with torch and transformers")
    parser.add_argument("--folder", required=True, help="a Hugging Face folder")
    parser.add_argument("--tokens", help="compare logits of these tokens; nothing is timed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prefill", type=int, default=512, help="tokens; 0: not timed")
    parser.add_argument("--decode", type=int, default=16, help="steps a round; 0: not timed")
    arguments = parser.parse_args()
    threads = str(arguments.threads)
    ours = [arguments.binary, threads, arguments.folder]
    theirs = [arguments.python, str(here / "decoder.py"), threads, arguments.folder]
    if arguments.tokens:
        workers = {
            "kvalign": Worker(ours, threads),
            "transformers": Worker([*theirs, "float32"], threads),
        }
        print(json.dumps(compare_logits(*workers.values(), arguments.tokens)), flush=True)
    else:
        workers = {
            "kvalign": Worker(ours, threads),
            "kvalign_again": Worker(ours, threads),
            "transformers": Worker(theirs, threads),
        }
        if arguments.prefill:
            line = f"prefill {arguments.prefill} 1"
            result = {"what": line} | take_turns(workers, line, line, arguments.rounds)
            print(json.dumps(result), flush=True)
        if arguments.decode:
            line = f"decode {arguments.prefill or 512} {arguments.decode}"
            result = {"what": line} | take_turns(workers, line, line, arguments.rounds)
            print(json.dumps(result), flush=True)
        weights = sum(file.stat().st_size for file in pathlib.Path(arguments.folder).glob("*.safetensors"))
        peaks = {name: worker.ask("peak")[0] * 1024 / weights for name, worker in workers.items()}
        print(json.dumps({"what": "peak resident memory / weight files"} | peaks), flush=True)
    for worker in workers.values():
        worker.close()


if __name__ == "__main__":
    main()
