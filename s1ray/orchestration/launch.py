"""From a command line to a typed configuration and a run: what every job does first.

Hydra composes ``conf/``; pydantic checks the whole; bad input ends with exit code 2 before
anything is started, a later failure with 1. This module knows no stage.
"""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from s1ray.config.base import Section
from s1ray.orchestration.runs import RefusedError
from s1ray.orchestration.terminal import print_result, say

CONF = Path(__file__).parents[2] / "conf"
EXIT_BAD_INPUT = 2
EXIT_FAILED = 1

ConfigT = TypeVar("ConfigT", bound=Section)
PlanT = TypeVar("PlanT")


def launch(
    *,
    doc: str,
    primary: str,
    schema: type[ConfigT],
    prepare: Callable[[ConfigT], PlanT],
    run: Callable[[PlanT], Path],
) -> None:
    """Run a job from ``sys.argv`` and print its result directory last; never returns on failure.

    Args:
        doc: The job's docstring: what ``--help`` prints above the configuration.
        primary: The primary configuration in ``conf/``.
        schema: What it must satisfy.
        prepare: Checks all that can be checked before anything starts; raises ValueError.
        run: Does it.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing and exiting
    OmegaConf.register_new_resolver("job_doc", doc.strip, replace=True)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("s1ray").setLevel(logging.INFO)
    if not CONF.is_dir():
        _refuse(f"no configuration at {CONF}. Run jobs from a checkout of s1ray.")
    for composed in _compose(primary):
        try:
            plan = prepare(parse_config(composed, schema))
        except ValueError as error:
            _refuse(str(error))
        _run_or_exit(run, plan)


def _compose(primary: str) -> list[DictConfig]:
    """Return what the command line asks for: one configuration, or several with ``--multirun``.

    They are run after Hydra is done, so that a job's errors are its own.
    """
    composed: list[DictConfig] = []
    main = hydra.main(version_base="1.3", config_path=str(CONF), config_name=primary)
    try:
        main(composed.append)()
    except (HydraException, OmegaConfBaseException) as error:
        _refuse(explain_override(error))
    return composed


def parse_config(composed: DictConfig, schema: type[ConfigT]) -> ConfigT:
    """Return the typed configuration.

    Raises:
        ValueError: Keys are unknown, missing or of the wrong type: one line each, dotted path
            first.
    """
    try:
        content = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ValueError(
            f"{error.full_key} is missing. Give {error.full_key}=... on the command line; `--help` "
            "says what it means."
        ) from None
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        raise ValueError(_explain_validation(error)) from None


def _explain_validation(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        path = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            lines.append(
                f"{path}={problem['input']!r}: there is no such key. Remove it or correct "
                "its name; `--cfg job` prints every legal key."
            )
        else:
            lines.append(f"{path}={problem['input']!r}: {problem['msg']}")
    return "\n".join(lines)


def explain_override(error: Exception) -> str:
    """Return Hydra's message with what to do about it."""
    text = f"{error}\n{error.__cause__ or ''}".strip()
    # Hydra proposes +key=value for an unknown key; here every legal key is in conf/ already.
    lines = [line for line in text.split("\n") if line and not line.startswith("To append")]
    return "\n".join(lines) + (
        "\nOverrides are key=value with dotted keys, or group=choice; `--cfg job` "
        "prints every legal key, `--help` every group."
    )


def _run_or_exit(run: Callable[[PlanT], Path], plan: PlanT) -> None:
    try:
        result = run(plan)
    except KeyboardInterrupt:
        say("interrupted; what was done is kept, and the same command goes on from there")
        sys.exit(128 + signal.SIGINT)
    except RefusedError as error:
        _refuse(str(error))
    except Exception as error:
        traceback.print_exc()
        say(f"failed: {error}")
        sys.exit(EXIT_FAILED)
    print_result(str(result))


def _refuse(message: str) -> NoReturn:
    say(f"bad input, nothing was started:\n{message}")
    sys.exit(EXIT_BAD_INPUT)
