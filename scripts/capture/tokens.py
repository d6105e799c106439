"""The tokeniser of a Hugging Face folder by the `tokenizers` package alone: token ids, where each
token ends in the text, and chat templates. Needs neither torch nor transformers.

TextTokenizer can be called like a tokeniser of transformers, as far as inputs.Cutter calls one, and
gives the same ids.
"""

import dataclasses
import hashlib
import json
import pathlib

import tokenizers

from . import CaptureError

# What transformers puts where tokenizer.json has no post-processor: nothing before or after a text.
NO_POST_PROCESSOR = {
    "type": "TemplateProcessing",
    "single": [{"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {},
}
SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token")


def backend_digest(backend):
    """SHA-256 of what decides the token ids, whatever the formatting of tokenizer.json."""
    content = json.loads(backend.to_str()) | {"padding": None, "truncation": None}
    content["post_processor"] = content["post_processor"] or NO_POST_PROCESSOR
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclasses.dataclass
class Encoding:
    input_ids: list
    ends: list  # characters from the start of the text to the end of each token; never decreasing


class TextTokenizer:
    """tokenizer.json of a folder, with the special tokens and chat template beside it."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        path = self.folder / "tokenizer.json"
        if not path.is_file():
            raise CaptureError(
                f"{path}: expected a Hugging Face folder with tokenizer.json, found none. "
                "AutoTokenizer.from_pretrained(...).save_pretrained(...) writes one."
            )
        try:
            self._backend = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the package raises bare Exceptions
            raise CaptureError(f"{path}: the tokenizers package cannot load it: {error}") from error
        self.digest = backend_digest(self._backend)
        self._backend.no_padding()
        self._backend.no_truncation()
        self._config = self._read_config()
        self._special = {
            name: value["content"] if isinstance(value, dict) else value
            for name, value in self._config.items()
            if name in SPECIAL_TOKENS and value
        }

    def _read_config(self):
        path = self.folder / "tokenizer_config.json"
        if not path.is_file():
            return {}
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise CaptureError(f"{path}: not JSON ({error})") from error

    @property
    def bos_token_id(self):
        bos = self._special.get("bos_token")
        return None if bos is None else self._backend.token_to_id(bos)

    def __call__(self, text, add_special_tokens=True):
        encoding = self._backend.encode(text, add_special_tokens=add_special_tokens)
        # A post-processor may trim white space from the spans; a later token then ends earlier.
        ends, last = [], 0
        for _, end in encoding.offsets:
            last = max(last, end)
            ends.append(last)
        return Encoding(encoding.ids, ends)

    @property
    def prefix(self):
        """[BOS] where the tokeniser puts one before a text, else []."""
        special = self("").input_ids
        return special[:1] if special and special[0] == self.bos_token_id else []

    def apply_chat_template(self, messages, tokenize=False):
        """The text of a chat, as transformers renders it for training (no generation prompt)."""
        import jinja2  # only chats need it
        import jinja2.sandbox

        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = lambda value, **options: json.dumps(
            value, ensure_ascii=False, **options
        )
        environment.globals["raise_exception"] = _raise_template_error
        try:
            return environment.from_string(self._chat_template()).render(
                messages=messages,
                tools=None,
                documents=None,
                add_generation_prompt=False,
                **self._special,
            )
        except jinja2.TemplateError as error:
            raise CaptureError(f"{self.folder}: its chat template fails: {error}") from error

    def _chat_template(self):
        path = self.folder / "chat_template.jinja"
        template = (
            path.read_text(encoding="utf-8")
            if path.is_file()
            else self._config.get("chat_template")
        )
        if isinstance(template, list):  # several, by name
            template = {one["name"]: one["template"] for one in template}.get("default")
        if not template:
            raise CaptureError(
                f"{self.folder}: expected a chat template in chat_template.jinja or "
                "tokenizer_config.json, found none. --format chat needs a chat model; use "
                "--format text otherwise."
            )
        return template


def _raise_template_error(message):
    import jinja2

    raise jinja2.TemplateError(message)
