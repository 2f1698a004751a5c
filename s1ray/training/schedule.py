"""The learning rate as a pure function of the step."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Linear warm-up, then half a cosine to zero."""

    peak_learning_rate: float
    num_warmup_steps: int
    num_steps: int

    def learning_rate(self, step: int) -> float:
        """Return the rate of a step; 1 is the first.

        As in s1, the first step has rate 0: transformers counts warm-up from the step before.

        Source: transformers get_cosine_schedule_with_warmup, which s1's train/sft.sh selects.
        """
        done = step - 1
        if done < self.num_warmup_steps:
            return self.peak_learning_rate * done / self.num_warmup_steps
        progress = (done - self.num_warmup_steps) / max(1, self.num_steps - self.num_warmup_steps)
        return self.peak_learning_rate * max(0.0, 0.5 * (1 + math.cos(math.pi * progress)))


def build_schedule(*, peak_learning_rate: float, warmup_ratio: float, num_steps: int) -> Schedule:
    """Return the schedule of a run.

    Args:
        peak_learning_rate: At the end of warm-up.
        warmup_ratio: Share of steps, rounded up: 5 % of s1's 315 steps are 16.
        num_steps: Optimizer steps of the whole run.
    """
    return Schedule(
        peak_learning_rate=peak_learning_rate,
        num_warmup_steps=math.ceil(num_steps * warmup_ratio),
        num_steps=num_steps,
    )
