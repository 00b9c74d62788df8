"""Texts as index terms: words, stop words, stems; Chinese, Japanese and Korean as overlapping character pairs."""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from similis.errors import UserError, did_you_mean

_WORD = re.compile(r"(?u)\b\w\w+\b")
#: Han, kana and Hangul, and the full-width forms that are folded to plain ones first.
_CJK = (
    "\u1100-\u11ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f"
)
_WIDE = re.compile(f"[{_CJK}\uff00-\uffef]")
_RUNS = re.compile(f"[{_CJK}]+|[^{_CJK}]+")
_ONE = re.compile(f"[{_CJK}]")

#: Frequent English words that are not words of the neighbouring languages.
_ENGLISH = frozenset(["the", "and", "with", "that", "this", "are", "from", "to", "by", "which"])
#: Share of those words from which a text is taken for English: running prose has 12 to 20%, titles about 5%.
_ENGLISH_SHARE = 0.03
#: How many texts :func:`detect_language` looks at.
_SAMPLE = 2000


@dataclass(frozen=True)
class Analyzer:
    """Text → terms. Without CJK characters the terms are those of ``bm25s.tokenize`` with the same settings.

    Attributes:
        language: a Snowball language whose stemmer is applied, or ``none``.
        stop_words: words left out, lower case, compared before stemming.
    """

    language: str = "none"
    stop_words: frozenset[str] = frozenset()
    _local: threading.local = field(default_factory=threading.local, repr=False, compare=False)

    @classmethod
    def of(cls, language: str) -> Analyzer:
        """The analyzer of a Snowball language with the stop words that bm25s has for it; ``none`` is plain words.

        Raises:
            UserError: no such language.
        """
        if language == "none":
            return cls()
        import Stemmer

        known = [*Stemmer.algorithms(), "none", "auto"]
        if language not in known:
            raise UserError(
                f"language {language!r} is unknown; one of {', '.join(known)}{did_you_mean(language, known)}"
            )
        return cls(language, frozenset(_stop_words(language)))

    def words(self, text: str) -> list[str]:
        """The words of a text in order, stop words included, not stemmed."""
        text = text.lower()
        if text.isascii() or not _WIDE.search(text):
            return _WORD.findall(text)
        return _mixed(unicodedata.normalize("NFKC", text))

    def terms(self, text: str) -> list[str]:
        """The terms of a text in order, repeats kept."""
        return self.stems([word for word in self.words(text) if word not in self.stop_words])

    def stems(self, words: list[str]) -> list[str]:
        """The stem of each word; CJK pairs and unknown languages unchanged."""
        if self.language == "none" or not words:
            return words
        stemmed: list[str] = self._stemmer().stemWords(words)
        return stemmed

    def _stemmer(self) -> Any:
        # A Snowball stemmer has state, so each thread has its own.
        if not hasattr(self._local, "stemmer"):
            import Stemmer

            self._local.stemmer = Stemmer.Stemmer(self.language)
        return self._local.stemmer


def detect_language(texts: Iterable[str]) -> str:
    """``english`` where the first texts look English, else ``none`` (neither stop words nor stems)."""
    words = [word for text in islice(texts, _SAMPLE) for word in _WORD.findall(text[:2000].lower())]
    english = sum(word in _ENGLISH for word in words)
    return "english" if words and english >= _ENGLISH_SHARE * len(words) else "none"


def _stop_words(language: str) -> Sequence[str]:
    from bm25s import stopwords

    name = "EN" if language == "english" else language.upper()
    found: Sequence[str] = getattr(stopwords, f"STOPWORDS_{name}", ())
    return found


def _mixed(text: str) -> list[str]:
    """Words of a text with CJK characters: each run of these becomes its overlapping pairs, a lone one itself."""
    words: list[str] = []
    for word in re.findall(r"\w+", text):
        for run in _RUNS.findall(word):
            if _ONE.match(run):
                words.extend(run[i : i + 2] for i in range(max(1, len(run) - 1)))
            elif len(run) > 1:
                words.append(run)
    return words
