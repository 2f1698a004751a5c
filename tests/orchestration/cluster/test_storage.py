"""What a node says of paths that it is asked about; whole clusters: tests/jobs/test_hosts.py."""

import os
import time
from pathlib import Path

import pytest
import ray

from s1ray.orchestration.cluster.storage import find_read_fault, find_write_fault, hear_fault


def test_what_is_there_has_no_fault(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")

    assert find_read_fault((str(tmp_path / "config.json"),)) == ""
    assert find_write_fault((str(tmp_path),)) == ""


def test_link_whose_target_another_node_has_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    (tmp_path / "config.json").symlink_to("../../blobs/0a1b")  # as the hub's cache has it

    files = tuple(str(tmp_path / name) for name in ("tokenizer.json", "config.json"))

    assert find_read_fault(files) == "config.json: No such file or directory"


def test_directory_that_is_not_there_cannot_be_written(tmp_path: Path) -> None:
    assert find_write_fault((str(tmp_path / "runs"),)) == "No such file or directory"


@pytest.mark.usefixtures("ray_head")
def test_node_that_cannot_look_or_hangs_has_a_fault_and_one_that_dies_has_none() -> None:
    @ray.remote(num_cpus=0, max_retries=0)
    def look() -> str:
        raise ModuleNotFoundError("No module named 's1ray'")

    @ray.remote(num_cpus=0, max_retries=0)
    def die() -> str:
        os._exit(1)

    @ray.remote(num_cpus=0, max_retries=0)
    def hang() -> str:
        time.sleep(600)
        return ""

    fault = "ModuleNotFoundError: No module named 's1ray'"
    assert hear_fault(look.remote(), within_seconds=60) == fault
    assert hear_fault(die.remote(), within_seconds=60) == ""
    hanging = hang.remote()
    assert hear_fault(hanging, within_seconds=0.5).startswith("no answer within 0.5 s")
    ray.cancel(hanging, force=True)
