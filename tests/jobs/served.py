"""``python -m jobs.serve`` on the tiny model and an adapter of it, as a process of its own."""

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from s1ray.model_source.resolve import default_cache_directory, resolve_model
from s1ray.orchestration.cluster.session import ROOT
from tests.fakes import read_model_config
from tests.orchestration.processes import running
from tests.ports import free_port
from tests.waiting import wait_until

KEY = "a key of a test"


@dataclass(frozen=True)
class Server:
    """A process that serves."""

    url: str
    process: subprocess.Popen[str]
    storage: Path

    def metric(self, name: str) -> float:
        text = httpx.get(f"{self.url}/metrics", headers=authorize(KEY)).text
        values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
        return float(values.get(f"s1ray_{name}", 0))


def authorize(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def write_adapter(directory: Path) -> None:
    """Write a LoRA adapter of the tiny model that changes what it says."""
    model = read_model_config("tiny")
    path = resolve_model(
        model.source, revision=None, sha256=None, random=model.random,
        cache=default_cache_directory(), on_progress=lambda _: None,
    )  # fmt: skip
    base = AutoModelForCausalLM.from_pretrained(path)
    torch.manual_seed(0)
    targets = ["q_proj", "v_proj", "down_proj"]
    lora = LoraConfig(r=8, target_modules=targets, init_lora_weights=False)
    with warnings.catch_warnings(action="ignore", category=FutureWarning):
        adapted = get_peft_model(base, lora)
    adapted.save_pretrained(directory)


@contextmanager
def serve_tiny(home: Path) -> Iterator[Server]:
    """Yield a server once it answers, its runs and its log below a directory."""
    write_adapter(home / "adapter")
    port = free_port()
    command = [
        sys.executable, "-m", "jobs.serve", "experiment=tiny", f"server.port={port}",
        f"paths.storage={home / 'runs'}", f"+server.adapters.sums={home / 'adapter'}",
        "server.max_requests=2", "engine.num_threads=1", "ray.num_cpus=2",
    ]  # fmt: skip
    environment = {**os.environ, "S1RAY_API_KEY": KEY}
    environment.pop("RAY_ADDRESS", None)
    log = home / "log"
    with (
        log.open("w") as stderr,
        running(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True
        ) as process,
    ):
        wait_until(lambda: "serving s1ray" in log.read_text(), process=process, log=log)
        yield Server(f"http://127.0.0.1:{port}", process, home / "runs")
