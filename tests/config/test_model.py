"""The model section: fields that do not fit one another are refused."""

import pydantic
import pytest

from tests.fakes import read_model_config, tiny_shape


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
