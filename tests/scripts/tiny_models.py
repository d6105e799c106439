"""Makes tiny Hugging Face folders with random weights, and a byte-level tokenizer, for the tests of
the capture scripts."""

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

WORDS = (
    "the cache of a small model helps a large one to read less and answer sooner because keys and "
    "values "
    "carry what was read before; "
).split()
SPECIAL = ["<|pad|>", "<|bos|>", "<|end|>", "<image>"]


def make_text(num_words, seed):
    """Words in random order; no text of anybody's."""
    generator = torch.Generator().manual_seed(seed)
    return " ".join(
        WORDS[index] for index in torch.randint(len(WORDS), (num_words,), generator=generator)
    )


def make_tokenizer(with_bos=False, vocab_size=300):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator([make_text(400, 1)], trainer)
    if with_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|bos|> $A", special_tokens=[("<|bos|>", 1)]
        )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|pad|>", bos_token="<|bos|>", eos_token="<|end|>"
    )
    fast.chat_template = (
        "{% for message in messages %}"
        "{{ message['role'] }}: {{ message['content'] }}<|end|>\n{% endfor %}"
    )
    return fast


def text_config(config_class, **changes):
    """A two-layer decoder of 64 hidden units; `changes` go on top."""
    fields = dict(
        vocab_size=320,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return config_class(**(fields | changes))


def save_model(
    folder, config, seed=0, auto_class=transformers.AutoModelForCausalLM, tokenizer=None
):
    """Random weights large enough that attention and layers matter; returns the folder as a
    string."""
    torch.manual_seed(seed)
    model = auto_class.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1 and "norm" not in name:
                parameter.normal_(std=0.3)  # biases start as zeros
    model.float().save_pretrained(folder)
    (tokenizer or make_tokenizer()).save_pretrained(folder)
    return str(folder)
