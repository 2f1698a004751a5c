"""Tokenised training sets on disk, under the fingerprint of everything that made them.

A file is one set: token ids, lengths and keys as safetensors, so that a restart, another world size
or another learning rate tokenises nothing. It does not know traces or tokenizers.
"""

import json
import logging
from collections.abc import Callable, Mapping
from itertools import accumulate, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from s1ray.records import TokenizedExample
from s1ray.training.samples.examples import TokenizedSet

logger = logging.getLogger(__name__)
_COUNTS = ("num_truncated_samples", "num_truncated_tokens", "num_dropped_samples")


def remember_examples(path: Path, *, make: Callable[[], TokenizedSet]) -> TokenizedSet:
    """Return the set of a file, or make it and write the file; safe on many ranks of many hosts.

    Args:
        path: Of the file, named by a fingerprint over traces, tokenizer, chat template and whatever
            else changes token ids. One that is damaged or was made under another is written anew.
        make: Tokenises.
    """
    known = _read(path)
    if known is not None:
        return known
    made = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {
        "fingerprint": path.stem,
        "keys": json.dumps([example.key for example in made.examples]),
        **{name: str(getattr(made, name)) for name in _COUNTS},
    }
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as room:
        draft = Path(room) / path.name
        save_file(_pack(made), draft, metadata=metadata)
        draft.replace(path)
    return made


def _pack(made: TokenizedSet) -> dict[str, np.ndarray]:
    columns = {
        "input_ids": [token for example in made.examples for token in example.input_ids],
        "num_tokens": [len(example.input_ids) for example in made.examples],
        "num_prompt_tokens": [example.num_prompt_tokens for example in made.examples],
        "num_truncated_tokens": [example.num_truncated_tokens for example in made.examples],
    }
    return {name: np.asarray(values, dtype=np.int32) for name, values in columns.items()}


def _read(path: Path) -> TokenizedSet | None:
    """Return a file's set; None where there is no such file or it is of no use."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            columns = {name: file.get_tensor(name).tolist() for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError) as error:
        logger.warning("%s cannot be read and is made anew: %s", path, error)
        return None
    if metadata.get("fingerprint") != path.stem:
        logger.warning("%s belongs to other samples and is made anew", path)
        return None
    return _unpack(columns, metadata)


def _unpack(columns: Mapping[str, list[int]], metadata: Mapping[str, str]) -> TokenizedSet:
    bounds = pairwise(accumulate(columns["num_tokens"], initial=0))
    ids = columns["input_ids"]
    examples = (
        TokenizedExample(
            key=key,
            input_ids=tuple(ids[start:end]),
            num_prompt_tokens=num_prompt,
            num_truncated_tokens=num_truncated,
        )
        for key, (start, end), num_prompt, num_truncated in zip(
            json.loads(metadata["keys"]),
            bounds,
            columns["num_prompt_tokens"],
            columns["num_truncated_tokens"],
            strict=True,
        )
    )
    return TokenizedSet(examples=tuple(examples), **{name: int(metadata[name]) for name in _COUNTS})
