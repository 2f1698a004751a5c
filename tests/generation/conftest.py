import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from tests.reference_data import find_reference


@pytest.fixture(scope="session")
def qwen_tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(find_reference("qwen2_5_tokenizer"))
