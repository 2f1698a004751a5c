"""Attention over a packed row and the loss of a large head, each against the plain way.

Both suites that measure training use these; they know tensors and a device, and no model.
"""

from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s1ray.config.suites.gpu import GpuSuiteSettings
from s1ray.config.suites.training import AttentionConfig, CrossEntropyConfig, TrainingSuiteSettings
from s1ray.config.tracking import PathsConfig
from s1ray.config.training import AttentionBackend
from s1ray.suites.measuring.memory import measure_peak_bytes
from s1ray.suites.measuring.pairs import Side, Spread, compare_pairs, measure_in_turn, time_call
from s1ray.suites.suite import Outcome, Part
from s1ray.training.network.attention import Documents, attend, describe_documents
from s1ray.training.network.loss import linear_cross_entropy
from s1ray.training.network.sharding import DTYPES

KernelSettings = TrainingSuiteSettings | GpuSuiteSettings

MIB = 2**20


def measure_attention(settings: KernelSettings, _: PathsConfig) -> Outcome:
    """Compare attention as a suite sets it; see ``compare_attention``."""
    return compare_attention(
        settings.attention,
        backend=settings.sharding.attention,
        device=torch.device(settings.sharding.device),
        num_pairs=settings.num_pairs,
    )


def measure_cross_entropy(settings: KernelSettings, _: PathsConfig) -> Outcome:
    """Compare the loss as a suite sets it; see ``compare_cross_entropy``."""
    return compare_cross_entropy(
        settings.cross_entropy,
        device=torch.device(settings.sharding.device),
        num_pairs=settings.num_pairs,
    )


def compare_attention(
    config: AttentionConfig, *, backend: AttentionBackend, device: torch.device, num_pairs: int
) -> Outcome:
    """Compare attention inside documents with one call under a block-diagonal causal mask.

    The mask is what transformers builds from position ids of a packed row; it is built once,
    outside of what is timed, as transformers builds it once for all layers.

    Args:
        config: Sizes.
        backend: Of our side.
        device: Of both.
        num_pairs: Measured in turn.

    Raises:
        RuntimeError: The two give different outputs or gradients.
    """
    states = _draw_states(config, device)
    documents = describe_documents(
        config.document_tokens, backend=backend, device=device, sequence_group=None
    )
    ways: dict[str, Callable[[list[Tensor]], Tensor]] = {
        "packed": partial(_attend_packed, documents=documents),
        "dense": partial(_attend_dense, mask=_build_mask(config.document_tokens, device)),
    }
    difference = _largest_difference(*(_differentiate(way, states) for way in ways.values()))
    if difference > config.tolerance:
        raise RuntimeError(
            f"packed and dense attention differ by {difference:.2e}, more than "
            f"suite.attention.tolerance={config.tolerance:.0e}"
        )
    sides = {
        name: _repeat(partial(_differentiate, way, states), times=config.repeats, device=device)
        for name, way in ways.items()
    }
    spreads = measure_in_turn(sides, num_pairs=num_pairs)
    return _report_attention(config, spreads, difference=difference)


def _report_attention(
    config: AttentionConfig, spreads: Mapping[str, Spread], *, difference: float
) -> Outcome:
    ratio = compare_pairs(spreads["dense"], spreads["packed"])
    num_tokens = sum(config.document_tokens)
    return Outcome(
        summary=f"packed attention over {len(config.document_tokens)} documents, {num_tokens} "
        f"tokens, {config.dtype}: {ratio.median:.2f} times as fast as under a dense mask",
        results={
            "dense_over_packed": ratio.describe(),
            "milliseconds": {
                name: _scale(spread, 1e3 / config.repeats).describe()
                for name, spread in spreads.items()
            },
            "largest_difference": difference,
            "documents": len(config.document_tokens),
            "tokens": num_tokens,
        },
    )


def compare_cross_entropy(
    config: CrossEntropyConfig, *, device: torch.device, num_pairs: int
) -> Outcome:
    """Compare the chunked loss of a linear head with whole logits, in time and peak memory.

    Whole logits are what transformers computes: products in the compute dtype, then float32.

    Raises:
        RuntimeError: The two give different losses or gradients.
    """
    head = _Head(config, device)
    ways = {"chunked": head.compute_chunked, "full": head.compute_full}
    difference = head.compare(*ways.values())
    if difference > config.tolerance:
        raise RuntimeError(
            f"chunked and full cross-entropy differ by {difference:.2e}, more than "
            f"suite.cross_entropy.tolerance={config.tolerance:.0e}"
        )
    peaks = {name: measure_peak_bytes(way, device=device) for name, way in ways.items()}
    sides = {name: _repeat(way, times=1, device=device) for name, way in ways.items()}
    spreads = measure_in_turn(sides, num_pairs=num_pairs)
    ratio = compare_pairs(spreads["chunked"], spreads["full"])
    saving = peaks["full"] / peaks["chunked"]
    return Outcome(
        summary=f"chunked cross-entropy, {config.positions} positions x {config.vocabulary} words, "
        f"{config.dtype}: {saving:.1f} times less peak memory at {ratio.median:.2f} of the time",
        results={
            "full_over_chunked_peak_memory": saving,
            "chunked_over_full_time": ratio.describe(),
            "peak_mib": {name: peak / MIB for name, peak in peaks.items()},
            "seconds": {name: spread.describe() for name, spread in spreads.items()},
            "largest_relative_difference": difference,
        },
    )


def _draw_states(config: AttentionConfig, device: torch.device) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    tokens = sum(config.document_tokens)
    heads = (config.num_heads, config.num_key_value_heads, config.num_key_value_heads)
    return [
        torch.randn(1, count, tokens, config.head_dim, generator=generator)
        .to(device, DTYPES[config.dtype])
        .requires_grad_()
        for count in heads
    ]


def _build_mask(lengths: tuple[int, ...], device: torch.device) -> Tensor:
    owner = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    return (owner[:, None] == owner[None, :]).tril().to(device)


def _attend_packed(states: list[Tensor], *, documents: Documents) -> Tensor:
    query, key, value = states
    return attend(nn.Identity(), query, key, value, None, documents=documents)[0]


def _attend_dense(states: list[Tensor], *, mask: Tensor) -> Tensor:
    query, key, value = states
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, enable_gqa=True
    ).transpose(1, 2)


def _differentiate(way: Callable[[list[Tensor]], Tensor], states: list[Tensor]) -> list[Tensor]:
    output = way(states)
    return [output, *torch.autograd.grad(output.float().square().mean(), states)]


def _largest_difference(first: list[Tensor], second: list[Tensor]) -> float:
    return max(
        (one.float() - other.float()).abs().max().item()
        for one, other in zip(first, second, strict=True)
    )


def _repeat(work: Callable[[], object], *, times: int, device: torch.device) -> Side:
    def run() -> None:
        for _ in range(times):
            work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return lambda: time_call(run)


def _scale(spread: Spread, factor: float) -> Spread:
    return Spread(values=tuple(value * factor for value in spread.values))


class _Head:
    """Hidden states, a head and their targets, all the same for both ways."""

    def __init__(self, config: CrossEntropyConfig, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(0)
        draw = partial(torch.randn, generator=generator)
        self.config, self.device = config, device
        self.hidden = draw(config.positions, config.hidden_size).to(device).requires_grad_()
        # As large as a trained head's scores: of unit variance for hidden states of unit variance.
        weight = draw(config.vocabulary, config.hidden_size) * config.hidden_size**-0.5
        self.weight = weight.to(device).requires_grad_()
        self.targets = torch.randint(
            config.vocabulary, (config.positions,), generator=generator
        ).to(device)
        self.loss_weights = torch.full((config.positions,), 1 / config.positions, device=device)

    def compute_chunked(self) -> list[Tensor]:
        with self._autocast():
            loss = linear_cross_entropy(
                self.hidden,
                self.weight,
                targets=self.targets,
                loss_weights=self.loss_weights,
                chunk_tokens=self.config.chunk_tokens,
            ).loss
        return [loss.detach(), *torch.autograd.grad(loss, [self.hidden, self.weight])]

    def compute_full(self) -> list[Tensor]:
        with self._autocast():
            logits = F.linear(self.hidden, self.weight).float()
            losses = F.cross_entropy(logits, self.targets, reduction="none")
        del logits
        loss = (losses * self.loss_weights).sum()
        return [loss.detach(), *torch.autograd.grad(loss, [self.hidden, self.weight])]

    def compare(self, *ways: Callable[[], list[Tensor]]) -> float:
        """Return the largest relative difference of loss, and of each gradient in its norm."""
        first, second = (way() for way in ways)
        return max(
            float((one - other).norm() / other.norm())
            for one, other in zip(first, second, strict=True)
        )

    def _autocast(self) -> torch.autocast:
        dtype = DTYPES[self.config.dtype]
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not torch.float32)


KERNELS: Mapping[str, Part] = {
    "attention": measure_attention,
    "cross_entropy": measure_cross_entropy,
}
