"""The judge that a configuration asks for, where it asks for one."""

from collections.abc import Iterator
from contextlib import contextmanager

from s1ray.config.grading import JudgeConfig
from s1ray.evaluation.judge import ChatJudge
from s1ray.generation.chat.openai_engine import OpenAIEngine
from s1ray.grading.equivalence import Judge


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
