r"""Token ids that come one after the other, as text: pieces that add up to the text of all.

A token may hold a part of a character, so that it has no text before its neighbours come. It knows
a tokenizer, and that decoding a few ids more than the last does not change the text before.
"""

from s1ray.chat_format import Tokenizer, decode

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"


class TextStream:
    """Decodes a growing list of ids in windows, so that every id is decoded a few times at most."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._window = 0
        """Where the ids begin whose text shows how the next ones join on."""
        self._num_read = 0
        """Ids whose text was given out."""

    def add(self, token_ids: tuple[int, ...]) -> str:
        """Return the new text, empty while a character is unfinished."""
        self._ids.extend(token_ids)
        known = decode(self._tokenizer, self._ids[self._window : self._num_read])
        text = decode(self._tokenizer, self._ids[self._window :])
        if text.endswith(_UNFINISHED):
            return ""
        self._window, self._num_read = self._num_read, len(self._ids)
        return text[len(known) :]

    def finish(self) -> str:
        """Return what is left, be it the beginning of a character."""
        known = decode(self._tokenizer, self._ids[self._window : self._num_read])
        text = decode(self._tokenizer, self._ids[self._window :])
        self._num_read = len(self._ids)
        return text[len(known) :]
