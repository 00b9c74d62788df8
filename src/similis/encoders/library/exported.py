"""Dense transformers that another runtime than torch runs, in float32 or in int8 that is judged first."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import logging
import shutil
import tempfile
import warnings
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from similis.encoders.fast import LEAST_COSINE, Fidelity, fidelity
from similis.encoders.folder import building_model
from similis.encoders.library.dense import SentenceTransformerEncoder
from similis.encoders.library.encoder import EncoderModule
from similis.errors import UserError, did_you_mean
from similis.files import read_json, write_json
from similis.progress import note

PRECISIONS = ("float32", "int8")
#: The lowest share of ten nearest neighbours kept at which int8 is given out, beside the cosine of :mod:`fast`.
LEAST_NEIGHBOURS = 0.9
#: The lowest mean cosine at which float32 counts as the same model; rounding leaves 1 - 1e-6.
LEAST_EXACT = 0.9999
#: Texts that int8 needs: half of them calibrate it, by the other half it is judged; and the most that are read.
_FEWEST, _MOST = 24, 600
#: Texts that are drawn where float32 is judged and none are given, and the most tokens of one.
_DRAWN, _LONGEST = 16, 16


class Backend(ABC):
    """A runtime: how it is asked for, what it writes, and how that is run.

    Attributes:
        name: what ``load(backend=...)`` calls it; also the extra that installs it, and the folder of what it writes.
        title: what sentences call it.
        main: the file of that folder by which it is known to be there.
        files: those files of it that belong to the model, as a pattern.
    """

    name: str
    title: str
    main: str
    files: str

    @abstractmethod
    def require(self) -> None:
        """Raise MissingExtraError where what runs a model is not installed."""

    @abstractmethod
    def export(self, first: Any, folder: Path, texts: list[str] | None) -> None:
        """Write the library's transformer under ``folder / name``: float32, or int8 where there are texts for it."""

    @abstractmethod
    def step(self, first: Any, folder: Path, threads: int | None) -> Any:
        """A step that does what ``first`` does, run from what lies under ``folder / name``."""


class ExportedEncoder(SentenceTransformerEncoder):
    """A dense transformer that a runtime other than torch runs; see :func:`exported`.

    Args:
        original: the encoder in float32 by torch; kept as it is, for training and for comparing.
        backend: the runtime.
        home: a folder in which the runtime's own holds what was exported.
        precision: ``float32`` or ``int8``.
        threads: of the processor; None: all.
    """

    def __init__(
        self, original: SentenceTransformerEncoder, backend: Backend, home: Path, precision: str, threads: int | None
    ) -> None:
        from sentence_transformers import SentenceTransformer

        old = original.model
        first, *others = old.children()
        model = SentenceTransformer(
            modules=[backend.step(first, home, threads), *copy.deepcopy(others)],
            prompts=dict(old.prompts),
            default_prompt_name=old.default_prompt_name,
            similarity_fn_name=old.similarity_fn_name,
            device="cpu",
        )
        super().__init__(model)
        self.original, self.backend, self.precision = original, backend, precision
        #: How near its vectors are to the original's; None where nothing was compared.
        self.fidelity: Fidelity | None = None
        self.similarity_name = original.similarity_name
        self._home = home / backend.name

    @property
    def fingerprint(self) -> str:
        """32 hex digits: of the original, the runtime, the precision, and what was exported."""
        digest = hashlib.sha256(f"{self.backend.name} {self.precision} {self.original.fingerprint}".encode())
        for file in self._files():
            digest.update(f" {file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}".encode())
        return digest.hexdigest()[:32]

    @property
    def module(self) -> EncoderModule:
        """The model by torch: what is trained is the original."""
        return self.original.module

    def save(self, folder: str | Path) -> None:
        """Write the original, and beside it what was exported: ``load(folder, backend=...)`` reads that."""
        with building_model(folder) as aside:
            self.original.save(aside)
            (aside / self.backend.name).mkdir()
            for file in self._files():
                shutil.copy2(file, aside / self.backend.name)
            told = None if self.fidelity is None else asdict(self.fidelity)
            record = {"precision": self.precision, "original": self.original.fingerprint, "fidelity": told}
            write_json(aside / _record(self.backend), record)

    def _files(self) -> list[Path]:
        return sorted(file for file in self._home.glob(self.backend.files) if file.is_file())


def exported(
    encoder: Any,
    backend: Backend,
    precision: str = "float32",
    texts: Sequence[str] | None = None,
    *,
    threads: int | None = None,
    least_neighbours: float = LEAST_NEIGHBOURS,
    force: bool = False,
) -> ExportedEncoder:
    """The encoder run by another runtime, whose vectors are compared with those of torch in float32.

    ``int8`` is made with one half of ``texts`` (every other one) and compared on the other half: mean cosine and the
    share of ten nearest neighbours that stay are told, and it is refused where the cosine is below 0.99 or the share
    below ``least_neighbours``. ``float32`` is compared on all of ``texts``, or on words drawn from the tokenizer's
    vocabulary where there are none, and refused below a cosine of 0.9999: it should be the same model.

    Args:
        encoder: a dense transformer; its steps after the transformer stay torch's.
        backend: the runtime, the ``BACKEND`` of a module that :data:`similis.encoders.loading.BACKENDS` names.
        precision: ``float32`` or ``int8``.
        texts: of the kind that will be encoded, at least 24; needed for ``int8``, of which 600 are read.
        threads: of the processor; None: all. ``encode(threads=...)`` does not reach the runtime.
        least_neighbours: the share, 0..1.
        force: take it however far it is.

    Raises:
        UserError: no dense transformer, an unknown precision, too few texts, a transformer that cannot be exported,
            or one that is too far from torch's.
        MissingExtraError: the runtime is not installed.
    """
    rows = _sample(texts, precision, backend)
    _check(encoder, backend, threads)
    home = Path(tempfile.mkdtemp(prefix=f"similis-{backend.name}-"))
    try:
        with _quietly():
            backend.export(next(iter(encoder.model.children())), home, rows[::2] if precision == "int8" else None)
            made = ExportedEncoder(encoder, backend, home, precision, threads)
        _compare(made, rows)
        if not force:
            _refuse(made, least_neighbours)
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise
    weakref.finalize(made, shutil.rmtree, home, True)  # what was exported lives as long as the encoder
    return made


def opened(
    encoder: Any,
    backend: Backend,
    folder: Path,
    precision: str,
    texts: Sequence[str] | None,
    threads: int | None = None,
    force: bool = False,
) -> ExportedEncoder:
    """The encoder of a folder, run by what lies in it for these weights and this precision, or exported anew.

    What :meth:`ExportedEncoder.save` wrote is known by its record. What another program wrote, as lies beside the
    weights of many models on the hub, is taken for float32 if its vectors are those of the weights.
    """
    file = folder / _record(backend)
    record = read_json(file) if file.is_file() else {}
    wanted = isinstance(record, dict) and record.get("precision") == precision
    if wanted and record.get("original") == getattr(encoder, "fingerprint", None):
        _check(encoder, backend, threads)
        with _quietly():
            made = ExportedEncoder(encoder, backend, folder, precision, threads)
        told = record.get("fidelity")
        made.fidelity = Fidelity(**told) if told else None
        return made
    found = None
    if not file.is_file() and precision == "float32" and (folder / backend.name / backend.main).is_file():
        found = _carried(encoder, backend, folder, _sample(texts, precision, backend), threads)
    return found or exported(encoder, backend, precision, texts, threads=threads, force=force)


def _carried(
    encoder: Any, backend: Backend, folder: Path, rows: list[str], threads: int | None
) -> ExportedEncoder | None:
    """The encoder run by a file that came with the model; None, and told, where that is another model."""
    _check(encoder, backend, threads)
    try:
        with _quietly():
            made = ExportedEncoder(encoder, backend, folder, "float32", threads)
        _compare(made, rows)
        _refuse(made, LEAST_NEIGHBOURS)
    except Exception as error:  # a runtime raises whatever it likes of a file it cannot run
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        note(f"{folder / backend.name / backend.main} is not used, the model is exported anew: {reason}")
        return None
    return made


def _record(backend: Backend) -> str:
    """The file that says of which weights and precision a saved folder's export is."""
    return f"similis_{backend.name}.json"


def _sample(texts: Sequence[str] | None, precision: str, backend: Backend) -> list[str]:
    if precision not in PRECISIONS:
        close = did_you_mean(precision, PRECISIONS)
        raise UserError(f"{backend.title} encodes in {' or '.join(PRECISIONS)}, not {precision!r}{close}")
    rows = [text for text in texts or () if text.strip()][:_MOST]
    if precision == "int8" and len(rows) < _FEWEST:
        raise UserError(
            f"int8 is calibrated and judged on texts of your own: give at least {_FEWEST} by texts, got {len(rows)}"
        )
    return rows


def _check(encoder: Any, backend: Backend, threads: int | None) -> None:
    """Refuse what no runtime but torch can run here."""
    if threads is not None and threads < 1:
        raise UserError(f"threads must be at least 1, got {threads}")
    steps: list[Any] = list(encoder.model.children()) if isinstance(encoder, SentenceTransformerEncoder) else [None]
    if type(steps[0]).__name__ != "Transformer" or isinstance(encoder, ExportedEncoder):
        raise UserError(f"{backend.title} runs dense transformers of one tower; encode with this model by torch")
    if steps[0].auto_model.config.output_hidden_states:
        raise UserError(
            f"{backend.title} gives a transformer's last layer, and this model mixes its layers; encode by torch"
        )
    backend.require()


def _compare(made: ExportedEncoder, rows: list[str]) -> None:
    """Encode both ways: texts that int8 was not made with, or all; drawn ones where none are given."""
    texts = rows[1::2] if made.precision == "int8" else rows or _drawn(made.model[0].tokenizer)
    made.fidelity = fidelity(made.original.encode(texts), made.encode(texts))
    if rows:
        note(f"{made.backend.title} in {made.precision}: {made.fidelity}")


def _drawn(tokenizer: Any) -> list[str]:
    """Texts of 1 to 16 tokens of the vocabulary: another model's vectors of them are others."""
    rng = np.random.default_rng(0)
    rows = [rng.integers(len(tokenizer), size=size).tolist() for size in np.linspace(1, _LONGEST, _DRAWN).astype(int)]
    return [tokenizer.decode(row, skip_special_tokens=True).strip() or "1" for row in rows]


def _refuse(made: ExportedEncoder, least_neighbours: float) -> None:
    found, exact = made.fidelity, made.precision == "float32"
    if found is None:
        return
    least = LEAST_EXACT if exact else LEAST_COSINE
    if found.cosine >= least and (exact or found.neighbours >= least_neighbours):
        return
    asked = f"a cosine of {least}" + ("" if exact else f" and {least_neighbours:.0%} of the nearest")
    raise UserError(
        f"{made.precision} by {made.backend.title} is too far from float32 by torch for this model ({found}); "
        f"at least {asked} is asked for: encode {'by torch' if exact else 'in float32'}, or give force=True"
    )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Exporting tells at length of traces, types and progress, some of it where results are printed."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
