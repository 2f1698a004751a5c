"""What goes wrong in a worker, at an exact instant of a run; everything else in it is the real one.

A fault strikes once, in the third of experiment=tiny's six steps, which is the last of an epoch.
Every step is saved, so that a run disturbed in it goes on after the second.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import ray
import torch
from torch.nn.modules.module import register_module_forward_hook
from torch.optim.optimizer import register_optimizer_step_pre_hook

from s1ray.config.recipe import Recipe
from s1ray.orchestration.fine_tune.stopping import STOP
from s1ray.orchestration.fine_tune.train import prepare_train, run_train
from s1ray.orchestration.fine_tune.train_worker import START, work
from s1ray.records import StepMetrics
from s1ray.training.checkpoints import checkpoint

STEP = 3
NODE = "TEST_NODE"
"""Set in the environment of nodes that may be taken away."""
FULL_AT_BYTES = 20_000
DRAIN_SECONDS = 12
SLOW_STEP_SECONDS = 6.0


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong, and where."""

    name: str
    """In ``FAULTS``."""
    marker: Path
    """Made when it strikes."""
    rank: int | None
    """Which worker; None for the one on a node that may be taken away."""
    is_lasting: bool = False
    """Whether it strikes in every attempt."""
    driver: int | None = None
    """The process id of the job."""


class _Instant:
    """Where this worker is in its run, and whether the fault is due."""

    def __init__(self, fault: Fault, run_path: Path) -> None:
        self.fault, self.run_path = fault, run_path
        self.is_slow = False
        self._last_noted = 0

    def note(self, metrics: StepMetrics) -> None:
        self._last_noted = metrics.step

    def strike(self, *, step_is_noted: bool = False) -> bool:
        """Whether the fault strikes now, in step 3."""
        started_after = json.loads((self.run_path / START).read_text(encoding="utf-8"))["step"]
        steps_done = max(self._last_noted, started_after) - step_is_noted
        if steps_done != STEP - 1:
            return False
        try:
            self.fault.marker.touch(exist_ok=self.fault.is_lasting)
        except FileExistsError:
            return False
        return True


def faulty_worker(config: Mapping[str, Any], *, fault: Fault) -> None:
    """Train like any worker, with a fault armed on one of them."""
    instant = _Instant(fault, config["task"].job.run_path)
    own = ray.train.get_context().get_world_rank()
    if own == fault.rank or (fault.rank is None and NODE in os.environ):
        FAULTS[fault.name](instant)
    work(config["task"], after_step=instant.note)


def train_with_fault(recipe: Recipe, fault: Fault) -> None:
    """Run a whole job with a fault; the entry of a process of its own."""
    run_train(prepare_train(recipe), worker=partial(faulty_worker, fault=fault))


def _in_mid_step(act: Callable[[_Instant], None]) -> Callable[[_Instant], None]:
    """Act between the backward pass and the optimizer's update."""

    def arm(instant: _Instant) -> None:
        def act_when_due(*_: object) -> None:
            if instant.strike():
                act(instant)
            if instant.is_slow:
                time.sleep(SLOW_STEP_SECONDS)

        register_optimizer_step_pre_hook(act_when_due)

    return arm


def _at(name: str, *, act: Callable[..., None]) -> Callable[[_Instant], None]:
    """Act in place of a function of the checkpoint module."""

    def arm(instant: _Instant) -> None:
        real = getattr(checkpoint, name)

        def act_when_due(*arguments: Any) -> Any:
            if instant.strike(step_is_noted=True):
                act(*arguments)
            return real(*arguments)

        setattr(checkpoint, name, act_when_due)

    return arm


def _kill(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_in_mid_file(_: object, path: Path) -> None:
    path.write_bytes(b"half")
    _kill()


def _stand_still(_: _Instant) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _raise(_: _Instant) -> None:
    raise RuntimeError("a fault on one rank")


def _refuse_input(_: _Instant) -> None:
    raise ValueError("bad input on one rank")


def _fill_disk(_: _Instant) -> None:
    """No file of this process grows any further, until another one takes its place."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FULL_AT_BYTES, hard))


def _kill_node(_: _Instant) -> None:
    os.kill(os.getppid(), signal.SIGKILL)  # a worker's parent is its node's raylet
    threading.Event().wait()  # it notices, and dies too


def _kill_controller(_: _Instant) -> None:
    """Kill the actor that Ray Train runs the workers from; a worker dies with it."""
    for process in psutil.Process(os.getppid()).children():
        if "TrainController" in " ".join(process.cmdline()):
            process.kill()
    threading.Event().wait()


def _drain_node(instant: _Instant) -> None:
    node = ray.get_runtime_context().get_node_id()
    address = ray.get_runtime_context().gcs_address
    command = [
        str(Path(sys.executable).with_name("ray")), "drain-node", f"--address={address}",
        f"--node-id={node}", "--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=test",
        f"--deadline-remaining-seconds={DRAIN_SECONDS}",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    instant.is_slow = True  # so that it is noticed while some steps are left


def _ask_to_stop(instant: _Instant) -> None:
    """Send SIGTERM to the job and go on when it has been understood."""
    assert instant.fault.driver is not None
    os.kill(instant.fault.driver, signal.SIGTERM)
    while not (instant.run_path / STOP).exists():
        time.sleep(0.01)


def _turn_into_nan(instant: _Instant) -> None:
    """Let everything that this rank embeds in one forward pass not be a number."""

    def spoil(module: torch.nn.Module, _: object, output: torch.Tensor) -> torch.Tensor | None:
        is_due = isinstance(module, torch.nn.Embedding) and instant.strike()
        return output * torch.nan if is_due else None

    register_module_forward_hook(spoil)


FAULTS: Mapping[str, Callable[[_Instant], None]] = {
    "killed in mid-step": _in_mid_step(_kill),
    "killed between payload and manifest": _at("write_manifest", act=_kill),
    "killed in mid-upload": _at("save_file", act=_kill_in_mid_file),
    "disk full": _in_mid_step(_fill_disk),
    "hung": _in_mid_step(_stand_still),
    "asked to stop": _in_mid_step(_ask_to_stop),
    "exception": _in_mid_step(_raise),
    "bad input": _in_mid_step(_refuse_input),
    "not a number": _turn_into_nan,
    "node killed": _in_mid_step(_kill_node),
    "controller killed": _in_mid_step(_kill_controller),
    "node drained": _in_mid_step(_drain_node),
}
