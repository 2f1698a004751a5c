"""The judge that a configuration asks for, where it asks for one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from s1ray.config.grading import AnswerJudgeConfig, GradingConfig
from s1ray.evaluation.judge import ChatJudge
from s1ray.evaluation.store import read_scores
from s1ray.generation.chat.openai_engine import OpenAIEngine
from s1ray.grading.equivalence import Judge
from s1ray.grading.grader import JUDGE_REFUSED
from s1ray.orchestration.terminal import say
from s1ray.orchestration.training_data.endpoints import check_endpoint


def check_judge(config: GradingConfig) -> None:
    """Check what can be checked of a judge before anything is trained or generated for it.

    Raises:
        ValueError: The environment variable of the endpoint's key is not set.
    """
    if config.judge is not None:
        check_endpoint(config.judge.endpoint)


@contextmanager
def open_judge(config: AnswerJudgeConfig | None) -> Iterator[Judge | None]:
    """Yield the judge while the block runs; None where none is configured.

    Raises:
        ValueError: The environment variable of the endpoint's key is not set.
    """
    if config is None:
        yield None
        return
    with ChatJudge(config, OpenAIEngine(config.endpoint)) as judge:
        yield judge


def say_refused(config: GradingConfig, samples: Path) -> None:
    """Say how many answers of an evaluation the judge refused to compare, where it did.

    Args:
        config: How they were graded.
        samples: All of them, graded.
    """
    if config.judge is None:
        return
    num_refused = sum(score.graded.layer == JUDGE_REFUSED for score in read_scores(samples))
    if num_refused:
        say(
            f"  {num_refused} answers count as incorrect without the judge's word, which refuses "
            f"to compare them: layer {JUDGE_REFUSED} in {samples.name}"
        )
