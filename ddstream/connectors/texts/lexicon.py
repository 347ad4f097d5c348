"""The lexicon: what was learned from texts, as files of a repository, and the encoder they make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

import orjson

from ddstream.api.txt import TextInput
from ddstream.connectors.texts import bags, pieces
from ddstream.connectors.texts.bags import Bag
from ddstream.connectors.texts.characters import Characters
from ddstream.connectors.texts.tokens import Tokens
from ddstream.connectors.texts.vocabulary import COMMA, TAB, VOCABULARY, TokenKind, Vocabulary
from ddstream.errors import InputError

TEXT, COUNTS = "txt.json", "word_counts.json"
SHAPING: Final = (
    "lower_case",
    "count",
    "tfidf",
    "min_count",
    "min_word_length",
    "characters",
    "alphabet",
    "sequence",
    "read_forward",
    "embedding",
    "ordered_words",
    "wordpiece_tokens",
    "punctuation_tokens",
    "word_start",
    "suffix_start",
)
"""Parameters that samples depend on: what a training was given is the default of predictions."""

Files: TypeAlias = Mapping[str, bytes]
"""What was learned, by the names that the files have in a repository."""
Texts: TypeAlias = Callable[[], Iterable[str]]
"""The training texts, from the first one on at each call."""
TextEncoder: TypeAlias = Bag | Characters | Tokens


def shaping(wanted: TextInput) -> dict[str, Any]:
    """The parameters that samples depend on, as they were given."""
    return {name: getattr(wanted, name) for name in SHAPING if name in wanted.model_fields_set}


def kept_parameters(files: Files) -> dict[str, Any]:
    """What the training was given of the parameters that shape samples; nothing without one."""
    found = _json(files, TEXT).get("parameters")
    return dict(found) if isinstance(found, dict) else {}


def kind_for(template: object) -> TokenKind | None:
    """What the model of a template takes; None without a template: the vocabulary tells."""
    if template == "bert":
        return "bert"
    if template == "gpt2":
        return "gpt2"
    return "words" if template else None


def learn(
    texts: Texts, wanted: TextInput, kind: TokenKind | None, given: bytes | None
) -> dict[str, bytes]:
    """The files that a training leaves behind.

    `given` is the vocabulary of ordered words that the repository has; without one it is learned.
    Raises InputError for a vocabulary that cannot be, or that the kind cannot use.
    """
    files: dict[str, bytes] = {}
    if wanted.mode == "bag":
        vocabulary, counts = bags.learned(texts(), wanted)
        files[VOCABULARY] = vocabulary.file(COMMA)
        files[COUNTS] = orjson.dumps(counts.to_json())
    elif wanted.mode == "tokens":
        if given is not None:
            vocabulary = Vocabulary.parse(given, TAB, VOCABULARY)
        else:
            vocabulary = pieces.learned(texts(), wanted, kind or "words")
        kind = kind or vocabulary.kind
        vocabulary.check(kind)
        files[VOCABULARY] = given or vocabulary.file(TAB)
    return {TEXT: orjson.dumps({"kind": kind, "parameters": shaping(wanted)}), **files}


def encoder(wanted: TextInput, files: Files) -> TextEncoder:
    """How texts become samples. Raises InputError where the vocabulary is missing or broken."""
    if wanted.mode == "characters":
        return Characters.of(wanted)
    content = files.get(VOCABULARY)
    if content is None:
        raise InputError(f"the repository has no {VOCABULARY}: a training makes one")
    if wanted.mode == "bag":
        vocabulary = Vocabulary.parse(content, COMMA, VOCABULARY)
        return bags.from_files(wanted, vocabulary, _json(files, COUNTS) or None)
    vocabulary = Vocabulary.parse(content, TAB, VOCABULARY)
    kind = kind_for(_json(files, TEXT).get("kind")) or vocabulary.kind
    vocabulary.check(kind)
    return Tokens(vocabulary, kind, wanted)


def _json(files: Files, name: str) -> dict[str, Any]:
    try:
        found = orjson.loads(files.get(name, b"{}"))
    except orjson.JSONDecodeError as error:
        raise InputError(f"{name} of the repository cannot be read") from error
    return found if isinstance(found, dict) else {}
