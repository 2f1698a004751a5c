"""Six steps of a tiny model, as they were: what a refactor must not move.

Where arithmetic is changed on purpose, the failing test prints the new curve: put it here, and the
old one beside it into the commit's message.
"""

from pathlib import Path

import pytest
from transformers import Qwen2Config, Qwen2ForCausalLM

from s1ray.training.loop import start_state, train
from s1ray.training.network.sharding import join_ranks
from tests.fakes import draw_weights
from tests.training.plain_loop import (
    SHAPE,
    draw_examples,
    make_optimizer,
    make_sharding,
    make_training,
)

LOSSES_NATS = [
    5.393245404718863, 4.747060842586286, 5.073378932476044,
    4.426764942705631, 5.172525044580224, 4.497641697525978,
]  # fmt: skip
GRAD_NORMS = [
    3.3812873363494873, 5.149311065673828, 6.454014778137207,
    4.453517913818359, 3.2584638595581055, 6.007891654968262,
]  # fmt: skip
TOLERANCE = 1e-6
"""One CPU gives these digits each time, on one thread or two. Another has other kernels, which add
float32 in another order: with AVX2, or with neither AVX2 nor AVX-512, the curve of this AVX-512
machine moved by 1.6e-7 of itself at most."""


def test_curve_of_six_steps_is_what_it_was(tmp_path: Path) -> None:
    model = Qwen2ForCausalLM(Qwen2Config(**SHAPE))
    draw_weights(model, seed=0)
    model.save_pretrained(tmp_path)
    sharding = make_sharding()
    training = make_training(num_epochs=2, optimizer=make_optimizer(warmup_ratio=0.2))
    ranks = join_ranks(sharding)
    state = start_state(tmp_path, training=training, sharding=sharding, ranks=ranks)
    examples = draw_examples(0, num_samples=10, longest=50)

    steps = train(state, examples=examples, training=training, sharding=sharding, ranks=ranks)

    curve = [(step.loss_nats, step.grad_norm) for step in steps]
    assert [loss for loss, _ in curve] == pytest.approx(LOSSES_NATS, rel=TOLERANCE)
    assert [norm for _, norm in curve] == pytest.approx(GRAD_NORMS, rel=TOLERANCE)
