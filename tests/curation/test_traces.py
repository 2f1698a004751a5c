from pathlib import Path

import pytest

from s1ray.curation.traces import read_traces


def test_traces_that_cannot_be_read_name_the_key_and_what_a_line_needs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.jsonl'\. Set traces, .* one JSON object a line"):
        read_traces(tmp_path / "none.jsonl")
