"""Encoding by OpenVINO, in float32 or calibrated int8, through sentence-transformers' own back end."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from similis.encoders.fast import LEAST_COSINE, Fidelity, fidelity
from similis.encoders.folder import building_model
from similis.encoders.library.dense import SentenceTransformerEncoder
from similis.encoders.library.encoder import EncoderModule
from similis.errors import MissingExtraError, UserError, did_you_mean
from similis.files import read_json, write_json
from similis.progress import note

PRECISIONS = ("float32", "int8")
#: The lowest share of ten nearest neighbours kept at which int8 is given out, beside the cosine of :mod:`fast`.
LEAST_NEIGHBOURS = 0.9
#: Texts that int8 needs: half of them calibrate it, by the other half it is judged; and the most that are read.
_FEWEST, _MOST = 24, 600
#: Where a folder keeps what was exported, and what it says of it.
FOLDER, RECORD = "openvino", "similis_openvino.json"


class OpenvinoEncoder(SentenceTransformerEncoder):
    """A dense transformer that OpenVINO runs; see :func:`openvino`.

    Args:
        original: the encoder in float32 by torch; kept as it is, for training and for comparing.
        exported: a folder with the transformer in OpenVINO's form.
        precision: ``float32`` or ``int8``.
        threads: of the processor; None: all.
    """

    def __init__(
        self, original: SentenceTransformerEncoder, exported: Path, precision: str, threads: int | None
    ) -> None:
        from sentence_transformers import SentenceTransformer

        old = original.model
        steps = [_transformer(exported, threads), *list(old.children())[1:]]
        model = SentenceTransformer(
            modules=steps,
            prompts=dict(old.prompts),
            default_prompt_name=old.default_prompt_name,
            similarity_fn_name=old.similarity_fn_name,
            device="cpu",
        )
        super().__init__(model)
        self.original, self.precision = original, precision
        #: How near its vectors are to the original's; None where nothing was compared.
        self.fidelity: Fidelity | None = None
        self.similarity_name = original.similarity_name
        self._exported = exported

    @property
    def fingerprint(self) -> str:
        """32 hex digits: of the original, the precision, and what was exported."""
        weights = (self._exported / FOLDER / "openvino_model.bin").read_bytes()
        said = f"openvino {self.precision} {self.original.fingerprint} {hashlib.sha256(weights).hexdigest()}"
        return hashlib.sha256(said.encode()).hexdigest()[:32]

    @property
    def module(self) -> EncoderModule:
        """The model by torch: what is trained is the original."""
        return self.original.module

    def save(self, folder: str | Path) -> None:
        """Write the original, and beside it what was exported: ``load(folder, backend="openvino")`` reads that."""
        with building_model(folder) as aside:
            self.original.save(aside)
            shutil.copytree(self._exported / FOLDER, aside / FOLDER)
            told = None if self.fidelity is None else asdict(self.fidelity)
            record = {"precision": self.precision, "original": self.original.fingerprint, "fidelity": told}
            write_json(aside / RECORD, record)


def openvino(
    encoder: Any,
    precision: str = "float32",
    texts: Sequence[str] | None = None,
    *,
    threads: int | None = None,
    least_neighbours: float = LEAST_NEIGHBOURS,
    force: bool = False,
) -> OpenvinoEncoder:
    """The encoder run by OpenVINO, which is made for processors.

    ``int8`` is calibrated on half of ``texts`` (every other one) and compared with float32 on the other half: mean
    cosine and the share of ten nearest neighbours that stay are told, and it is refused where the cosine is below
    0.99 or the share below ``least_neighbours``.

    Args:
        encoder: a dense transformer; its steps after the transformer stay torch's.
        precision: ``float32`` or ``int8``.
        texts: of the kind that will be encoded, at least 24; needed for ``int8``, of which 600 are read.
        threads: of the processor; None: all. ``encode(threads=...)`` does not reach OpenVINO.
        least_neighbours: the share, 0..1.
        force: take int8 however far it is.

    Raises:
        UserError: no dense transformer, an unknown precision, too few texts, or int8 that is too far from float32.
        MissingExtraError: OpenVINO is not installed.
    """
    if precision not in PRECISIONS:
        close = did_you_mean(precision, PRECISIONS)
        raise UserError(f"OpenVINO encodes in {' or '.join(PRECISIONS)}, not {precision!r}{close}")
    rows = _sample(texts, precision)
    _check(encoder)
    exported = Path(tempfile.mkdtemp(prefix="similis-openvino-"))
    try:
        first = next(iter(encoder.model.children()))
        with _quietly():
            _export(first, exported, rows[::2] if precision == "int8" else None)
            made = OpenvinoEncoder(encoder, exported, precision, threads)
        if rows:
            made.fidelity = fidelity(encoder.encode(rows[1::2]), made.encode(rows[1::2]))
            note(f"OpenVINO in {precision}: {made.fidelity}")
        if not force:
            _refuse(made, least_neighbours)
    except BaseException:
        shutil.rmtree(exported, ignore_errors=True)
        raise
    weakref.finalize(made, shutil.rmtree, exported, True)  # what was exported lives as long as the encoder
    return made


def opened(
    encoder: Any,
    folder: Path,
    precision: str,
    texts: Sequence[str] | None,
    threads: int | None = None,
    force: bool = False,
) -> OpenvinoEncoder:
    """The encoder of a folder, run by what was exported into it for these weights and this precision, or anew."""
    record = read_json(folder / RECORD) if (folder / RECORD).is_file() else {}
    wanted = isinstance(record, dict) and record.get("precision") == precision
    if not wanted or record.get("original") != getattr(encoder, "fingerprint", None):
        return openvino(encoder, precision, texts, threads=threads, force=force)
    _check(encoder)
    with _quietly():
        made = OpenvinoEncoder(encoder, folder, precision, threads)
    told = record.get("fidelity")
    made.fidelity = Fidelity(**told) if told else None
    return made


def _sample(texts: Sequence[str] | None, precision: str) -> list[str]:
    rows = [text for text in texts or () if text.strip()][:_MOST]
    if precision == "int8" and len(rows) < _FEWEST:
        raise UserError(
            f"int8 is calibrated and judged on texts of your own: give at least {_FEWEST} by texts, got {len(rows)}"
        )
    return rows


def _check(encoder: Any) -> None:
    """Refuse what OpenVINO cannot run here."""
    steps: list[Any] = list(encoder.model.children()) if isinstance(encoder, SentenceTransformerEncoder) else [None]
    if type(steps[0]).__name__ != "Transformer" or isinstance(encoder, OpenvinoEncoder):
        raise UserError("OpenVINO runs dense transformers of one tower; encode with this model by torch")
    if steps[0].auto_model.config.output_hidden_states:
        raise UserError("OpenVINO gives a transformer's last layer, and this model mixes its layers; encode by torch")
    try:
        import optimum.intel.openvino  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("backend='openvino'", "openvino") from error


def _transformer(exported: Path, threads: int | None) -> Any:
    """The library's transformer of an exported folder; sums are in float32 where the weights are."""
    from sentence_transformers.base.modules import Transformer

    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    given = {"trust_remote_code": False, "local_files_only": True}
    own = {**given, "ov_config": settings, "file_name": "openvino_model.xml", "export": False}
    return Transformer.load(str(exported), backend="openvino", model_kwargs=own, config_kwargs=given)


def _export(first: Any, exported: Path, texts: list[str] | None) -> None:
    """Write a transformer in OpenVINO's form into a folder, in int8 where there are texts to calibrate it on."""
    from optimum.intel.openvino import OVConfig, OVModelForFeatureExtraction, OVQuantizationConfig, OVQuantizer

    first.save(str(exported))
    model = OVModelForFeatureExtraction.from_pretrained(exported, export=True, local_files_only=True, compile=False)
    if texts is None:
        model.save_pretrained(exported / FOLDER)
        return
    from datasets import Dataset

    tokens = first.tokenizer(texts, truncation=True)
    settings = OVConfig(quantization_config=OVQuantizationConfig(num_samples=len(texts)))
    with tempfile.TemporaryDirectory() as aside:
        OVQuantizer.from_pretrained(model).quantize(
            Dataset.from_dict(dict(tokens)), save_directory=aside, ov_config=settings
        )
        found = next(Path(aside).rglob("openvino_model.xml")).parent
        shutil.copytree(found, exported / FOLDER)


def _refuse(made: OpenvinoEncoder, least_neighbours: float) -> None:
    found = made.fidelity
    if found is None or made.precision == "float32":
        return
    near = found.neighbours
    if found.cosine < LEAST_COSINE or near < least_neighbours:
        raise UserError(
            f"int8 is too far from float32 for this model ({found}); at least a cosine of {LEAST_COSINE} and "
            f"{least_neighbours:.0%} of the nearest are asked for: encode in float32, or give force=True"
        )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Exporting tells at length of traces and types."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
