"""Manifests: whatever is torn or flipped is noticed, and what drifted is named."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s1ray.training.checkpoints.commit import (
    MANIFEST_FILE,
    CheckpointKind,
    check_drift,
    find_damage,
    read_manifest,
)
from tests.training.checkpoints.commits import IDENTITY, commit, make_manifest


def test_manifest_round_trips(tmp_path: Path) -> None:
    checkpoint = commit(tmp_path, step=7, kind=CheckpointKind.PERMANENT)
    expected = make_manifest(checkpoint, step=7, kind=CheckpointKind.PERMANENT)
    assert read_manifest(checkpoint) == expected
    assert find_damage(checkpoint, num_threads=2) is None
    assert [path.name for path in checkpoint.glob("*.draft")] == []


@settings(max_examples=60)
@given(data=st.data())
def test_manifest_torn_or_flipped_anywhere_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    checkpoint = commit(tmp_path_factory.mktemp("torn"), step=7)
    path = checkpoint / MANIFEST_FILE
    whole = path.read_bytes()
    if data.draw(st.booleans()):
        broken = whole[: data.draw(st.integers(0, len(whole) - 2))]
    else:
        at, bit = data.draw(st.integers(0, len(whole) - 2)), data.draw(st.integers(0, 7))
        broken = whole[:at] + bytes([whole[at] ^ (1 << bit)]) + whole[at + 1 :]
    path.write_bytes(broken)
    damage = find_damage(checkpoint, num_threads=1)
    if damage is None:  # a flip between two kinds of white space says the same
        assert json.loads(broken) == json.loads(whole)
    else:
        assert MANIFEST_FILE in damage


def test_manifest_of_another_format_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = commit(tmp_path, step=1)
    monkeypatch.setattr("s1ray.training.checkpoints.commit.FORMAT_VERSION", 2)
    with pytest.raises(ValueError, match=r"has format 1; this version reads 2. Resume with the v"):
        read_manifest(checkpoint)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "d2"}, r"data is d2 and was d1.*allow_drift=\[data\]"),
        ({"learning_rate": "0.1", "data": "x"}, r"allow_drift=\[data,learning_rate\]"),
        ({"chat_template": "c"}, r"chat_template is c and was None"),
    ],
)
def test_drift_is_refused_by_name(tmp_path: Path, change: dict[str, str], message: str) -> None:
    manifest = read_manifest(commit(tmp_path, step=1))
    with pytest.raises(ValueError, match=message):
        check_drift(manifest, identity=IDENTITY | change, allow_drift=())
    check_drift(manifest, identity=IDENTITY | change, allow_drift=tuple(change))
    check_drift(manifest, identity=IDENTITY, allow_drift=())


def test_drift_allowed_for_an_unknown_name_is_refused(tmp_path: Path) -> None:
    manifest = read_manifest(commit(tmp_path, step=1))
    with pytest.raises(ValueError, match=r"allow_drift names lr. Legal: data, learning_rate, tok"):
        check_drift(manifest, identity=IDENTITY, allow_drift=("lr",))
