"""The loop's contract: resume from any position, refuse what is not finite, report the truth."""

import math
from itertools import islice
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from s1ray.records import StepMetrics, TokenizedExample
from s1ray.training.loop import TrainState, start_state, train
from s1ray.training.network.sharding import join_ranks
from tests.training.plain_loop import (
    SHAPE,
    draw_examples,
    make_optimizer,
    make_sharding,
    make_training,
    read_weights,
    save_tiny_model,
)
from tests.training.ranks import run_on_ranks

SHARDING = make_sharding()
RANKS = join_ranks(SHARDING)
TRAINING = make_training(num_epochs=2, optimizer=make_optimizer(warmup_ratio=0.2))
EXAMPLES = draw_examples(0, num_samples=10, longest=50)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"), is_tied=True)


def start(path: Path) -> TrainState:
    return start_state(path, training=TRAINING, sharding=SHARDING, ranks=RANKS)


def run(
    state: TrainState, *, num_steps: int | None = None, examples: list[TokenizedExample] = EXAMPLES
) -> list[StepMetrics]:
    steps = train(state, examples=examples, training=TRAINING, sharding=SHARDING, ranks=RANKS)
    return list(islice(steps, num_steps))


def test_two_epochs_of_ten_samples_take_six_steps(tiny: Path) -> None:
    metrics = run(start(tiny))

    assert [m.step for m in metrics] == [1, 2, 3, 4, 5, 6]
    assert [m.samples_consumed for m in metrics] == [4, 8, 10, 14, 18, 20]
    assert metrics[-1].epoch == 2.0
    # Six steps, two of warm-up: transformers' first rate is 0.
    assert [m.learning_rate for m in metrics[:3]] == [0.0, 0.0005, 0.001]


def test_training_learns(tiny: Path) -> None:
    same = [EXAMPLES[0]] * 4

    metrics = list(
        train(
            start(tiny),
            examples=same,
            training=make_training(num_epochs=20),
            sharding=SHARDING,
            ranks=RANKS,
        )
    )

    assert metrics[-1].loss_nats < 0.5 * metrics[0].loss_nats


@pytest.mark.parametrize("num_steps", [1, 3, 4])
def test_run_interrupted_at_any_step_ends_with_the_same_bits(tiny: Path, num_steps: int) -> None:
    whole = start(tiny)
    run(whole)
    first, second = start(tiny), start(tiny)
    run(first, num_steps=num_steps)

    second.model.load_state_dict(first.model.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.samples_consumed, second.step = first.samples_consumed, first.step
    metrics = run(second)

    assert metrics[0].step == num_steps + 1
    expected, resumed = read_weights(whole), read_weights(second)
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)


def test_state_is_what_was_yielded_when_the_generator_is_closed(tiny: Path) -> None:
    state = start(tiny)

    (metrics,) = run(state, num_steps=1)

    assert (state.step, state.samples_consumed) == (metrics.step, metrics.samples_consumed)


UNUSED_TOKEN = int(SHAPE["vocab_size"]) - 1


def make_examples(*keys: str) -> list[TokenizedExample]:
    return [
        TokenizedExample(
            key=key,
            input_ids=(1, 2, UNUSED_TOKEN if key == "poison" else 3, 4, 5),
            num_prompt_tokens=1,
            num_truncated_tokens=0,
        )
        for key in keys
    ]


@pytest.fixture
def poisoned(tmp_path: Path) -> TrainState:
    """A state in which one token's embedding is not a number."""
    state = start(save_tiny_model(tmp_path / "untied", is_tied=False))
    with torch.no_grad():
        state.model.causal_lm.get_input_embeddings().weight[UNUSED_TOKEN] = math.nan
    return state


def test_loss_that_is_not_finite_stops_before_the_step_and_names_the_sample(
    poisoned: TrainState,
) -> None:
    before = read_weights(poisoned)

    with pytest.raises(FloatingPointError, match=r"loss of samples poison is not finite in step 1"):
        run(poisoned, examples=make_examples("a", "poison", "b", "c"))

    after = read_weights(poisoned)
    assert poisoned.step == 0
    assert all(torch.equal(before[n].nan_to_num(), after[n].nan_to_num()) for n in before)


def test_gradient_that_is_not_finite_stops_before_the_step_and_names_the_step(tiny: Path) -> None:
    state = start(tiny)
    before = read_weights(state)
    next(iter(state.model.parameters())).register_hook(lambda gradient: gradient * math.inf)

    with pytest.raises(FloatingPointError, match=r"the gradient is not finite.*: .*a.*lower"):
        run(state, examples=make_examples("a", "b", "c", "d"))

    after = read_weights(state)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_gradient_norm_is_clipped_to_the_limit(tiny: Path) -> None:
    state = start(tiny)
    norms: list[float] = []
    state.optimizer.register_step_pre_hook(
        lambda *_: norms.append(
            math.sqrt(sum(float(p.grad.square().sum()) for p in state.model.parameters()))
        )
    )

    (metrics,) = run(state, num_steps=1)

    assert metrics.grad_norm > 1.0
    assert norms == [pytest.approx(1.0, abs=1e-4)]


def test_weights_stay_float32_and_decay_spares_vectors(tiny: Path) -> None:
    state = start(tiny)

    decayed, spared = state.optimizer.param_groups

    assert {p.dtype for p in state.model.parameters()} == {torch.float32}
    assert {p.ndim for p in decayed["params"]} == {2}
    assert {p.ndim for p in spared["params"]} == {1}
    assert (decayed["weight_decay"], spared["weight_decay"]) == (1e-4, 0.0)


def test_metrics_count_tokens_and_flops_as_stated(tiny: Path) -> None:
    (metrics,) = run(start(tiny), num_steps=1, examples=make_examples("a", "b"))

    assert metrics.num_tokens == 10
    assert metrics.num_supervised_tokens == 8
    assert metrics.padding_fraction == 0.0
    # By hand, for hidden 32, intermediate 48, 4 heads of 8 and 2 of keys and values, 2 layers, 97
    # words: query and output 2 * 32 * 32, keys and values 2 * 32 * 16, three of 32 * 48.
    weights = 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 48) + 97 * 32
    attention = 2 * (2 * 5 * 5 * 32 * 2 // 2)
    assert metrics.flops == 10 * 6 * weights + 2 * 3 * attention
    assert metrics.seconds > 0
    assert metrics.tokens_per_second == pytest.approx(10 / metrics.seconds)
    memory = psutil.Process().memory_info().rss / 2**30
    assert 0.5 * memory < metrics.peak_memory_gib < psutil.virtual_memory().total / 2**30


def raise_on_poison(path: Path) -> str:
    """Train on two ranks, one of which meets a sample that is not a number; return the error."""
    sharding = make_sharding(num_workers=2)
    ranks = join_ranks(sharding)
    state = start_state(path, training=TRAINING, sharding=sharding, ranks=ranks)
    examples = make_examples("a", "poison", "b", "c")
    steps = train(state, examples=examples, training=TRAINING, sharding=sharding, ranks=ranks)
    try:
        next(steps)
    except FloatingPointError as error:
        return str(error)
    return "no error"


@pytest.mark.slow
def test_sample_that_is_not_finite_on_one_rank_is_named_by_both(tmp_path: Path) -> None:
    save_tiny_model(tmp_path, is_tied=False)
    weights = load_file(tmp_path / "model.safetensors")
    weights["model.embed_tokens.weight"][UNUSED_TOKEN] = math.nan
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})

    first, second = run_on_ranks(2, tmp_path, raise_on_poison, tmp_path)

    assert first == second
    assert first.startswith("the loss of samples poison is not finite in step 1")


def train_in_bfloat16(path: Path, num_workers: int) -> list[float]:
    """Return the losses of a run whose products are bfloat16: autocast alone, FSDP2 on two."""
    sharding = make_sharding(num_workers=num_workers)
    training = make_training(num_epochs=4, compute_dtype="bfloat16")
    ranks = join_ranks(sharding)
    state = start_state(path, training=training, sharding=sharding, ranks=ranks)
    assert {p.dtype for p in state.model.parameters()} == {torch.float32}
    steps = train(state, examples=EXAMPLES, training=training, sharding=sharding, ranks=ranks)
    return [metrics.loss_nats for metrics in steps]


@pytest.mark.slow
def test_bfloat16_products_follow_the_float32_run_alone_and_sharded(
    tiny: Path, tmp_path: Path
) -> None:
    training = make_training(num_epochs=4)
    exact = train(start(tiny), examples=EXAMPLES, training=training, sharding=SHARDING, ranks=RANKS)
    losses = [metrics.loss_nats for metrics in exact]

    alone = train_in_bfloat16(tiny, 1)
    sharded, _ = run_on_ranks(2, tmp_path, train_in_bfloat16, tiny, 2)

    assert alone == pytest.approx(losses, rel=1e-2)
    assert sharded == pytest.approx(losses, rel=1e-2)
