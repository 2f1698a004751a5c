"""A small Qwen2 with random weights and a byte-level tokenizer, for tests and dry runs.

The tokenizer spells any text: one token a byte, ChatML's special tokens, Qwen2.5's chat template
in short. It does not know conf/; the shape is given.
"""

from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from s1ray.config.model import RandomModelConfig

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

CHAT_TEMPLATE = """\
{%- if messages[0]['role'] != 'system' -%}
    {{- '<|im_start|>system\\nBe right.<|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""
"""ChatML with a default system prompt, as Qwen2.5's template has one."""


def write_random_qwen2(directory: Path, *, shape: RandomModelConfig) -> None:
    """Write a Hugging Face directory of a random Qwen2; equal shapes give equal weights.

    The vocabulary is what the tokenizer has: 256 bytes and the special tokens.
    """
    tokenizer = build_byte_tokenizer(max_length=shape.max_position_embeddings)
    vocabulary = tokenizer.get_vocab()
    end, pad = vocabulary["<|im_end|>"], vocabulary["<|endoftext|>"]
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_hidden_layers,
        num_attention_heads=shape.num_attention_heads,
        num_key_value_heads=shape.num_key_value_heads,
        max_position_embeddings=shape.max_position_embeddings,
        tie_word_embeddings=shape.tie_word_embeddings,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        rms_norm_eps=shape.rms_norm_eps,
        initializer_range=shape.initializer_range,
        use_sliding_window=False,
        bos_token_id=pad,
        eos_token_id=end,
        pad_token_id=pad,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(shape.seed)
        model = Qwen2ForCausalLM(config)
    model.generation_config.eos_token_id = [end, pad]
    with redirect_stderr(StringIO()):  # save_pretrained draws a progress bar
        model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def build_byte_tokenizer(*, max_length: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token a byte (ids 0 to 255) and ChatML's special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(
        models.BPE(vocab={symbol: i for i, symbol in enumerate(alphabet)}, merges=[])
    )
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
