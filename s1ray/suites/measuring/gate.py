"""Processes that take one step each time they are told to, so that several can take turns.

A side is a program with one or more processes, each joined to a socket of this process: it is told
``step`` and answers with one line of JSON. Nobody computes while another side is timed, though all
of them hold their models. It does not know what a step is.
"""

import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from s1ray.suites.measuring.process import read_tail

STEP = "step"
_POLL_SECONDS = 1.0


class Gate:
    """The far end: a process that waits to be told."""

    def __init__(self, path: str, *, name: str) -> None:
        """Join the side ``name`` at a socket."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._lines = self._socket.makefile("rw", encoding="utf-8")
        self.report({"name": name})

    def wait(self) -> bool:
        """Return whether another step is wanted; False when it is over."""
        return self._lines.readline().strip() == STEP

    def report(self, answer: Mapping[str, Any]) -> None:
        """Answer."""
        self._lines.write(f"{json.dumps(answer)}\n")
        self._lines.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """How a side is started."""

    command: Sequence[str]
    environment: Mapping[str, str]
    num_processes: int
    """Processes of it that join the gate."""


@dataclass(slots=True, kw_only=True)
class GatedSide:
    """The near end of one side."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    lines: list[TextIO] = field(default_factory=list)
    """One a process that has joined."""

    def step(self) -> dict[str, Any]:
        """Have every process take a step and return the first one's answer.

        Raises:
            RuntimeError: A process ended.
        """
        for lines in self.lines:
            lines.write(f"{STEP}\n")
            lines.flush()
        answers = [lines.readline() for lines in self.lines]
        if not all(answers):
            raise RuntimeError(self.explain())
        first: dict[str, Any] = json.loads(answers[0])
        return first

    def explain(self) -> str:
        """Return why a side is of no use, with the end of what it printed."""
        return f"{self.name} ended early. The end of {self.log}:\n{read_tail(self.log)}"


@contextmanager
def open_gate(
    programs: Mapping[str, Program], *, directory: Path, start_seconds: float
) -> Iterator[dict[str, GatedSide]]:
    """Start programs and yield them when all their processes have joined; end them afterwards.

    Each finds the socket in the environment variable ``S1RAY_GATE`` and its name in
    ``S1RAY_SIDE``.

    Args:
        programs: By the names of their sides.
        directory: Takes the socket and what each prints.
        start_seconds: How long all of them may take to join.

    Raises:
        RuntimeError: One ended or did not join in time.
    """
    path = directory / "gate"
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket(socket.AF_UNIX))
        server.bind(str(path))
        server.listen()
        server.settimeout(_POLL_SECONDS)
        sides = {}
        for name, program in programs.items():
            sides[name] = stack.enter_context(_start(name, program, gate=path))
        _join(server, sides, programs, deadline=time.monotonic() + start_seconds)
        yield sides


@contextmanager
def _start(name: str, program: Program, *, gate: Path) -> Iterator[GatedSide]:
    log = gate.parent / f"{name}.log"
    environment = {**program.environment, "S1RAY_GATE": str(gate), "S1RAY_SIDE": name}
    with log.open("wb") as output:
        process = subprocess.Popen(
            program.command, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    side = GatedSide(name=name, process=process, log=log)
    try:
        yield side
    finally:
        for lines in side.lines:
            lines.close()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()


def _join(
    server: socket.socket,
    sides: Mapping[str, GatedSide],
    programs: Mapping[str, Program],
    *,
    deadline: float,
) -> None:
    while any(len(sides[name].lines) < programs[name].num_processes for name in sides):
        for side in sides.values():
            if side.process.poll() is not None:
                raise RuntimeError(side.explain())
        if time.monotonic() > deadline:
            raise RuntimeError(f"not all of {', '.join(sides)} have loaded in time")
        try:
            connection, _ = server.accept()
        except TimeoutError:
            continue
        connection.setblocking(True)  # noqa: FBT003 - as the standard library spells it
        with connection:  # its file keeps it open
            lines = connection.makefile("rw", encoding="utf-8")
        sides[json.loads(lines.readline())["name"]].lines.append(lines)
