"""A fault planted into what a node says of itself is found, and nothing else is."""

from dataclasses import replace

import pytest

from s1ray.orchestration.doctor.checks import (
    check_clocks,
    check_disk,
    check_gpus,
    check_power,
    check_services,
    check_token,
    check_versions,
)
from s1ray.orchestration.doctor.finding import Verdict
from s1ray.orchestration.doctor.network import MIB, AllReduce, check_network
from tests.orchestration.doctor.facts import H100, HEALTHY, read_doctor, two_nodes
from tests.planning.plans import load_cluster

CONFIG = read_doctor("cluster=h100_2x8_8x400g")


def test_two_healthy_nodes_have_nothing_wrong() -> None:
    nodes = two_nodes()

    findings = [
        check_versions(nodes),
        check_gpus(nodes, CONFIG),
        check_power(nodes, CONFIG),
        check_disk(nodes, CONFIG),
        check_token(nodes, is_beyond_loopback=True, is_server_open=False),
        check_clocks({"first": (0.0, 0.001), "second": (0.1, 0.001)}, CONFIG),
        *check_services(nodes, CONFIG),
    ]

    assert [finding.verdict for finding in findings] == [Verdict.OK] * 8
    assert not any(finding.fix for finding in findings)


def test_another_version_on_one_node_is_found() -> None:
    finding = check_versions(two_nodes(versions={**HEALTHY.versions, "torch": "2.11.0"}))

    assert finding.verdict is Verdict.FAIL
    assert "torch (2.13.0 on first, 2.11.0 on second)" in finding.found
    assert "transformers" not in finding.found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gpus": (H100,) * 7, "num_torch_gpus": 7}, "second has 7"),
        ({"gpus": (), "num_torch_gpus": 0}, "second has 0"),
        ({"gpus": (), "gpu_fault": "nvidia-smi fails"}, "but nvidia-smi fails on second"),
        ({"num_torch_gpus": 0}, "torch sees 0 of 8 on second"),
        ({"gpus": (replace(H100, memory_gib=39.5),) * 8}, "on second has 39.5 GiB"),
    ],
)
def test_gpus_that_are_not_as_planned_are_found(changes: dict[str, object], words: str) -> None:
    finding = check_gpus(two_nodes(**changes), CONFIG)

    assert finding.verdict is Verdict.FAIL
    assert words in finding.found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"power_limit_watts": 250.0}, "GPU 7 of second is held at 250 of 700 W"),
        ({"clock_mhz": 1200.0}, "GPU 7 of second is held at 1200 of 1980 MHz"),
        ({"slowdowns": ("too hot",)}, "GPU 7 of second: too hot"),
    ],
)
def test_a_gpu_that_is_held_back_is_found(change: dict[str, object], words: str) -> None:
    finding = check_power(two_nodes(gpus=(*(H100,) * 7, replace(H100, **change))), CONFIG)

    assert finding.verdict is Verdict.FAIL
    assert words in finding.found


def test_what_the_driver_does_not_say_is_no_fault() -> None:
    silent = replace(H100, power_limit_watts=None, clock_mhz=None, default_clock_mhz=None)

    assert check_power(two_nodes(gpus=(silent,) * 8), CONFIG).verdict is Verdict.OK


@pytest.mark.parametrize("change", [{"storage_gib": 1.0}, {"temporary_gib": 0.5}])
def test_a_full_disk_is_found(change: dict[str, float]) -> None:
    finding = check_disk(two_nodes(**change), CONFIG)

    assert finding.verdict is Verdict.FAIL
    assert "second" in finding.found
    assert "first" not in finding.found


@pytest.mark.parametrize(
    ("overrides", "service", "verdict"),
    [
        ([], "wandb", Verdict.WARN),
        (["tracking.mode=online"], "wandb", Verdict.FAIL),
        ([], "hub", Verdict.WARN),
        (["needs_hub=true"], "hub", Verdict.FAIL),
    ],
)
def test_a_service_that_does_not_answer_is_as_bad_as_it_is_needed(
    overrides: list[str], service: str, verdict: Verdict
) -> None:
    nodes = two_nodes(unreachable={service: "refused"})

    found = {f.check: f.verdict for f in check_services(nodes, read_doctor(*overrides))}

    other = ({"wandb", "hub"} - {service}).pop()
    assert found == {service: verdict, other: Verdict.OK}


@pytest.mark.parametrize("changes", [{"is_token_demanded": False}, {"token_mode": 0o644}])
def test_a_token_that_is_off_or_open_to_all_is_found(changes: dict[str, object]) -> None:
    finding = check_token(two_nodes(**changes), is_beyond_loopback=True, is_server_open=False)

    assert finding.verdict is Verdict.FAIL
    assert "second" in finding.found


def test_a_job_server_that_answers_anybody_is_found() -> None:
    finding = check_token(two_nodes(), is_beyond_loopback=True, is_server_open=True)

    assert finding.verdict is Verdict.FAIL
    assert "job server" in finding.found


def test_on_loopback_a_missing_token_is_a_warning() -> None:
    nodes = two_nodes(is_token_demanded=False)

    finding = check_token(nodes, is_beyond_loopback=False, is_server_open=None)

    assert finding.verdict is Verdict.WARN


@pytest.mark.parametrize(("offset", "doubt"), [(-60.0, 0.01), (3.0, 0.5)])
def test_a_clock_that_differs_is_found(offset: float, doubt: float) -> None:
    finding = check_clocks({"first": (0.0, 0.0), "second": (offset, doubt)}, CONFIG)

    assert finding.verdict is Verdict.FAIL
    assert "second" in finding.found


def test_a_clock_that_differs_by_less_than_the_doubt_is_no_fault() -> None:
    assert check_clocks({"first": (5.0, 4.0)}, CONFIG).verdict is Verdict.OK


@pytest.mark.parametrize(
    ("share", "verdict"), [(1.0, Verdict.OK), (0.7, Verdict.WARN), (0.1, Verdict.FAIL)]
)
def test_a_network_below_the_plan_is_found(share: float, verdict: Verdict) -> None:
    planned = load_cluster("h100_2x8_8x400g")
    # A ring of 16 carries 2 * 15/16 of the message over each node's edge.
    seconds = 2 * 15 / 16 * 256 * MIB / (share * planned.node_rate)
    measured = AllReduce(num_bytes=256 * MIB, seconds=seconds, world_size=16)

    finding = check_network([measured], planned=planned, config=CONFIG)

    assert measured.node_gbit == pytest.approx(share * 2720)
    assert finding.verdict is verdict
    assert ("measured_node_gbit" in finding.fix) == (verdict is not Verdict.OK)
