"""Domains without any model: questions grouped by the words they use.

A question becomes a short vector of its informative words, and spherical k-means groups the
vectors. All vectors and centres are whole numbers small enough that their products add up exactly
in float32, so that the groups are the same on any machine, in whatever order sums are taken.
It knows texts, not pools.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from s1ray.config.curation import ClustersDiversityConfig
from s1ray.curation.screening.words import split_words

_SCALE = 127.0
"""Length of a vector: products of two stay far below 2^24, where float32 is exact."""
_NAME_WORDS = 3
_CHUNK = 4096
"""Texts embedded at once; bounds memory and changes nothing else."""

Vectors = NDArray[np.float32]


def group_texts(texts: Sequence[str], *, rules: ClustersDiversityConfig) -> list[str]:
    """Return each text's group, named by its most telling words.

    Raises:
        ValueError: Fewer texts than groups, or fewer that differ in their words.
    """
    if len(texts) < rules.num_clusters:
        raise ValueError(
            f"diversity.num_clusters={rules.num_clusters} groups cannot be made of {len(texts)} "
            "questions. Lower diversity.num_clusters, or set diversity=source."
        )
    weights = weigh_words(texts, rules=rules)
    vectors = _embed(texts, weights=weights, rules=rules)
    members = _assign(vectors, _find_centres(vectors, rules=rules))
    names = _name_groups(texts, members=members, words=weights.keys(), rules=rules)
    return [names[int(member)] for member in members]


def weigh_words(texts: Iterable[str], *, rules: ClustersDiversityConfig) -> dict[str, int]:
    """Return the informative words with whole-number weights: rarer is heavier."""
    counts: Counter[str] = Counter()
    num_texts = 0
    for text in texts:
        counts.update(_list_letters(text, min_letters=rules.min_letters))
        num_texts += 1
    return {
        word: (num_texts // count).bit_length()
        for word, count in counts.items()
        if rules.min_questions <= count <= rules.max_fraction * num_texts
    }


def _list_letters(text: str, *, min_letters: int) -> set[str]:
    return {word for word in split_words(text) if word.isalpha() and len(word) >= min_letters}


def _embed(
    texts: Sequence[str], *, weights: Mapping[str, int], rules: ClustersDiversityConfig
) -> Vectors:
    places = {word: _hash_word(word, rules.num_dimensions) for word in weights}
    return np.vstack(
        [
            _round_length(_add_words(texts[start : start + _CHUNK], weights, places, rules=rules))
            for start in range(0, len(texts), _CHUNK)
        ]
    )


def _add_words(
    texts: Sequence[str],
    weights: Mapping[str, int],
    places: Mapping[str, list[tuple[int, int]]],
    *,
    rules: ClustersDiversityConfig,
) -> NDArray[np.float64]:
    cells: list[int] = []
    values: list[int] = []
    for row, text in enumerate(texts):
        for word in _list_letters(text, min_letters=rules.min_letters):
            for place, sign in places.get(word, ()):
                cells.append(row * rules.num_dimensions + place)
                values.append(sign * weights[word])
    size = len(texts) * rules.num_dimensions
    sums = np.bincount(
        np.asarray(cells, dtype=np.intp), weights=np.asarray(values, np.float64), minlength=size
    )
    return np.asarray(sums.reshape(len(texts), rules.num_dimensions), dtype=np.float64)


def _hash_word(word: str, num_dimensions: int) -> list[tuple[int, int]]:
    """Return a few dimensions with signs: two words seldom share more than one."""
    digest = hashlib.sha256(word.encode()).digest()
    pieces = (int.from_bytes(digest[start : start + 4], "big") for start in range(0, 16, 4))
    return [((piece >> 1) % num_dimensions, 1 if piece & 1 else -1) for piece in pieces]


def _round_length(sums: NDArray[np.float64]) -> Vectors:
    """Scale each vector to the same length and round; sums of whole numbers are exact."""
    squares = np.maximum((sums * sums).sum(axis=1, keepdims=True), 1.0)
    return np.asarray(np.rint(sums * _SCALE / np.sqrt(squares)), dtype=np.float32)


def _find_centres(vectors: Vectors, *, rules: ClustersDiversityConfig) -> Vectors:
    centres = _pick_first(vectors, rules=rules)
    for _ in range(rules.num_rounds):
        members = _assign(vectors, centres)
        moved = np.vstack(
            [
                _round_length(vectors[members == number].sum(axis=0, dtype=np.float64)[None, :])
                if np.any(members == number)
                else centres[number : number + 1]
                for number in range(len(centres))
            ]
        )
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def _pick_first(vectors: Vectors, *, rules: ClustersDiversityConfig) -> Vectors:
    """Pick centres far from one another: k-means++ on whole-number distances."""
    rng = np.random.default_rng(rules.seed)
    chosen = [int(rng.random() * len(vectors))]
    squares = _SCALE * _SCALE
    nearest = vectors @ vectors[chosen[0]]
    while len(chosen) < rules.num_clusters:
        distances = np.maximum(squares - nearest, 0.0).astype(np.int64)
        cumulative = np.cumsum(distances)
        if not cumulative[-1]:
            raise ValueError(
                f"diversity.num_clusters={rules.num_clusters} groups cannot be made of "
                f"{len(vectors)} questions, for their words tell only {len(chosen)} kinds apart. "
                f"Lower diversity.num_clusters to at most {len(chosen)}, or set diversity=source."
            )
        target = int(rng.random() * int(cumulative[-1]))
        chosen.append(int(np.searchsorted(cumulative, target, side="right")))
        nearest = np.maximum(nearest, vectors @ vectors[chosen[-1]])
    return vectors[chosen]


def _assign(vectors: Vectors, centres: Vectors) -> NDArray[np.intp]:
    return np.asarray(np.argmax(vectors @ centres.T, axis=1), dtype=np.intp)


def _name_groups(
    texts: Sequence[str],
    *,
    members: NDArray[np.intp],
    words: Collection[str],
    rules: ClustersDiversityConfig,
) -> list[str]:
    counts = [Counter[str]() for _ in range(rules.num_clusters)]
    for text, member in zip(texts, members, strict=True):
        found = _list_letters(text, min_letters=rules.min_letters)
        counts[int(member)].update(word for word in found if word in words)
    totals = sum(counts, Counter[str]())
    return [
        " ".join([f"{number:02d}", *_rank_words(count, totals)[:_NAME_WORDS]])
        for number, count in enumerate(counts)
    ]


def _rank_words(counts: Counter[str], totals: Counter[str]) -> list[str]:
    """Return a group's words, those that are both frequent in it and rare elsewhere first."""
    return sorted(counts, key=lambda word: (-(counts[word] ** 2) / totals[word], word))
