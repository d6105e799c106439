"""The same work as decoder.cpp in transformers, on the same folder and dtype. A worker for
compare_decoder.py: see decoder.cpp for the lines that it reads. Arguments: threads, folder."""

import json
import resource
import sys
import time

import torch
import transformers
from safetensors.torch import load_file, save_file


class TransformersDecoder:
    def __init__(self, folder, dtype):
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, local_files_only=True
        ).eval()

    def tokens(self, count):
        generator = torch.Generator().manual_seed(1)
        return torch.randint(self.model.config.vocab_size, (1, count), generator=generator)

    def prefill(self, count, repeats):
        token_ids = self.tokens(count)
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            self.model(token_ids, logits_to_keep=1, use_cache=True)
            times.append(1e3 * (time.perf_counter() - start))
        return times

    def decode(self, num_cached, steps):
        output = self.model(self.tokens(num_cached), logits_to_keep=1, use_cache=True)
        times = []
        for _ in range(steps):
            start = time.perf_counter()
            token = output.logits[:, -1].argmax(-1, keepdim=True)
            output = self.model(token, past_key_values=output.past_key_values, use_cache=True)
            times.append(1e3 * (time.perf_counter() - start))
        return times

    def logits(self, tokens, output):
        token_ids = load_file(tokens)["token_ids"][None, :512].long()
        save_file({"logits": self.model(token_ids).logits[0].float().contiguous()}, output)
        return []

    def peak(self):
        return [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]


@torch.inference_mode()
def main():
    threads, folder, *dtype = sys.argv[1:]
    torch.set_num_threads(int(threads))
    decoder = TransformersDecoder(folder, dtype[0] if dtype else "auto")
    for line in sys.stdin:
        command, *words = line.split()
        words = [int(word) if word.isdigit() else word for word in words]
        print(json.dumps(getattr(decoder, command)(*words)), flush=True)


if __name__ == "__main__":
    main()
