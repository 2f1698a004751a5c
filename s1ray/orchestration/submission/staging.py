"""The checkout as a directory to send: what git tracks, as it stands, with a record of its state.

It knows neither Ray nor what will run.
"""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from s1ray.config.secrecy import names_secret
from s1ray.orchestration.run_directory.provenance import STAGED_STATE, read_git_state

MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Staging:
    """Files to send."""

    root: Path
    """Of the checkout."""
    sizes: dict[str, int]
    """Bytes by path below the root."""
    git: dict[str, str | None]
    """``sha``, and the uncommitted change as ``dirty``."""
    left_behind: tuple[str, ...]
    """Files that git neither tracks nor ignores: a job would not find them."""

    @property
    def num_bytes(self) -> int:
        """Of all files."""
        return sum(self.sizes.values())


def read_staging(
    root: Path, *, size_limit_mib: float, num_named: int, secrets: Sequence[str]
) -> Staging:
    """Return what a submission sends of a checkout.

    Args:
        root: Of the checkout.
        size_limit_mib: Of all files together.
        num_named: How many of the largest are named where the limit is passed.
        secrets: Values that must not be in any file.

    Raises:
        ValueError: It is no git checkout, too large, holds a secret, or links out of itself.
    """
    sizes = {}
    for name in _list_files(root, "--cached"):
        path = root / name
        if not path.is_file():  # deleted and not committed, or another repository
            continue
        if not path.resolve().is_relative_to(root.resolve()):
            raise ValueError(
                f"{name} links to {path.resolve()}, outside of the checkout, and would be read "
                "from there. Replace the link by the file, or remove it."
            )
        if why := names_secret(path.read_bytes().decode("utf-8", "replace"), known=secrets):
            raise ValueError(f"{name} {why}. Everybody on the cluster would read it: remove it.")
        sizes[name] = path.stat().st_size
    _check_size(sizes, size_limit_mib=size_limit_mib, num_named=num_named)
    return Staging(
        root=root,
        sizes=sizes,
        git=read_git_state(root),
        left_behind=tuple(_list_files(root, "--others", "--exclude-standard")),
    )


def _check_size(sizes: dict[str, int], *, size_limit_mib: float, num_named: int) -> None:
    total = sum(sizes.values())
    if total <= size_limit_mib * MIB:
        return
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:num_named]
    named = "\n".join(f"  {size / MIB:8.1f} MiB  {name}" for name, size in largest)
    raise ValueError(
        f"the tracked files have {total / MIB:.1f} MiB, more than size_limit_mib="
        f"{size_limit_mib:g}. Keep data on the shared storage and out of git, or raise the limit. "
        f"The largest:\n{named}"
    )


def _list_files(root: Path, *options: str) -> list[str]:
    command = ["git", "-C", str(root), "ls-files", "-z", *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ValueError(f"cannot list the files to send: {error}. Install git.") from error
    if done.returncode:
        raise ValueError(
            f"{root} is no git checkout ({done.stderr.strip()}). Submit from a clone of s1ray."
        )
    return sorted({name for name in done.stdout.split("\0") if name})


def stage(staging: Staging, directory: Path) -> None:
    """Copy the files into an empty directory, and write beside them which commit they are of."""
    for name in staging.sizes:
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(staging.root / name, target)
    text = json.dumps(staging.git, ensure_ascii=False, indent=1)
    (directory / STAGED_STATE).write_text(text, encoding="utf-8")
