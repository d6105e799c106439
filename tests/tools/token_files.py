"""What the tests of capture and ladder write for themselves: safetensors of whole numbers."""
import hashlib
import json
import struct


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def write_safetensors(path, tensors, metadata):
    """tensors: name -> (dtype, list of whole numbers)."""
    header, data = {"__metadata__": metadata}, b""
    for name, (dtype, values) in tensors.items():
        packed = struct.pack(f"<{len(values)}{'q' if dtype == 'I64' else 'i'}", *values)
        header[name] = {"dtype": dtype, "shape": [len(values)],
                        "data_offsets": [len(data), len(data) + len(packed)]}
        data += packed
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
