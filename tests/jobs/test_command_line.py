"""What a user types: bad input ends with exit code 2 and a message before anything is started."""

import ast
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from s1ray.orchestration.cluster.session import ROOT
from s1ray.orchestration.fine_tune.train import prepare_train
from tests.orchestration.processes import hold_elsewhere
from tests.recipes import TRACE, compose_tiny

TAKE_DRY = {"curate", "distill", "train", "evaluate", "reproduce", "sweep", "submit"}
WORDS = (
    *("Add two to", "How old is", "Which city has", "Count the legs of", "Name a river of"),
    *("Divide ten by", "Who wrote", "What colour is", "Where grows", "Why does it rain on"),
    *("When began", "Multiply with itself"),
)
"""Questions that are no copies of each other."""
JOBS = sorted(path.stem for path in (ROOT / "jobs").glob("[!_]*.py"))


def _run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> tuple[int, str]:
    """Return exit code and output of ``python -m jobs.<command>`` run in this process."""
    module, *arguments = shlex.split(command)
    monkeypatch.setattr(sys, "argv", [f"{module}.py", *arguments])
    code = 0
    try:
        runpy.run_module(f"jobs.{module}", run_name="__main__", alter_sys=False)
    except SystemExit as ended:
        code = int(ended.code or 0)
    captured = capsys.readouterr()
    return code, captured.out + captured.err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("train experiment=tiny +typo=1", ["typo", "no such key"]),
        ("train experiment=tiny +training.lr=1", ["training.lr", "no such key"]),
        ("train experiment=nothing", ["nothing", "demo", "tiny"]),
        ("train experiment=tiny training.num_epochs=0", ["training.num_epochs", "greater"]),
        ("train experiment=tiny traces=nowhere.jsonl", ["nowhere.jsonl"]),
        ("train experiment=tiny model.source=no/such/thing model.random=null", ["no/such/thing"]),
        ("train experiment=tiny name=../up", ["../up", "a-z"]),
        ("evaluate experiment=tiny target=nowhere", ["nowhere", "trained"]),
        ("evaluate experiment=tiny benchmark=[gsm8k] benchmark.gsm8k.path=gone.jsonl", ["gone"]),
        ("curate experiment=tiny budget.max_thinking_tokens=[-1]", ["max_thinking_tokens"]),
        ("report runs=[nowhere]", ["nowhere", "run.json"]),
        ("compare a=nowhere b=nowhere", ["nowhere", "jobs.evaluate"]),
        ("grade input=gone.jsonl output=x fields.text=a fields.gold=b", ["gone.jsonl"]),
        ("report", ["runs"]),
        ("serve experiment=tiny server.host=0.0.0.0", ["S1RAY_API_KEY", "127.0.0.1"]),
        ("serve experiment=tiny target=trained", ["not finished", "jobs.train"]),
        ("serve experiment=tiny target=nowhere", ["nowhere", "config.json"]),
        ("serve experiment=tiny +server.adapters.a=nowhere", ["nowhere", "adapter_config.json"]),
        ("serve experiment=tiny +server.adapters.s1ray=x", ["s1ray", "another"]),
        ("serve experiment=tiny server.max_replicas=1 server.min_replicas=2", ["max_replicas"]),
        ("serve experiment=tiny server.budget.num_waits=99", ["num_waits", "server.limits"]),
        ("serve experiment=tiny server.budget.max_answer_tokens=4000", ["context_tokens"]),
        ("serve experiment=tiny model.delimiters=none", ["delimiters", "think_tags"]),
        ("submit -- python -m jobs.train experiment=tiny +typo=1", ["typo"]),
        ("submit --dry -- env HF_TOKEN=x python -m jobs.train experiment=tiny", ["HF_TOKEN"]),
        ("submit address=http://127.0.0.1:9 -- python -m jobs.train experiment=tiny", [":9"]),
        ("doctor cluster.num_nodes=2", ["cluster.measured_node_gbit"]),
        ("train --experiment tiny", ["--experiment", "Write experiment=tiny,", "--dry", "--cfg"]),
        ("train --training.num_epochs=2", ["Write training.num_epochs=2,"]),
        ("train --target", ["Write target=VALUE,"]),
        ("grade --input in.jsonl", ["Write input=in.jsonl,"]),
        ("train --foo", ["--foo", "--log-level=LEVEL", "--multirun"]),
        ("train -x tiny --help", ["-x"]),
        ("train --stop", ["--stop"]),
        ("plan --dry", ["--dry"]),
        ("submit --foo --dry -- python -m jobs.train", ["--foo", "--dry", "--stop", "-- COMMAND"]),
        ("report runs=/path", ["runs='/path'", "takes a list", "runs=[/path]"]),
        ("plan budget.num_waits=1", ["budget.num_waits=[1]"]),
    ],
)
def test_bad_input_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    command: str,
    words: list[str],
) -> None:
    was_initialized = ray.is_initialized()
    storage = "" if "experiment" not in command else f" paths.storage={tmp_path}"

    code, output = _run(monkeypatch, capsys, command + storage)

    assert code == 2, output
    assert all(word in output for word in words), output
    assert "Traceback" not in output
    assert ray.is_initialized() == was_initialized
    assert not list(tmp_path.iterdir())


def test_job_that_is_refused_after_it_has_done_something_does_not_deny_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = prepare_train(compose_tiny(tmp_path)).run.path
    path.mkdir(parents=True)
    with hold_elsewhere(path) as holder:
        said = []
        for _ in range(2):
            code, output = _run(
                monkeypatch, capsys, f"train experiment=tiny paths.storage={tmp_path}"
            )
            said.append("nothing was started" in output)
            assert code == 2
            assert str(holder.pid) in output

    assert said == [False, True]  # the second time curation was there already


def test_multirun_runs_a_local_grid_and_leaves_nothing_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    code, output = _run(
        monkeypatch,
        capsys,
        "curate -m experiment=tiny paths.storage=runs "
        "selection.num_questions=2,3 selection.seed=1,2",
    )

    assert code == 0, output
    counts = [len(path.read_text().splitlines()) for path in tmp_path.rglob("selected.jsonl")]
    assert sorted(counts) == [2, 2, 3, 3]
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_dry_lists_the_steps_and_starts_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    storage = f"experiment=tiny paths.storage={tmp_path}"

    code, output = _run(monkeypatch, capsys, f"reproduce --dry {storage}")
    assert code == 0
    assert [stage for stage in ("curate", "train", "evaluate", "reproduce") if stage in output] == [
        "curate", "train", "evaluate", "reproduce",
    ]  # fmt: skip
    assert "5 of 5 steps will run" in output
    assert not list(tmp_path.iterdir())

    _run(monkeypatch, capsys, f"curate {storage}")
    _, output = _run(monkeypatch, capsys, f"reproduce --dry {storage}")
    assert "4 of 5 steps will run" in output


def test_model_directory_without_a_tokenizer_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}', encoding="utf-8")

    code, output = _run(
        monkeypatch,
        capsys,
        f"train experiment=tiny model.source={tmp_path} model.random=null paths.storage={tmp_path}",
    )

    assert code == 2
    assert str(tmp_path) in output


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 64 KiB and fill it."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        with pytest.raises(OSError, match="space"):
            (tmp_path / "filler").write_bytes(b"x" * 2**20)
        yield tmp_path
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_full_disk_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], full_disk: Path
) -> None:
    was_initialized = ray.is_initialized()

    code, output = _run(
        monkeypatch, capsys, f"train experiment=tiny paths.storage={full_disk / 'runs'}"
    )

    assert code == 2
    assert "paths.storage" in output
    assert ray.is_initialized() == was_initialized


def test_storage_that_is_a_file_is_refused_and_its_steps_can_be_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "runs").touch()
    command = f"train experiment=tiny paths.storage={tmp_path / 'runs'}"

    listed, output = _run(monkeypatch, capsys, f"{command} --dry")
    assert (listed, "2 of 2 steps will run" in output) == (0, True)
    refused, output = _run(monkeypatch, capsys, command)
    assert (refused, "paths.storage" in output) == (2, True)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([], "traces.jsonl holds no trace"),
        ([TRACE, "not json"], "traces.jsonl:2"),
        ([TRACE, '{"question": {"id": "x"}}'], "traces.jsonl:2"),
        (['{"thinking": 3}', TRACE], "traces.jsonl:1"),
        ([TRACE, "", "not json"], "traces.jsonl:3"),
    ],
)
def test_malformed_trace_row_is_refused_with_its_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    rows: list[str],
    complaint: str,
) -> None:
    traces = tmp_path / "traces.jsonl"
    traces.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")

    storage = f"paths.storage={tmp_path / 'runs'}"
    code, output = _run(monkeypatch, capsys, f"train experiment=tiny traces={traces} {storage}")

    assert code == 2
    assert complaint.replace(" ", "") in "".join(output.split())  # long lines are folded anywhere
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ("fields.text=rsp", ["row 0 of in.jsonl", "'rsp'", "answer, resp"]),
        ("input={bad}", ["bad.jsonl", "line 2", "not JSON"]),
        ("output={good}", ["output=", "is the input"]),
        ("output={folder}", ["output=", "is a directory"]),
    ],
)
def test_outputs_that_cannot_be_graded_are_refused_before_any_is(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    changes: str,
    words: list[str],
) -> None:
    good, bad = tmp_path / "in.jsonl", tmp_path / "bad.jsonl"
    good.write_text('{"resp": "Answer: 3", "answer": "3"}\n', encoding="utf-8")
    bad.write_text(good.read_text(encoding="utf-8") + "no JSON\n", encoding="utf-8")
    given = f"input={good} output={tmp_path / 'out.jsonl'} fields.text=resp fields.gold=answer"

    changed = changes.format(good=good, bad=bad, folder=tmp_path)
    code, output = _run(monkeypatch, capsys, f"grade {given} {changed}")

    assert (code, "Traceback" in output) == (2, False)
    assert all(word in output for word in words), output
    assert sorted(tmp_path.iterdir()) == [bad, good]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ("", ["12 of 12 rows of source mine are bad", "no column question; there is q, a"]),
        ("{named}", ["only 12 questions", "deduplicate 12 -> 12", "nothing was finished"]),
    ],
)
def test_pool_that_is_no_good_is_refused_with_the_counts_so_far(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    changes: str,
    words: list[str],
) -> None:
    rows = [f'{{"q": "{word} {number}", "a": "{number}"}}\n' for number, word in enumerate(WORDS)]
    (tmp_path / "rows.jsonl").write_text("".join(rows), encoding="utf-8")
    columns = "pool.sources.mine.columns"
    named = (
        f"""{columns}.question='"{{q}}"' {columns}.answer='"{{a}}"' {columns}.solution=null """
        f"{columns}.domain=null selection.num_questions=50"
    )
    given = f"experiment=tiny pool=files pool.root={tmp_path} paths.storage={tmp_path / 'runs'}"

    command = f"curate {given} {changes.format(named=named)}"
    code, output = _run(monkeypatch, capsys, command)

    assert (code, "Traceback" in output, "nothing was started" in output) == (2, False, False)
    assert all(word in " ".join(output.split()) for word in words), output


@pytest.mark.parametrize("job", JOBS)
def test_every_job_explains_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], job: str
) -> None:
    code, output = _run(monkeypatch, capsys, f"{job} --help")

    assert code == 0
    for words in (f"python -m jobs.{job}", "Examples:", "Output:", "Groups (", "--log-level"):
        assert words in output
    _, _, flags = output.partition("Flags:")
    assert ("--dry " in flags) == (job in TAKE_DRY)
    assert ("--stop " in flags) == (job == "submit")


@pytest.mark.parametrize(
    "flags",
    [
        "--cfg job",
        "--cfg=job",
        "-c job --resolve",
        "--cfg job -p training",
        "-h",
        "-v -q --cfg job",
    ],
)
def test_hydras_own_flags_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: str
) -> None:
    code, output = _run(monkeypatch, capsys, f"train {flags} experiment=tiny")

    assert code == 0, output
    assert "training" in output


def test_quiet_job_prints_its_result_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = f"plan experiment=s1_32b paths.storage={tmp_path}"

    loud = _run(monkeypatch, capsys, command)
    quiet = _run(monkeypatch, capsys, f"{command} -q")

    (result,) = (tmp_path / "plan").iterdir()
    assert quiet == (0, f"{result}\n")
    assert loud[1].startswith(f"{result}\n")
    assert len(loud[1]) > 1000


def test_level_that_there_is_not_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, output = _run(monkeypatch, capsys, "plan --log-level=loud")

    assert code == 2
    assert "legal: debug" in output


def test_jobs_are_listed_with_a_line_each() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jobs"], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert all(f"python -m jobs.{job} " in done.stdout for job in JOBS)


def _draw_tree() -> list[str]:
    lines = []
    paths = [*(ROOT / "jobs").glob("*.py"), *(ROOT / "s1ray").rglob("*.py")]
    for path in sorted(paths, key=lambda path: (path.parent, path.name)):
        package = f"    {path.parent.relative_to(ROOT)}/"
        if path.name == "__init__.py":
            continue
        if package not in lines:
            lines.append(package)
        summary = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")
        lines.append(f"      {path.name:<25} {summary[0].removesuffix('.')}")
    return lines


def test_tree_names_every_module_by_the_first_line_of_its_docstring() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    tree = text.partition("## The tree")[2].splitlines()
    assert [line for line in tree if line.startswith("    ")] == _draw_tree()
