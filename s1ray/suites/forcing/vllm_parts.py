"""The parts on vLLM: in this interpreter if it has it, else in the one of ``make test-vllm``.

That one has neither Ray nor Hydra, so what runs there (``__main__`` here) imports neither: the
settings go to its standard input, the numbers come from its standard output.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from s1ray.config.suites.forcing import ForcingSettings
from s1ray.generation.build import build_engine
from s1ray.generation.engine import Engine
from s1ray.orchestration.run_directory.runs import RefusedError
from s1ray.suites.forcing.chains import open_prompter
from s1ray.suites.forcing.prefix import measure_prefix
from s1ray.suites.forcing.rounds import measure_rounds

ROOT = Path(__file__).parents[3]


def find_python(settings: ForcingSettings) -> Path:
    """Return the interpreter that has vLLM.

    Raises:
        RefusedError: There is none.
    """
    if find_spec("vllm") is not None:
        return Path(sys.executable)
    python = ROOT / settings.vllm_python
    if not python.is_file():
        raise RefusedError(
            f"the parts rounds and prefix need vLLM, and suite.vllm_python={python} is not there. "
            "Build its environment with `make test-vllm`, or name the parts that do not need it: "
            "parts=[sweep,batches,server]."
        )
    return python


def measure_on_vllm(part: str, settings: ForcingSettings, model_path: Path) -> dict[str, Any]:
    """Return a part (``rounds`` or ``prefix``), measured in an interpreter that has vLLM.

    Raises:
        RuntimeError: The measurement failed there.
    """
    python = find_python(settings)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "VLLM_CPU_KVCACHE_SPACE": str(settings.vllm_kv_cache_gib),
        "VLLM_LOGGING_LEVEL": "ERROR",
    }
    asked = {"settings": settings.model_dump(mode="json"), "model_path": str(model_path)}
    done = subprocess.run(
        [str(python), "-m", __name__, part],
        input=json.dumps(asked),
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the part {part} failed under {python}; its error stands above")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


async def _measure(part: str, settings: ForcingSettings, model_path: Path) -> Mapping[str, Any]:
    prompter = open_prompter(
        model_path,
        delimiters=settings.model.delimiters,
        context_tokens=settings.context_tokens,
    )
    cached = _build(settings, model_path, has_prefix_caching=True)
    engines = {"cached": cached}
    if part == "rounds":
        found = await measure_rounds(settings, prompter=prompter, engine=cached)
    else:
        engines["uncached"] = _build(settings, model_path, has_prefix_caching=False)
        found = await measure_prefix(settings, prompter=prompter, engines=engines)
    for engine in engines.values():
        await engine.close()
    return found


def _build(settings: ForcingSettings, model_path: Path, *, has_prefix_caching: bool) -> Engine:
    config = settings.vllm.model_copy(update={"has_prefix_caching": has_prefix_caching})
    return build_engine(
        config, model_path=model_path, context_tokens=settings.context_tokens, adapter=None
    )


def main() -> None:
    """Measure the part that the command line names."""
    asked = json.loads(sys.stdin.read())
    settings = ForcingSettings.model_validate(asked["settings"])
    found = asyncio.run(_measure(sys.argv[1], settings, Path(asked["model_path"])))
    sys.stdout.write(f"\n{json.dumps(found)}\n")


if __name__ == "__main__":
    main()
