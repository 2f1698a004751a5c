"""The learning rate, against transformers' scheduler."""

import pytest
import torch
from transformers import get_cosine_schedule_with_warmup

from s1ray.training.schedule import build_schedule


def test_s1_schedule_equals_transformers_at_every_step() -> None:
    # simplescaling/s1@77272c6 train/sft.sh: lr 1e-5, warmup_ratio 0.05, cosine; 315 steps.
    schedule = build_schedule(peak_learning_rate=1e-5, warmup_ratio=0.05, num_steps=315)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-5)
    oracle = get_cosine_schedule_with_warmup(optimizer, 16, 315)

    for step in range(1, 316):
        assert schedule.learning_rate(step) == pytest.approx(oracle.get_last_lr()[0], abs=1e-18)
        optimizer.step()
        oracle.step()


def test_s1_schedule_warms_up_for_16_steps() -> None:
    schedule = build_schedule(peak_learning_rate=1e-5, warmup_ratio=0.05, num_steps=315)

    assert schedule.num_warmup_steps == 16
    assert schedule.learning_rate(1) == 0.0
    assert schedule.learning_rate(17) == 1e-5
    assert 0 < schedule.learning_rate(315) < 1e-9


def test_schedule_without_warmup_begins_at_the_peak() -> None:
    schedule = build_schedule(peak_learning_rate=2.0, warmup_ratio=0.0, num_steps=1)

    assert schedule.learning_rate(1) == 2.0
