"""A signal to a fine-tune: before its workers have begun, and after."""

import signal
from pathlib import Path

import pytest

from s1ray.orchestration.fine_tune.stopping import STOP, stop_on_signals


@pytest.mark.parametrize(
    ("number", "ends_with"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_signal_before_any_worker_has_begun_ends_at_once(
    tmp_path: Path, number: signal.Signals, ends_with: type[BaseException]
) -> None:
    with (
        pytest.raises(ends_with),
        stop_on_signals((tmp_path / STOP).touch, has_begun=lambda: False),
    ):
        signal.raise_signal(number)

    assert not (tmp_path / STOP).exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_to_workers_that_have_begun_asks_them_to_stop_and_a_second_one_ends(
    tmp_path: Path, number: signal.Signals
) -> None:
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (
            pytest.raises(KeyboardInterrupt),
            stop_on_signals((tmp_path / STOP).touch, has_begun=lambda: True) as request,
        ):
            signal.raise_signal(number)
            assert request.signal == number
            assert (tmp_path / STOP).exists()
            signal.raise_signal(number)
    finally:
        signal.signal(signal.SIGTERM, before)
