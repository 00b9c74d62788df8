"""What a user calls first: load, fit, evaluate. Thin: each composes the layers below and adds nothing to them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from similis.errors import UserError
from similis.judging import evaluate, evaluate_run_file, evaluate_scores_file, evaluate_vectors_file

if TYPE_CHECKING:
    from torch import nn

    from similis.comparing import Comparison
    from similis.encoders import Encoder
    from similis.encoders.fast import Fidelity
    from similis.training import Fitted, Rates

__all__ = [
    "compare",
    "encode_file",
    "evaluate",
    "evaluate_run_file",
    "evaluate_scores_file",
    "evaluate_vectors_file",
    "find_rate",
    "fit",
    "fit_to_folder",
    "load",
]

#: First texts of a file on which a faster precision is compared with float32, and those another runtime is judged on.
_COMPARED, _JUDGED = 64, 256


def load(
    model: str | Path,
    *,
    precision: str = "float32",
    module: nn.Module | None = None,
    backend: str = "torch",
    **options: Any,
) -> Encoder:
    """Load an encoder: a folder in sentence-transformers' format or of a model of arrays, or a name on the hub.

    Args:
        model: the folder or name.
        precision: ``bfloat16`` encodes about twice as fast on processors made for it, with vectors a little off;
            ``auto`` takes it where it helps. See :func:`similis.encoders.fast.fast`.
        module: an instance of your own, for a model of arrays that was saved from one.
        backend: ``torch``, or ``openvino`` or ``onnx`` in ``float32`` or ``int8`` (optional parts); ``options`` are
            then ``texts``, ``threads`` and ``force``, see :func:`similis.encoders.library.exported.exported`.

    Raises:
        UserError: it is not there, incomplete, or of another family; the sentence says which.
    """
    from similis.encoders import load as load_encoder

    if backend != "torch":
        return cast("Encoder", load_encoder(model, backend=backend, precision=precision, **options))
    encoder = load_encoder(model, module=module, **options)
    if precision == "float32":
        return cast("Encoder", encoder)
    from similis.encoders.fast import fast

    return cast("Encoder", fast(encoder, precision))


def fit(data: Any, **options: Any) -> Encoder:
    """Learn a similarity from examples and return the encoder; see :func:`similis.training.fit` for the options.

    Rows of an array are learnt from with ``labels``, ``pairs`` or ``triplets``: see
    :mod:`similis.training.arrays`.
    """
    from similis.training import fit as fit_encoder

    return fit_encoder(data, **options)


def fit_to_folder(data: Any, output: Path, **options: Any) -> Fitted:
    """As :func:`fit`, saved in ``output``, and returns how it came about."""
    from similis.training import train

    return train(data, output=output, **options)


def find_rate(data: Any, **options: Any) -> Rates:
    """What learning rate a run can bear; see :func:`similis.training.range_test` for the options."""
    from similis.training import range_test

    return range_test(data, **options)


def compare(data: Any, **options: Any) -> Comparison:
    """Find the objective that is best on data, within a budget, and how certain that is.

    See :func:`similis.comparing.compare` for the options.
    """
    from similis.comparing import compare as compare_objectives

    return compare_objectives(data, **options)


def encode_file(
    model: str | Path,
    texts: Path,
    output: Path,
    *,
    batch_size: int = 32,
    queries: bool = False,
    precision: str = "float32",
    backend: str = "torch",
    threads: int | None = None,
    half: bool = False,
) -> dict[str, Any]:
    """Encode a corpus file into ``output``, an ``.npy`` ``[n, d]``; ids go beside it, one a line.

    Texts are read twice, once to count and check them and once to encode them, and never held: memory does not
    grow with the file. A run that was killed goes on where it stood when it is started again.

    Args:
        model: a folder or a name on the hub.
        texts: JSONL, CSV, TSV, Parquet, text (one a line), or a BEIR folder.
        output: the ``.npy`` file.
        batch_size: texts encoded together.
        queries: encode as queries, not documents.
        precision: as for :func:`load`; what it costs is measured on the first texts, told and returned.
        backend: as for :func:`load`; ``int8`` is made with the first texts of the file and judged on them.
        threads: of a runtime that is not torch; None: all.
        half: store float16 instead of float32.

    Raises:
        UserError: the file, the model or an option cannot be used, or ``precision`` strays too far from float32.
    """
    from similis.data.documents import document_file, documents
    from similis.encoders.streaming import write_vectors
    from similis.files import sha256

    if output.suffix != ".npy":
        raise UserError(f"{output} must end in .npy: vectors are written as a NumPy array")
    encoder, near = _judged(model, texts, precision, backend, threads)
    total = sum(1 for _ in documents(texts))
    written = write_vectors(
        encoder,
        documents(texts),
        total,
        output,
        made_from=sha256(document_file(texts)),
        batch_size=batch_size,
        queries=queries,
        dtype="float16" if half else "float32",
    )
    return asdict(written) | ({"fidelity": asdict(near)} if near is not None else {})


def _judged(
    model: str | Path, texts: Path, precision: str, backend: str, threads: int | None
) -> tuple[Encoder, Fidelity | None]:
    """The encoder, and how near it is to float32 by torch on the first texts; None where it is just that."""
    from itertools import islice

    from similis.data.documents import documents
    from similis.progress import note

    if backend != "torch":
        first = [text for _, text in islice(documents(texts), _JUDGED)]
        encoder = load(model, backend=backend, precision=precision, texts=first, threads=threads)
        return encoder, getattr(encoder, "fidelity", None)
    encoder = load(model, precision=precision)
    against_float32 = getattr(encoder, "compare", None)
    if against_float32 is None:
        return encoder, None
    near: Fidelity = against_float32([text for _, text in islice(documents(texts), _COMPARED)])
    note(f"{precision}: {near}")
    return encoder, near
