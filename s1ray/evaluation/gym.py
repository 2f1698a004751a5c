"""Questions of reasoning-gym's tasks: as many fresh ones as wanted, without any network.

The package is an extra of its own, since some of what it stands on is compiled at installation.
This module knows no prompt and no grading.
"""

from types import ModuleType

from s1ray.config.grading import GymBenchmarkConfig
from s1ray.records import AnswerKind, Question


def draw_gym_questions(name: str, config: GymBenchmarkConfig) -> tuple[Question, ...]:
    """Return the questions of every task, each with its complete user turn as text.

    Args:
        name: The benchmark's key in the configuration; becomes the questions' source.
        config: Which tasks, how many questions of each, and the seed.

    Raises:
        ValueError: The package is not installed, or does not know a task or its parameters.
    """
    gym = _import_gym(name)
    return tuple(
        Question(
            id=f"{task}-{index:05}",
            text=config.prompt.format(question=entry["question"]),
            answer=str(entry["answer"]),
            answer_kind=AnswerKind(chosen.answer_kind),
            source=name,
            domain=task,
            solution=None,
        )
        for task, chosen in config.tasks.items()
        for index, entry in enumerate(_draw(gym, name, task, config))
    )


def _draw(
    gym: ModuleType, name: str, task: str, config: GymBenchmarkConfig
) -> list[dict[str, object]]:
    params = config.tasks[task].params
    try:
        dataset = gym.create_dataset(
            task, size=config.questions_per_task, seed=config.seed, **params
        )
    except (ValueError, TypeError, AssertionError) as error:
        raise ValueError(
            f"benchmark.{name}.tasks.{task}: reasoning-gym refuses it: {error}. Give a task that "
            "the package has, with parameters that its task takes."
        ) from error
    return [dataset[index] for index in range(config.questions_per_task)]


def _import_gym(name: str) -> ModuleType:
    try:
        import reasoning_gym  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ValueError(
            f"benchmark.{name} draws from reasoning-gym, which cannot be imported ({error}). "
            'Install it with pip install "s1ray[gym]", or choose another benchmark.'
        ) from error
    module: ModuleType = reasoning_gym
    return module
