"""A machine's rates for one model, from cuts of it: what the plan needs to know before it predicts.

A cut is the model with its first few layers and its whole head. What a layer takes is the
difference of two cuts; what a token takes, the difference of two rows. The whole model, batches and
real lengths are left to the plan.
"""

import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from s1ray.config.recipe import Recipe
from s1ray.config.suites.plan import PlannedModelSettings
from s1ray.planning.cluster import Cluster
from s1ray.planning.model import ModelShape
from s1ray.planning.recipe import DTYPE_BYTES
from s1ray.planning.step_time import MOMENT_TRAFFIC, STATE_TRAFFIC_BYTES
from s1ray.records import TokenizedExample
from s1ray.suites.measuring.pairs import time_call
from s1ray.training.gradient import accumulate_gradient, clip_gradient
from s1ray.training.loop import TrainState, start_state
from s1ray.training.network.sharding import Ranks
from s1ray.training.samples.packing import pack, weigh_samples

_CONFIG = "config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What this machine reaches with one model."""

    flops: float
    """A second, of whole rows."""
    dispatch_seconds: float
    """Of each layer, forward and backward, beside its arithmetic."""
    memory_rate: float
    """Bytes a second while the optimizer steps."""

    def apply(self, cluster: Cluster) -> Cluster:
        """Return a description of one CPU node with these rates."""
        return replace(
            cluster,
            peak_flops=self.flops,
            efficiency_eager=1.0,
            efficiency_compiled=1.0,
            memory_rate=self.memory_rate,
            dispatch_seconds=self.dispatch_seconds,
        )


def make_example(num_tokens: int, *, prompt_share: float) -> TokenizedExample:
    """Return a sample of so many tokens; what they are costs nothing."""
    return TokenizedExample(
        key=str(num_tokens),
        input_ids=tuple(index % 200 for index in range(num_tokens)),
        num_prompt_tokens=max(1, round(prompt_share * num_tokens)),
        num_truncated_tokens=0,
    )


def cut_model(path: Path, *, num_layers: int, directory: Path) -> Path:
    """Return a directory with the model's first layers: its files, and another config.json."""
    cut = directory / f"layers-{num_layers}"
    cut.mkdir()
    for file in path.iterdir():
        if file.name != _CONFIG:
            (cut / file.name).symlink_to(file.resolve())
    config = json.loads((path / _CONFIG).read_text(encoding="utf-8"))
    config |= {"num_hidden_layers": num_layers}
    config.pop("layer_types", None)  # one entry a layer, and all alike
    (cut / _CONFIG).write_text(json.dumps(config), encoding="utf-8")
    return cut


def fit_rates(
    seconds: Mapping[tuple[int, int], float], *, shape: ModelShape, memory_rate: float
) -> Rates:
    """Return the rates that two cuts and two rows give.

    Args:
        seconds: Of forward and backward, by layers of the cut and tokens of the row.
        shape: Of the whole model.
        memory_rate: Measured apart.

    Raises:
        RuntimeError: A long row took no longer than a short one.
    """
    (few, short), (more, long) = min(seconds), max(seconds)
    whole = {}
    for tokens in (short, long):
        layer = (seconds[more, tokens] - seconds[few, tokens]) / (more - few)
        whole[tokens] = seconds[few, tokens] + (shape.num_layers - few) * layer
    if whole[long] <= whole[short]:
        raise RuntimeError(
            f"{long} tokens took {whole[long]:.3g} s and {short} took {whole[short]:.3g}: this "
            "machine is too busy to be measured. Wait until it is idle, or raise num_repeats."
        )
    count = shape.count_flops(num_adapters=None)
    rate = (count.of_document(long) - count.of_document(short)) / (whole[long] - whole[short])
    dispatch = max(0.0, whole[short] - count.of_document(short) / rate) / shape.num_layers
    return Rates(flops=rate, dispatch_seconds=dispatch, memory_rate=memory_rate)


class Calibration:
    """Two cuts of a model, ready to be timed again and again."""

    def __init__(
        self,
        path: Path,
        *,
        recipe: Recipe,
        settings: PlannedModelSettings,
        shape: ModelShape,
        ranks: Ranks,
        prompt_share: float,
        directory: Path,
    ) -> None:
        """Load the cuts and warm them up.

        Args:
            path: The whole model.
            recipe: How it is trained.
            settings: Which cuts and rows.
            shape: Of the whole model.
            ranks: This process alone.
            prompt_share: Of every row.
            directory: Where the cuts may lie.
        """
        self._recipe, self._shape, self._ranks = recipe, shape, ranks
        self._settings = settings
        self._examples = [make_example(n, prompt_share=prompt_share) for n in settings.probe_tokens]
        self._cuts = {
            num_layers: start_state(
                cut_model(path, num_layers=num_layers, directory=directory),
                training=recipe.training,
                sharding=recipe.sharding,
                ranks=ranks,
            )
            for num_layers in settings.slice_layers
        }
        self.measure()

    def measure(self) -> Rates:
        """Return the rates as they are just now."""
        seconds = {
            (num_layers, len(example.input_ids)): self._time_row(state, example)
            for num_layers, state in self._cuts.items()
            for example in self._examples
        }
        return fit_rates(seconds, shape=self._shape, memory_rate=self._time_optimizer())

    def _time_row(self, state: TrainState, example: TokenizedExample) -> float:
        def work() -> float:
            seconds = time_call(lambda: self._add_gradient(state, example))
            state.optimizer.zero_grad()
            return seconds

        return self._take_middle(work)

    def _take_middle(self, work: Callable[[], float]) -> float:
        return statistics.median(work() for _ in range(self._settings.num_repeats))

    def _add_gradient(self, state: TrainState, example: TokenizedExample) -> None:
        weights = weigh_samples([example], [0], loss_weighting=self._recipe.training.loss_weighting)
        accumulate_gradient(
            state.model,
            [pack([example], [0], token_weights=weights, multiple_of=1)],
            num_samples=1,
            ranks=self._ranks,
            backend=self._recipe.sharding.attention,
        )

    def _time_optimizer(self) -> float:
        state = self._cuts[self._settings.slice_layers[1]]
        self._add_gradient(state, self._examples[0])
        norm = self._recipe.training.optimizer.max_grad_norm

        def step() -> None:
            clip_gradient(state.model, max_norm=norm)
            state.optimizer.step()

        seconds = self._take_middle(lambda: time_call(step))
        state.optimizer.zero_grad()
        num_parameters = sum(parameter.numel() for parameter in state.model.parameters())
        moment_bytes = DTYPE_BYTES[self._recipe.training.optimizer.moments_dtype]
        traffic = STATE_TRAFFIC_BYTES + MOMENT_TRAFFIC * moment_bytes
        return traffic * num_parameters / seconds
