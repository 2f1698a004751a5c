"""Which models can be trained, as their config.json tells before any weight is read.

It does not know weights, modules or ranks.
"""

from pathlib import Path
from typing import cast

from transformers import AutoConfig, PretrainedConfig

from s1ray.model_source.heads import check_degree

_SOFT_CAPS = ("final_logit_softcapping", "logits_soft_cap")
_SCALES = ("logits_scaling", "logit_scale", "lm_head_multiplier")
"""What families call a change of the logits; the loss knows none."""
_PLAIN_LAYERS = frozenset({"full_attention"})


def check_trainable(path: Path, *, degree: int) -> None:
    """Refuse a model directory that cannot be trained with this degree of sequence parallelism.

    Raises:
        ValueError: See ``read_architecture``, ``check_architecture`` and ``check_heads``.
    """
    config = read_architecture(path)
    check_architecture(config)
    check_heads(config, degree=degree)


def read_architecture(path: Path) -> PretrainedConfig:
    """Return the architecture that a model directory describes.

    Raises:
        ValueError: There is no config.json.
    """
    if not (path / "config.json").is_file():
        raise ValueError(f"{path} holds no config.json. Point model.source at a model directory.")
    config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    return cast(PretrainedConfig, config)


def check_architecture(config: PretrainedConfig) -> None:
    """Refuse what would be trained on another loss, or with another attention, than the model's.

    Raises:
        ValueError: The logits are capped or scaled, or a layer does not see its whole document.
    """
    caps = [name for name in _SOFT_CAPS if getattr(config, name, None)]
    scales = [name for name in _SCALES if getattr(config, name, None) not in (None, 1)]
    if changed := caps + scales:
        raise ValueError(
            f"the logits of {config.model_type} are capped or scaled "
            f"({changed[0]}={getattr(config, changed[0])}); only plain linear heads can be "
            "trained. Choose another model.source."
        )
    layers = getattr(config, "layer_types", None) or ()
    if others := sorted(set(layers) - _PLAIN_LAYERS):
        window = f"layers of {', '.join(others)}"
    elif not layers and getattr(config, "sliding_window", None):
        window = f"sliding_window={config.sliding_window}"
    else:
        return
    raise ValueError(
        f"{config.model_type} has {window}; training knows full attention alone. Where documents "
        "fit the window, set use_sliding_window=false (Qwen) or sliding_window=null (Mistral, Phi) "
        "in a copy of the model's config.json; otherwise choose another model.source."
    )


def check_heads(config: PretrainedConfig, *, degree: int) -> None:
    """Refuse a sequence parallelism that the model's heads do not allow.

    Raises:
        ValueError: With the legal degrees.
    """
    num_heads = config.num_attention_heads
    check_degree(
        degree,
        num_heads=num_heads,
        num_key_value_heads=getattr(config, "num_key_value_heads", None) or num_heads,
    )
