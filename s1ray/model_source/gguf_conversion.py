"""A GGUF file becomes a Hugging Face directory: weights de-quantised, tokenizer restored.

It knows how the file's fields map to what transformers loses of them. It does not know where the
file came from.
"""

from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import gguf
import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def _smollm_pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
        ]
    )


PRE_TOKENIZERS: dict[str, Callable[[], pre_tokenizers.PreTokenizer]] = {
    "smollm": _smollm_pre_tokenizer
}
"""How text is cut before merges, by ``tokenizer.ggml.pre``.

transformers drops this field and cuts as GPT-2 does, which joins white space to the digit that
follows: other ids than the model was trained on. Source: ggml-org/llama.cpp src/llama-vocab.cpp,
LLAMA_VOCAB_PRE_TYPE_SMOLLM; HuggingFaceTB/SmolLM2-135M-Instruct tokenizer.json.
"""


def convert_gguf(
    weights_file: Path, directory: Path, *, on_progress: Callable[[str], None]
) -> None:
    """Write the model of a GGUF file into a directory, as fp32 safetensors with its tokenizer.

    fp32 holds every de-quantised value exactly (fp16 scale times a small integer).

    Raises:
        ValueError: The file names a pre-tokenizer that is not known here, or has no chat template.
    """
    pre_tokenizer = _read_pre_tokenizer(weights_file)
    on_progress("converting GGUF weights to safetensors")
    # transformers draws progress bars that nothing switches off.
    with redirect_stderr(StringIO()):
        location: dict[str, Any] = {"gguf_file": weights_file.name, "local_files_only": True}
        tokenizer = AutoTokenizer.from_pretrained(weights_file.parent, **location)
        if not tokenizer.chat_template:
            raise ValueError(
                f"{weights_file.name} holds no chat template (tokenizer.chat_template). Use the "
                "GGUF file of an instruct model."
            )
        model = AutoModelForCausalLM.from_pretrained(
            weights_file.parent,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.float32,
            **location,
        )
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizer
        tokenizer.model_max_length = model.config.max_position_embeddings
        model.save_pretrained(directory)
        tokenizer.save_pretrained(directory)


def _read_pre_tokenizer(weights_file: Path) -> pre_tokenizers.PreTokenizer:
    field = gguf.GGUFReader(weights_file).get_field("tokenizer.ggml.pre")
    name = None if field is None else field.contents()
    if name not in PRE_TOKENIZERS:
        raise ValueError(
            f"{weights_file.name} cuts text as {name!r} (tokenizer.ggml.pre); known here: "
            f"{', '.join(sorted(PRE_TOKENIZERS))}. Set model.source to the model's Hugging Face "
            "directory, or add its pre-tokenizer to s1ray/model_source/gguf_conversion.py."
        )
    return PRE_TOKENIZERS[name]()
