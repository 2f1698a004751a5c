import pytest

from s1ray.orchestration.cluster.session import refuse_silence
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
