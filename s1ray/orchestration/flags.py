"""The flags that jobs take: which there are, how --help lists them, what is said of any other."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from s1ray.orchestration.command_line import LEVELS

EVERYWHERE = {
    "-q, --quiet": "print warnings, errors and the result alone",
    "-v, --verbose": "the same as --log-level=debug",
    "--log-level=LEVEL": f"{', '.join(LEVELS[:-1])} or {LEVELS[-1]}",
    "--cfg job": (
        "print the configuration and start nothing; with --resolve, its references filled in"
    ),
    "--multirun": "one run after another over key=a,b,c",
    "--help": "print this",
}
"""What every job takes: how it is spelt, and what it does."""
_OF_HYDRA = (
    *("-h", "-c", "--resolve", "-m", "-r", "--run", "-p", "--package", "-i", "--info"),
    *("--hydra-help", "--version", "-sc", "--shell-completion", "-cp", "--config-path"),
    *("-cn", "--config-name", "-cd", "--config-dir"),
)
"""Hydra's own that work with jobs and that --help does not list."""


def describe_flags(own: Mapping[str, str]) -> str:
    """Return what --help says of the flags, a line each.

    Args:
        own: A job's own flags, as ``EVERYWHERE`` has the others.
    """
    return "\n".join(f"  {flag:<20} {what}" for flag, what in {**own, **EVERYWHERE}.items())


def check_flags(words: Sequence[str], *, own: Mapping[str, str], names: Collection[str]) -> None:
    """Refuse a flag that a job does not take, before Hydra takes it for an abbreviation.

    Args:
        words: A job's command line, without the program.
        own: The job's own flags, as ``EVERYWHERE`` has the others.
        names: Of its sections, keys and groups.

    Raises:
        ValueError: There is no such flag; where a key was meant, with how it is written.
    """
    shown = {**own, **EVERYWHERE}
    legal = {*_OF_HYDRA, *_list_names(shown)}
    end = words.index("--") if "--" in words else len(words)
    for place, word in enumerate(words[:end]):
        flag, _, value = word.partition("=")
        if not flag.startswith("-") or flag in legal:
            continue
        following = words[place + 1] if place + 1 < end else ""
        given = value or ("" if following.startswith("-") or "=" in following else following)
        key = flag.lstrip("-")
        meant = f"{key}={given or 'VALUE'}"
        advice = f"Write {meant}, without dashes. " if key.split(".")[0] in names else ""
        raise ValueError(
            f"{flag}: this job has no such flag. {advice}Its flags are {', '.join(shown)}; all "
            "else is KEY=VALUE or GROUP=CHOICE."
        )


def _list_names(flags: Iterable[str]) -> list[str]:
    """Return the names by which flags are given, without what stands for their values."""
    return [name.split("=")[0].split()[0] for flag in flags for name in flag.split(", ")]
