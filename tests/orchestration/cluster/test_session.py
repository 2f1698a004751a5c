import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from s1ray.orchestration.cluster.session import ROOT, refuse_silence
from tests.ports import closed_port


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_address_where_nothing_listens_is_refused_at_once(host: str) -> None:
    with (
        closed_port(host) as port,
        pytest.raises(ConnectionError, match=r"No Ray answers at .*ray\.address="),
    ):
        refuse_silence(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", answer_seconds=5)


@pytest.mark.parametrize("address", ["auto", "ray://head.invalid:10001"])
def test_address_that_is_rays_own_to_read_is_left_to_it(address: str) -> None:
    refuse_silence(address, answer_seconds=5)


START = """
from s1ray.orchestration.cluster.session import ray_session
from s1ray.orchestration.composing import compose_recipe
with ray_session(compose_recipe(["experiment=tiny"]).ray):
    pass
"""


@pytest.mark.slow
def test_token_that_ray_makes_for_a_ray_of_our_own_is_its_users_alone(tmp_path: Path) -> None:
    known = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = known | {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}

    subprocess.run([sys.executable, "-c", START], env=environment, check=True, timeout=300)

    assert stat.S_IMODE((tmp_path / ".ray/auth_token").stat().st_mode) == 0o600
