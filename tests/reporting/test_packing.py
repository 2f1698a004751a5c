import base64
import gzip
import json
from pathlib import Path
from typing import Any

from s1ray.reporting.packing import PackedSamples, encode_for_script, pack_samples
from s1ray.reporting.reading.samples import Injections, SampleFile, read_samples
from tests.reporting.fake_evaluations import POLICIES, write_evaluation

NAMES = [policy.name for policy in POLICIES]


def pack(path: Path, *, rows_per_piece: int) -> PackedSamples:
    files = []
    for label in ("base", "trained"):
        write_evaluation(path / label, label=label, benchmarks=["s"], num_items=3, skill=0.5)
        files.append(SampleFile(path=path / label / "samples.jsonl", model=label))
    nothing = Injections(waits=(), answer_prefixes=())
    samples = read_samples(files, injections=nothing, max_items=9, max_characters=999)
    return pack_samples(
        samples.views,
        policies=NAMES,
        models=["base", "trained"],
        verdicts=["correct", "incorrect", "no_answer"],
        num_first=5,
        rows_per_piece=rows_per_piece,
    )


def unpack(packed: PackedSamples) -> list[dict[str, Any]]:
    pieces = [json.loads(gzip.decompress(base64.b64decode(piece))) for piece in packed.pieces]
    return [row for piece in pieces for row in piece]


def test_every_sample_is_in_a_piece_in_the_order_of_the_index(tmp_path: Path) -> None:
    packed = pack(tmp_path, rows_per_piece=10)

    index, rows = json.loads(packed.index), unpack(packed)
    assert len(packed.pieces) == 8
    assert len(rows) == len(index["rows"]) == 2 * 3 * len(POLICIES)
    for (*_, policy, _), row in zip(index["rows"], rows, strict=True):
        name = index["policies"][policy]
        assert row["waits"] == (int(name.removeprefix("wait_")) if "wait" in name else 0)


def test_first_samples_are_one_item_of_the_trained_model_at_budgets_spread_evenly(
    tmp_path: Path,
) -> None:
    index = json.loads(pack(tmp_path, rows_per_piece=100).index)

    first = [index["rows"][row] for row in index["first"]]
    assert {tuple(row[:3]) for row in first} == {(0, 0, 0)}
    assert {index["models"][row[3]] for row in first} == {"trained"}
    assert [index["policies"][row[4]] for row in first] == [
        "cap_0",
        "cap_16",
        "cap_48",
        "natural",
        "wait_4",
    ]


def test_names_keep_the_order_given(tmp_path: Path) -> None:
    assert json.loads(pack(tmp_path, rows_per_piece=100).index)["policies"] == NAMES


def test_packing_is_the_same_every_time(tmp_path: Path) -> None:
    assert pack(tmp_path, rows_per_piece=9) == pack(tmp_path, rows_per_piece=9)


def test_encoded_json_holds_nothing_that_ends_a_script() -> None:
    hostile = {"</script><script>alert(1)</script>": "<!-- & ]]> \u2028"}

    text = encode_for_script(hostile)

    assert not set("<>&") & set(text)
    assert json.loads(text) == hostile
