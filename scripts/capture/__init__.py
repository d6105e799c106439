"""Parts of capture_hf.py: inputs (text to sequences), rope (removing RoPE), models (running one
model), store (files)."""

VERSION = "0.1.0"


class CaptureError(Exception):
    """Wrong input or a model that cannot be captured; the text says where, what was expected, what
    came, what to do."""
