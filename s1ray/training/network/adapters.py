"""Low-rank adapters (LoRA) beside frozen weights, with peft.

It does not know ranks beyond the slice a parameter holds; adapters begin with the same values on
any number of ranks.
"""

import hashlib
import math
import warnings
from typing import cast

import peft
import torch
from torch import nn
from transformers import PreTrainedModel

from s1ray.config.training import LoraConfig
from s1ray.training.network.model import (
    PackedLanguageModel,
    copy_rows,
    find_decoder_layers,
    plain_name,
)


def add_adapters(causal_lm: PreTrainedModel, *, config: LoraConfig) -> nn.Module:
    """Return the peft model around a model on the meta device; its own weights are frozen.

    Raises:
        ValueError: A target is not a linear layer of the decoder.
    """
    _check_targets(causal_lm, config)
    settings = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        target_modules=list(config.targets),
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():
        # peft still asks transformers for an attribute by its former name.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        adapted = peft.get_peft_model(causal_lm, settings, low_cpu_mem_usage=True)
    for name, parameter in adapted.named_parameters():
        if ".lora_" in name:
            # Trained weights have float32 masters, whatever the frozen ones are kept in.
            parameter.data = parameter.data.float()
    return cast(nn.Module, adapted)


def initialize_adapters(model: PackedLanguageModel, *, seed: int) -> None:
    """Give adapters their first values: A as a linear layer's weight, B zero.

    Source: peft's reset_lora_parameters; the draw depends on the seed and the plain name alone.
    """
    for name, parameter in model.named_parameters():
        if ".lora_A." in name:
            digest = hashlib.sha256(f"{seed}/{plain_name(name)}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
            whole = torch.empty(tuple(parameter.shape))
            nn.init.kaiming_uniform_(whole, a=math.sqrt(5), generator=generator)
            copy_rows(parameter, whole)
        elif ".lora_B." in name:
            copy_rows(parameter, torch.zeros(tuple(parameter.shape)))


def _check_targets(causal_lm: PreTrainedModel, config: LoraConfig) -> None:
    legal = {
        name.rpartition(".")[2]
        for name, module in find_decoder_layers(causal_lm)[0].named_modules()
        if isinstance(module, nn.Linear)
    }
    unknown = sorted(set(config.targets) - legal)
    if unknown:
        raise ValueError(
            f"training.lora.targets names {', '.join(unknown)}, which a decoder layer of "
            f"{type(causal_lm).__name__} does not have. Choose among {', '.join(sorted(legal))}."
        )
