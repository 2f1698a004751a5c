"""What every job takes from its command line besides overrides, and how it ends on Ctrl-C.

Hydra has no flags of a job's own: they are taken off before it reads the rest.
"""

import logging
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec

from s1ray.orchestration.run_directory.keeping import describe_kept
from s1ray.orchestration.terminal import complain, list_begun, speak_for_job

EXIT_BAD_INPUT = 2
NOT_STARTED = "bad input, nothing was started"
LEVELS = ("debug", "info", "warning", "error")
_QUIET = ("-q", "--quiet")
_VERBOSE = ("-v", "--verbose")
_LEVEL = "--log-level"

Arguments = ParamSpec("Arguments")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verbosity:
    """How much a job says on its way."""

    is_quiet: bool
    """Whether only warnings, errors and the result are printed."""
    level: int
    """Of the log, as ``logging`` counts it."""


def take_flags(words: Sequence[str]) -> tuple[Verbosity, list[str]]:
    """Return how much is to be said, and the words without the flags that say so.

    Args:
        words: A job's command line. What follows ``--`` belongs to another command.

    Raises:
        ValueError: A level that there is not.
    """
    end = list(words).index("--") if "--" in words else len(words)
    own, rest = list(words[:end]), list(words[end:])
    is_quiet = any(word in _QUIET for word in own)
    level = "debug" if any(word in _VERBOSE for word in own) else "info"
    kept: list[str] = []
    while own:
        word = own.pop(0)
        if word.split("=")[0] == _LEVEL:
            level = word.partition("=")[2] if "=" in word else own.pop(0) if own else ""
        elif word not in (*_QUIET, *_VERBOSE):
            kept.append(word)
    if level not in LEVELS:
        raise ValueError(f"{_LEVEL}={level}: there is no such level; legal: {', '.join(LEVELS)}.")
    number = logging.getLevelNamesMapping()[level.upper()]
    return Verbosity(
        is_quiet=is_quiet, level=max(number, logging.WARNING) if is_quiet else number
    ), [*kept, *rest]


def end_cleanly(job: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Let a job take its flags from ``sys.argv``, and end on Ctrl-C with what was kept.

    Args:
        job: Reads what is left of ``sys.argv``.
    """

    @wraps(job)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            verbosity, sys.argv = take_flags(sys.argv)
        except ValueError as error:
            complain(f"{NOT_STARTED}:\n{error}")
            sys.exit(EXIT_BAD_INPUT)
        logging.getLogger("s1ray").setLevel(verbosity.level)
        with speak_for_job(is_quiet=verbosity.is_quiet):
            try:
                job(*args, **kwargs)
            except KeyboardInterrupt:
                end_interrupted()

    return run


def end_interrupted() -> None:
    """Say what a job that was interrupted leaves, and exit as a shell expects.

    Raises:
        SystemExit: Always; with 130.
    """
    kept = [f"  {path}: {text}" for path in list_begun() if (text := describe_kept(path))]
    if kept:
        complain("interrupted; this is kept, and the same command goes on from there:")
        complain("\n".join(kept))
    else:
        complain("interrupted; nothing had been done")
    sys.exit(128 + signal.SIGINT)
