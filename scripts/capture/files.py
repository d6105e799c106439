"""Writing and hashing files. Every file appears complete or not at all (temporary name, fsync,
rename, fsync of the folder). Needs no torch.
"""

import hashlib
import json
import os
import pathlib

TEMPORARY = ".tmp-"


def write_atomically(path, data):
    """Writes bytes to `path` so that a kill or power cut leaves the old file, none, or the whole
    new one."""
    path = pathlib.Path(path)
    temporary = path.with_name(TEMPORARY + path.name)
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_json(path, value):
    write_atomically(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def sha256_of(path):
    with open(path, "rb") as file:
        return (
            hashlib.file_digest(file, "sha256").hexdigest()
            if hasattr(hashlib, "file_digest")
            else _sha256_in_blocks(file)
        )


def _sha256_in_blocks(file):  # Python 3.10
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
