"""The files of a capture: shards, the progress record that makes it resumable, and index.json,
written last.
"""

import hashlib
import json
import pathlib

from safetensors import safe_open
from safetensors.torch import save

from . import CaptureError
from .files import TEMPORARY, sha256_of, write_atomically, write_json

PROGRESS = "capture-progress.json"


class Store:
    """The output folder of one capture, identified by `plan` (a hash of everything that decides its
    content)."""

    def __init__(self, folder, plan, num_shards):
        self._folder, self._plan, self._num_shards = pathlib.Path(folder), plan, num_shards
        self._folder.mkdir(parents=True, exist_ok=True)
        for leftover in self._folder.glob(TEMPORARY + "*"):
            leftover.unlink()
        self._records = self._resume()
        # Before the first shard: a kill between a shard and its record must not leave a folder of
        # unknown origin.
        self._write_progress()

    def _resume(self):
        """Records of the finished shards whose files still have the recorded SHA-256, by shard
        number."""
        for name, read in ((PROGRESS, lambda value: value), ("index.json", _progress_of_index)):
            path = self._folder / name
            if path.exists():
                progress = read(json.loads(path.read_text(encoding="utf-8")))
                break
        else:
            if any(self._folder.glob("pairs-*.safetensors")):
                raise CaptureError(
                    f"--output {self._folder}: holds shards but neither index.json nor {PROGRESS}; "
                    "give an empty folder"
                )
            return {}
        if not progress["shards"]:
            return {}
        if progress["plan"] != self._plan:
            raise CaptureError(
                f"--output {self._folder}: holds a capture of other models, text or options. "
                "Repeat its command to resume it, or give another folder."
            )
        return {
            int(number): record
            for number, record in progress["shards"].items()
            if (self._folder / record["file"]).is_file()
            and sha256_of(self._folder / record["file"]) == record["sha256"]
        }

    def missing(self):
        """Numbers, from 0, of the shards still to be made."""
        return [number for number in range(self._num_shards) if number not in self._records]

    def finished_index(self):
        """index.json where it is this capture's; None otherwise."""
        path = self._folder / "index.json"
        if not path.exists():
            return None
        index = json.loads(path.read_text(encoding="utf-8"))
        return index if index.get("source", {}).get("plan") == self._plan else None

    def part_path(self, number, role):
        """Where one model's half of a shard waits for the other half; named by the plan, so never
        taken for another's."""
        return self._folder / f"part-{self._plan[:16]}-{role}-{number + 1:05d}.safetensors"

    def has_part(self, number, role):
        return self.part_path(number, role).is_file()

    def write_part(self, number, role, tensors, key_norms):
        write_atomically(
            self.part_path(number, role),
            save(tensors, metadata={"key_norms": json.dumps(key_norms)}),
        )

    def read_part(self, number, role):
        """(tensors, key norms) as they were written."""
        with safe_open(self.part_path(number, role), "pt") as part:
            return {name: part.get_tensor(name) for name in part.keys()}, json.loads(
                part.metadata()["key_norms"]
            )

    def write_shard(self, number, tensors, record):
        """Writes a shard and notes it as done. `record` is kept with it: counts and statistics."""
        name = f"pairs-{number + 1:05d}-of-{self._num_shards:05d}.safetensors"
        data = save(
            tensors, metadata={"plan": self._plan}
        )  # one entry: safetensors writes several in random order
        write_atomically(self._folder / name, data)
        self._records[number] = {"file": name, "sha256": hashlib.sha256(data).hexdigest(), **record}
        self._write_progress()

    def _write_progress(self):
        write_json(self._folder / PROGRESS, {"plan": self._plan, "shards": self._records})

    def finish(self, header, source, summaries):
        """Writes index.json; only then does the folder count as a dataset.

        `summaries`: {role: function of all shard records}, written as `mean_key_norms`.
        """
        records = [self._records[number] for number in range(self._num_shards)]
        shards = [
            {key: record[key] for key in ("file", "sha256", "num_sequences", "num_tokens")}
            for record in records
        ]
        source |= {
            "plan": self._plan,
            "mean_key_norms": {role: summary(records) for role, summary in summaries.items()},
            "shard_key_norms": [record["key_norms"] for record in records],
        }
        write_json(
            self._folder / "index.json",
            header
            | {
                "num_sequences": sum(shard["num_sequences"] for shard in shards),
                "num_tokens": sum(shard["num_tokens"] for shard in shards),
                "shards": shards,
                "source": source,
            },
        )
        (self._folder / PROGRESS).unlink(missing_ok=True)
        for part in self._folder.glob("part-*.safetensors"):
            part.unlink()


def _progress_of_index(index):
    source = index.get("source", {})
    norms = source.get("shard_key_norms", [])
    return {
        "plan": source.get("plan"),
        "shards": {
            number: {**shard, "key_norms": norm}
            for number, (shard, norm) in enumerate(zip(index["shards"], norms))
        },
    }
