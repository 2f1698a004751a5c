"""What a fine-tune has cost, beside what the plan said it would: hours, dollars, tokens, energy.

It reads a finished run's own records; several runs, as those of a sweep, add up.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s1ray.orchestration.fine_tune.energy import read_joules
from s1ray.orchestration.fine_tune.spending import DEVICE_HOURS
from s1ray.orchestration.run_directory.events import read_events
from s1ray.planning.estimate import Estimate

COST = "cost.json"
_DOLLARS = "train/dollars"
_TOKENS = "train/num_tokens"
_JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What was spent, and what was planned. None is what is not known."""

    device_hours: float
    """Of all devices, over all attempts; GPU-hours on GPUs."""
    dollars: float | None
    tokens: int
    """Trained on, each step once however often it was done."""
    energy_kwh: float | None
    """Of the GPUs alone."""
    planned_device_hours: float | None
    planned_dollars: float | None
    planned_tokens: int | None

    def describe(self) -> dict[str, Any]:
        """Return actual beside planned, as a run's ``cost.json`` and its results hold them."""
        return {
            "device_hours": self.device_hours,
            "device_hours_planned": self.planned_device_hours,
            "dollars": self.dollars,
            "dollars_planned": self.planned_dollars,
            "tokens": self.tokens,
            "tokens_planned": self.planned_tokens,
            "energy_kwh": self.energy_kwh,
        }

    def summarize(self) -> str:
        """Return the account in a line."""
        parts = [_beside("device-hours", self.device_hours, self.planned_device_hours)]
        if self.dollars:
            parts.append(_beside("dollars", self.dollars, self.planned_dollars))
        parts.append(f"{self.tokens:,} tokens")
        if self.energy_kwh is not None:
            parts.append(f"{self.energy_kwh:.3g} kWh")
        return ", ".join(parts)


def _beside(name: str, actual: float, planned: float | None) -> str:
    beside = "" if planned is None else f" ({planned:.3g} planned)"
    return f"{actual:.3g} {name}{beside}"


def read_account(run_path: Path, *, planned: Estimate | None) -> Account:
    """Return what a training run has cost so far.

    Args:
        run_path: Its directory.
        planned: The plan it was started with; None where the plan did not know its hardware.
    """
    rows = list(read_events(run_path))
    last = rows[-1] if rows else {}
    joules = read_joules(run_path)
    return Account(
        device_hours=float(last.get(DEVICE_HOURS) or 0.0),
        dollars=last.get(_DOLLARS),
        tokens=sum(int(row.get(_TOKENS) or 0) for row in rows),
        energy_kwh=None if joules is None else joules / _JOULES_PER_KWH,
        planned_device_hours=None if planned is None else planned.device_hours,
        planned_dollars=None if planned is None else planned.dollars,
        planned_tokens=None if planned is None else planned.workload.num_tokens,
    )


def sum_costs(run_paths: Iterable[Path]) -> dict[str, float | None]:
    """Return what several training runs have cost together, as one's ``cost.json`` says it.

    A run that is named twice is counted once, one that is not finished not at all. A sum of which a
    part is not known is not known.
    """
    files = [path / COST for path in sorted(set(run_paths))]
    costs = [json.loads(file.read_text(encoding="utf-8")) for file in files if file.is_file()]
    names = costs[0] if costs else {}
    return {name: _add([cost[name] for cost in costs]) for name in names}


def _add(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
