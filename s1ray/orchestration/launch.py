"""From a command line to a typed configuration and a run: what every job does first.

Hydra composes ``conf/``; pydantic checks the whole; bad input ends with exit code 2 before
anything is started, a later failure with 1. This module knows no stage.
"""

import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn, TypeVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from s1ray.config.base import Section
from s1ray.config.secrecy import list_exposed
from s1ray.orchestration.cluster.secrets_at_hand import RedactingFormatter, list_secrets_at_hand
from s1ray.orchestration.command_line import EXIT_BAD_INPUT, NOT_STARTED, end_cleanly
from s1ray.orchestration.flags import check_flags, describe_flags
from s1ray.orchestration.mistakes import explain_override, explain_validation
from s1ray.orchestration.run_directory.attempts import read_attempts
from s1ray.orchestration.run_directory.keeping import summarise_runs
from s1ray.orchestration.run_directory.runs import RefusedError, read_manifest
from s1ray.orchestration.steps import Step, show_steps
from s1ray.orchestration.terminal import complain, list_begun, print_result, show_table

CONF = Path(__file__).parents[2] / "conf"
DRY = "--dry"
"""Lists a job's steps and starts none."""
EXIT_FAILED = 1

ConfigT = TypeVar("ConfigT", bound=Section)
PlanT = TypeVar("PlanT")


def launch(
    *,
    doc: str,
    primary: str,
    schema: type[ConfigT],
    prepare: Callable[[ConfigT], PlanT],
    run: Callable[[PlanT], Path | str],
    list_steps: Callable[[PlanT], Sequence[Step]] | None = None,
    flags: Mapping[str, str] | None = None,
) -> None:
    """Run a job from ``sys.argv`` and print its result last; never returns on failure.

    Args:
        doc: The job's docstring: what ``--help`` prints above the configuration.
        primary: The primary configuration in ``conf/``.
        schema: What it must satisfy.
        prepare: Checks all that can be checked before anything starts; raises ValueError, or
            OSError where a file cannot be read.
        run: Does it, and returns the result directory (or the line that says the result).
        list_steps: Says for ``--dry`` what would be done; None where the job takes no ``--dry``.
        flags: That the job takes off the command line itself, each with what it does.
    """

    def prepare_alone(config: ConfigT, _: Sequence[str]) -> PlanT:
        return prepare(config)

    launch_with_overrides(
        doc=doc,
        primary=primary,
        schema=schema,
        prepare=prepare_alone,
        run=run,
        list_steps=list_steps,
        flags=flags,
    )


@end_cleanly
def launch_with_overrides(
    *,
    doc: str,
    primary: str,
    schema: type[ConfigT],
    prepare: Callable[[ConfigT, Sequence[str]], PlanT],
    run: Callable[[PlanT], Path | str],
    list_steps: Callable[[PlanT], Sequence[Step]] | None = None,
    flags: Mapping[str, str] | None = None,
) -> None:
    """Launch a job that composes further configurations on top of the command line's overrides.

    Args:
        doc: As ``launch`` takes it.
        primary: As ``launch`` takes it.
        schema: As ``launch`` takes it.
        prepare: Is given the overrides besides.
        run: As ``launch`` takes it.
        list_steps: As ``launch`` takes it.
        flags: As ``launch`` takes them.
    """
    own = {**(flags or {}), **({DRY: "list the steps and start none"} if list_steps else {})}
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing and exiting
    OmegaConf.register_new_resolver("job_doc", doc.strip, replace=True)
    OmegaConf.register_new_resolver("job_groups", partial(list_groups, primary), replace=True)
    OmegaConf.register_new_resolver("job_flags", partial(describe_flags, own), replace=True)
    _log_without_secrets()
    if not CONF.is_dir():
        _refuse(f"no configuration at {CONF}. Run jobs from a checkout of s1ray.")
    is_dry = _take_flags(own, names={*schema.model_fields, *_read_groups(primary)})
    for composed, overrides in _compose(primary):
        try:
            plan = prepare(parse_config(composed, schema), overrides)
            if is_dry and list_steps:
                show_steps(list_steps(plan))
        except (ValueError, OSError) as error:
            _refuse(str(error))
        except Exception as error:  # shown as a failure of the run is: without any secret
            _fail(error)
        if not is_dry:
            _run_or_exit(run, plan)


def _log_without_secrets() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("huggingface_hub").propagate = False  # it has a handler of its own


def _take_flags(own: Mapping[str, str], *, names: Collection[str]) -> bool:
    """Refuse what is no flag, and return whether ``--dry`` was there; Hydra has none of a job's."""
    try:
        check_flags(sys.argv[1:], own=own, names=names)
    except ValueError as error:
        _refuse(str(error))
    is_dry = DRY in sys.argv
    sys.argv = [word for word in sys.argv if word != DRY]
    return is_dry


def _compose(primary: str) -> list[tuple[DictConfig, tuple[str, ...]]]:
    """Return what the command line asks for: one configuration, or several with ``--multirun``.

    Each stands with the overrides that it was composed from.

    They are run after Hydra is done, so that a job's errors are its own.
    """
    composed: list[tuple[DictConfig, tuple[str, ...]]] = []

    def keep(config: DictConfig) -> None:
        composed.append((config, tuple(HydraConfig.get().overrides.task)))

    main = hydra.main(version_base="1.3", config_path=str(CONF), config_name=primary)
    with TemporaryDirectory() as scratch:
        OmegaConf.register_new_resolver("scratch", lambda: scratch, replace=True)
        try:
            main(keep)()
        except (HydraException, OmegaConfBaseException) as error:
            _refuse(explain_override(error))
    return composed


def list_groups(primary: str) -> str:
    """Return a primary configuration's groups, a line each: what is chosen | what else is legal.

    Args:
        primary: Its name in ``conf/``.
    """
    lines = []
    for key, chosen in _read_groups(primary).items():
        others = sorted({path.stem for path in (CONF / key.split("@")[0]).glob("*.yaml")})
        left = " ".join(name for name in others if name not in chosen)
        lines.append(f"  {key:<24} {' '.join(map(str, chosen))}  |  {left or '-'}")
    return "\n".join(lines)


def _read_groups(primary: str) -> dict[str, list[object]]:
    """Return what a primary configuration chooses of each of its groups, by how it is overridden.

    Args:
        primary: Its name in ``conf/``.
    """
    groups = {}
    content = OmegaConf.to_container(OmegaConf.load(CONF / f"{primary}.yaml"))
    assert isinstance(content, dict)
    for entry in content["defaults"]:
        if not isinstance(entry, dict):
            continue
        ((name, choice),) = entry.items()
        group = str(name).split("@")[0]
        if "override" in str(name) or group == "command_line" or not (CONF / group).is_dir():
            continue
        key = str(name).removesuffix("@_here_")
        groups[key] = choice if isinstance(choice, list) else [choice]
    return groups


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
            "shows an example."
        ) from None
    return validate(content, schema, prefix="")


def validate(content: object, schema: type[ConfigT], *, prefix: str) -> ConfigT:
    """Return content as the schema has it.

    Args:
        content: A mapping of plain values.
        schema: What it must satisfy.
        prefix: Where the content stands in the whole configuration, before its dotted paths.

    Raises:
        ValueError: It does not satisfy the schema, as ``parse_config`` says it; or it holds a
            secret, which runs would write down.
    """
    # First: what does not satisfy the schema is repeated to whoever gave it.
    if exposed := list(list_exposed(content, known=list_secrets_at_hand(), path=prefix)):
        raise ValueError(
            "\n".join(exposed) + "\nA configuration is kept in run directories and shown on the "
            "dashboard. Remove it from there; secrets come from the environment or netrc alone, "
            "where keys such as api_key_variable name the variable."
        )
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        raise ValueError(explain_validation(error, content=content, prefix=prefix)) from None


def _run_or_exit(run: Callable[[PlanT], Path | str], plan: PlanT) -> None:
    began = time.time()
    try:
        with redirect_stdout(sys.stderr):  # Ray writes there, too; it is the result's alone
            result = run(plan)
    except RefusedError as error:
        _refuse(str(error), state=_describe_begun(since=began))
    except Exception as error:
        _fail(error)
    if list_begun():
        show_table("runs", summarise_runs(list_begun()))
    print_result(str(result))


def _describe_begun(*, since: float) -> str:
    """Return what a refusal leaves of the runs that were worked on since then, in Unix seconds."""
    begun = [
        path
        for path in list_begun()
        if (attempts := read_attempts(path)) and attempts[-1].began >= since
    ]
    if any(read_manifest(path) is not None for path in begun):
        return "refused; what was done before is kept"
    return "refused; nothing was finished" if begun else NOT_STARTED


def _fail(error: Exception) -> NoReturn:
    complain("".join(traceback.format_exception(error)).rstrip())
    complain(f"failed: {error}")
    sys.exit(EXIT_FAILED)


def _refuse(message: str, *, state: str = NOT_STARTED) -> NoReturn:
    complain(f"{state}:\n{message}")
    sys.exit(EXIT_BAD_INPUT)
