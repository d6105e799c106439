"""Parts of capture_hf.py, tokenise.py and task_file.py: inputs (text to sequences), labelled (texts
with labels), pieces (tokens of both models), tokens (tokenisers without torch), files (writing
them); for capture alone: rope (removing RoPE), models (running one model), store (a dataset's
files). annotations: what annotations.py makes samples with."""

VERSION = "0.1.0"


class CaptureError(Exception):
    """Wrong input or a model that cannot be captured; the text says where, what was expected, what
    came, what to do."""
