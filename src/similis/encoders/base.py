"""What every encoder offers, what it says about cut texts, and the steps they share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from similis.encoders.library.truncation import Truncation
from similis.errors import UserError, did_you_mean

Vectors: TypeAlias = NDArray[np.float32]

#: What one call of an encoder gives: an array of vectors, a sparse matrix, or a list of arrays.
Found = TypeVar("Found")

#: What a model may state: similarities that an index can search as an inner product.
SIMILARITIES = ("cosine", "dot", "euclidean", "snr")

#: Of these, the ones that sentence-transformers has a word for; the others stand under :data:`OWN_SETTING`.
SHARED_SIMILARITIES = ("cosine", "dot", "euclidean")
OWN_SETTING = "similis_similarity"

#: Of heads that give no point (see :mod:`similis.encoders.heads`): read and searched as well, with torch.
HEADS_SIMILARITIES = ("expected_distance", "gaussian_kl", "gaussian_wasserstein", "poincare", "lorentz")

#: Prompt names that mean "this is a document", in the order in which sentence-transformers looks for them.
DOCUMENT_PROMPTS = ("document", "passage", "corpus")

#: The sides that an asymmetric model reads differently; None: the model's default.
TASKS = (None, "query", "document")


@runtime_checkable
class Encoder(Protocol):
    """Texts to vectors. The vector of a text depends on neither the batch size nor the other texts."""

    @property
    def dimension(self) -> int: ...

    @property
    def similarity_name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def prompts(self) -> Mapping[str, str]: ...

    @property
    def last_truncation(self) -> Truncation: ...

    def encode(
        self,
        texts: str | Sequence[str],
        *,
        batch_size: int = 32,
        prompt_name: str | None = None,
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        threads: int | None = None,
        show_progress_bar: bool = False,
    ) -> Vectors: ...

    def encode_query(self, texts: str | Sequence[str], **options: Any) -> Vectors: ...

    def encode_document(self, texts: str | Sequence[str], **options: Any) -> Vectors: ...

    def encode_stream(
        self,
        texts: Iterable[str],
        batch_size: int = 32,
        *,
        prompt_name: str | None = None,
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        threads: int | None = None,
    ) -> Iterator[Vectors]: ...

    def save(self, folder: str | Path) -> None: ...


@dataclass(frozen=True)
class Options:
    """The checked options of one ``encode`` call; ``task`` is the side an asymmetric model reads the texts as."""

    batch_size: int
    prompt: str
    normalize: bool | None
    truncate_dim: int | None
    threads: int | None
    progress: bool
    task: str | None = None


class TextEncoder(Generic[Found]):
    """The part of :class:`Encoder` that is the same for all: options, prompts, streams, the report.

    A subclass sets ``family``, ``prompts``, ``default_prompt_name`` and ``similarity_name`` and defines ``dimension``,
    ``normalizes`` (its last step is a normalisation) and ``_encode``.
    """

    family = "dense"
    prompts: dict[str, str]
    default_prompt_name: str | None
    similarity_name: str

    def __init__(self) -> None:
        self._truncation = Truncation()

    @property
    def last_truncation(self) -> Truncation:
        """What the latest ``encode`` (or finished ``encode_stream``) left unread."""
        return self._truncation

    @property
    def dimension(self) -> int:
        raise AttributeError("dimension")

    @property
    def normalizes(self) -> bool:
        raise AttributeError("normalizes")

    def _encode(self, texts: list[str], options: Options) -> tuple[Found, Truncation]:
        raise AttributeError("_encode")

    def encode(
        self,
        texts: str | Sequence[str],
        *,
        batch_size: int = 32,
        prompt_name: str | None = None,
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        threads: int | None = None,
        show_progress_bar: bool = False,
        task: str | None = None,
    ) -> Found:
        """Encode texts to float32 ``[n, d]``; a single string gives ``[d]``.

        Args:
            texts: one text or a list; an empty list gives ``[0, d]``.
            batch_size: texts encoded together; bounds memory, never changes a vector.
            prompt_name: a prompt saved with the model, put before each text.
            normalize: True: L2-normalise; False: leave out the model's own normalisation; None: as the
                model does, after ``truncate_dim`` too.
            truncate_dim: keep the first so many coordinates (Matryoshka models).
            threads: processor threads to use; None leaves it to the libraries.
            show_progress_bar: on stderr, on a terminal only.
            task: ``query`` or ``document``, where a model reads them differently.

        Raises:
            UserError: a text is not a string, an unknown prompt, or an option out of range.
        """
        options = self._options(batch_size, prompt_name, normalize, truncate_dim, threads, show_progress_bar, task)
        rows = checked_texts(texts)
        found, self._truncation = self._encode(rows, options)
        self._truncation.report()
        return cast(Found, cast(Any, found)[0]) if isinstance(texts, str) else found

    def encode_query(self, texts: str | Sequence[str], **options: Any) -> Found:
        """Encode with the prompt called ``query``, where the model has one; else as :meth:`encode`."""
        options.setdefault("task", "query")
        if options.get("prompt_name") is None and "query" in self.prompts:
            options["prompt_name"] = "query"
        return self.encode(texts, **options)

    def encode_document(self, texts: str | Sequence[str], **options: Any) -> Found:
        """Encode with the prompt called ``document``, ``passage`` or ``corpus``, where the model has one."""
        options.setdefault("task", "document")
        if options.get("prompt_name") is None:
            options["prompt_name"] = next((p for p in DOCUMENT_PROMPTS if p in self.prompts), None)
        return self.encode(texts, **options)

    def encode_stream(
        self,
        texts: Iterable[str],
        batch_size: int = 32,
        *,
        prompt_name: str | None = None,
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        threads: int | None = None,
        task: str | None = None,
    ) -> Iterator[Found]:
        """Yield float32 ``[<= batch_size, d]`` in the order of ``texts``, holding a few batches at a time.

        The report on cut texts comes once, when the stream ends.
        """
        options = self._options(batch_size, prompt_name, normalize, truncate_dim, threads, False, task)
        source, seen = iter(texts), Truncation()
        # several batches are read at once so that texts of one length can share a batch
        while window := list(islice(source, batch_size * 16)):
            found, cut = self._encode(checked_texts(window), options)
            seen = seen + cut
            for start in range(0, len(window), batch_size):
                yield cast(Any, found)[start : start + batch_size]
        self._truncation = seen
        seen.report()

    def _options(
        self,
        batch_size: int,
        prompt_name: str | None,
        normalize: bool | None,
        truncate_dim: int | None,
        threads: int | None,
        progress: bool,
        task: str | None = None,
    ) -> Options:
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1, got {batch_size}")
        if threads is not None and threads < 1:
            raise UserError(f"threads must be at least 1, got {threads}")
        if truncate_dim is not None and not 1 <= truncate_dim <= self.dimension:
            raise UserError(f"truncate_dim must lie between 1 and {self.dimension}, got {truncate_dim}")
        if task not in TASKS:
            raise UserError(f"task must be query or document, not {task!r}{did_you_mean(str(task), TASKS[1:])}")
        return Options(batch_size, self._prompt(prompt_name), normalize, truncate_dim, threads, progress, task)

    def _prompt(self, name: str | None) -> str:
        if name is None:
            name = self.default_prompt_name
            return self.prompts.get(name, "") if name else ""
        if name not in self.prompts:
            known = ", ".join(self.prompts) or "none"
            raise UserError(
                f"the model has no prompt called {name!r}{did_you_mean(name, self.prompts)} (it has {known})"
            )
        return self.prompts[name]

    def _finish(self, vectors: Vectors, options: Options) -> Vectors:
        """Apply ``truncate_dim`` and the normalisation to raw vectors ``[n, d]``."""
        if options.truncate_dim is not None:
            vectors = np.ascontiguousarray(vectors[:, : options.truncate_dim])
        wanted = self.normalizes if options.normalize is None else options.normalize
        return unit_rows(vectors) if wanted else vectors


def checked_texts(texts: str | Sequence[str]) -> list[str]:
    """The texts as a list.

    Raises:
        UserError: an element is not a string; the message counts from 1.
    """
    rows = [texts] if isinstance(texts, str) else list(texts)
    for number, text in enumerate(rows, 1):
        if not isinstance(text, str):
            raise UserError(f"text {number} is a {type(text).__name__}, not a string")
    return rows


def unit_rows(vectors: Vectors) -> Vectors:
    """Rows ``[n, d]`` divided by their length, at least 1e-12 as torch's normalize has it; zero stays zero."""
    # einsum sums each row by itself, so a row's bits do not depend on how many rows there are
    norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    return np.asarray(vectors / np.maximum(norms, 1e-12)[:, None], dtype=np.float32)


def stated_similarity(settings: Mapping[str, Any]) -> str:
    """The similarity that a model's ``config_sentence_transformers.json`` states."""
    return checked_similarity(settings.get(OWN_SETTING) or settings.get("similarity_fn_name"))


def similarity_settings(name: str) -> dict[str, str | None]:
    """A similarity as ``config_sentence_transformers.json`` states it."""
    if name in SHARED_SIMILARITIES:
        return {"similarity_fn_name": name}
    return {"similarity_fn_name": None, OWN_SETTING: name}


def checked_similarity(name: str | None) -> str:
    """The similarity a model states, ``cosine`` where it states none (the ecosystem's convention).

    Raises:
        UserError: a similarity that has no reduction to an inner product here.
    """
    if name is None:
        return "cosine"
    if name in SIMILARITIES or _reduces(name):
        return name
    raise UserError(
        f"the model's similarity is {name!r}; similis reads {', '.join(SIMILARITIES)} and those of heads"
        f"{did_you_mean(name, SIMILARITIES)}"
    )


def _reduces(text: str) -> bool:
    """Whether the text is of a similarity that a head states: one that an index searches as an inner product."""
    if text.partition("(")[0] not in HEADS_SIMILARITIES:
        return False  # others would load torch only to be refused
    from similis.similarity import build

    return build(text).reduces
