"""The judge that a configuration asks for, where it asks for one."""

from collections.abc import Iterator
from contextlib import contextmanager

from s1ray.config.grading import GradingConfig, JudgeConfig
from s1ray.evaluation.judge import ChatJudge
from s1ray.generation.chat.openai_engine import OpenAIEngine
from s1ray.grading.equivalence import Judge
from s1ray.orchestration.training_data.endpoints import check_endpoint


def check_judge(config: GradingConfig) -> None:
    """Check what can be checked of a judge before anything is trained or generated for it.

    Raises:
        ValueError: The environment variable of the endpoint's key is not set.
    """
    if config.judge is not None:
        check_endpoint(config.judge.endpoint)


@contextmanager
def open_judge(config: JudgeConfig | None) -> Iterator[Judge | None]:
    """Yield the judge while the block runs; None where none is configured.

    Raises:
        ValueError: The environment variable of the endpoint's key is not set.
    """
    if config is None:
        yield None
        return
    with ChatJudge(config, OpenAIEngine(config.endpoint)) as judge:
        yield judge
