"""Samples whose lengths are as uneven as those of real traces: running sums of few and many terms.

It knows the generator of running sums; who trains on them it does not know.
"""

import random

from s1ray.config.suites.training import MixtureConfig
from s1ray.curation.pool.running_sums import trace_running_sum
from s1ray.records import ReasoningTrace

OPERATIONS = "+-"


def draw_mixture(config: MixtureConfig, *, num_samples: int) -> list[ReasoningTrace]:
    """Return sums whose numbers of terms are spread as a lognormal; the same on any machine."""
    rng = random.Random(config.seed)
    return [_draw(rng, config) for _ in range(num_samples)]


def _draw(rng: random.Random, config: MixtureConfig) -> ReasoningTrace:
    drawn = round(rng.lognormvariate(config.log_mean_terms, config.log_deviation_terms))
    terms = min(max(drawn, config.min_terms), config.max_terms)
    return trace_running_sum(
        [rng.randint(1, config.max_number) for _ in range(terms)],
        signs=[rng.choice(OPERATIONS) for _ in range(terms - 1)],
        phrasings=config.phrasings,
    )
