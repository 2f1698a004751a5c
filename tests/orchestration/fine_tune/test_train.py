"""What a fine-tune refuses before anything of it starts."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from s1ray.config.recipe import Recipe
from s1ray.orchestration.fine_tune.train import prepare_train
from tests.recipes import write_traces


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 0},
            "layers of sliding_attention",
        ),
        ({"logits_scaling": 8.0}, "capped or scaled"),
    ],
)
def test_model_that_would_be_trained_on_another_loss_is_refused_before_a_run_begins(
    tmp_path: Path, tiny: Callable[..., Recipe], changes: dict[str, object], message: str
) -> None:
    traces = f"traces={write_traces(tmp_path)}"
    known = prepare_train(tiny(traces))
    model = Path(shutil.copytree(known.model.path, tmp_path / "model"))
    config = json.loads((model / "config.json").read_text()) | changes
    (model / "config.json").write_text(json.dumps(config | {"layer_types": None}))

    with pytest.raises(ValueError, match=message):
        prepare_train(tiny(traces, f"model.source={model}", "model.random=null"))

    assert not known.run.path.exists()
