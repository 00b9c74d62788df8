"""Transformers in ONNX run by onnxruntime; see :mod:`exported`.

sentence-transformers has a back end of this name too. It needs optimum-onnx, whose releases (0.1.0) cannot be imported
beside transformers 5; so the transformer is exported by torch and run here, and all other steps stay the library's.
"""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from similis.encoders.library.exported import Backend
from similis.errors import MissingExtraError, UserError

#: What a transformer of texts may read, and what its exported form may call the vectors of its tokens.
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_OUTPUTS = ("last_hidden_state", "token_embeddings")
#: Texts of two lengths: an exported model is of any number of texts and tokens, and a one would be taken for fixed.
_EXAMPLES = ["a text", "another text of more tokens than the first has"]
#: Products and tables that int8 rounds.
_ROUNDED = ["MatMul", "Gemm", "Gather"]
#: Bytes of weights from which they lie in a file of their own: the format holds two gigabytes.
_LARGE = 1.9e9


class ONNX(Backend):
    """onnxruntime; int8 rounds weights per channel, and activations as they come, so that no text calibrates it.

    Activations calibrated in advance (MinMax) gave a cosine of 0.934 on all-MiniLM-L6-v2 where this gave 0.992. The
    range of a batch is that of all its texts, so a text's int8 vector depends a little on its companions. Weights have
    seven bits, because processors without instructions for sums of int8 cut those of eight off.
    """

    name, title = "onnx", "ONNX"
    main, files = "model.onnx", "model.onnx*"

    def require(self) -> None:
        """Raise MissingExtraError where onnxruntime is not installed."""
        try:
            import onnxruntime  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("backend='onnx'", "onnx") from error

    def step(self, first: Any, folder: Path, threads: int | None) -> Any:
        """The library's step, with its tokenizer and settings, whose transformer is onnxruntime's."""
        session = Session(folder / self.name / self.main, first.auto_model.config, threads)
        return copy.deepcopy(first, {id(first.auto_model): session})  # all but the transformer is copied

    def export(self, first: Any, folder: Path, texts: list[str] | None) -> None:
        """Write it by torch's exporter, and round that where int8 is asked for."""
        home = folder / self.name
        home.mkdir(parents=True)
        if texts is None:
            _export(first, home / self.main)
            return
        with tempfile.TemporaryDirectory() as aside:
            _export(first, Path(aside) / self.main)
            _round(Path(aside) / self.main, home / self.main, large=_large(first.auto_model))


class Session(nn.Module):
    """What onnxruntime makes of a batch, where the library's step has its transformer.

    Args:
        file: the ONNX model.
        config: of the transformer, which the step asks for sizes.
        threads: of the processor; None: all.

    Raises:
        UserError: it reads or gives other things than a transformer of texts does.
    """

    def __init__(self, file: Path, config: Any, threads: int | None) -> None:
        from onnxruntime import InferenceSession, SessionOptions

        super().__init__()
        settings = SessionOptions()
        settings.intra_op_num_threads, settings.inter_op_num_threads = threads or 0, 1
        settings.log_severity_level = 3
        self.session = InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
        self.config = config
        self._inputs = [each.name for each in self.session.get_inputs()]
        outputs = [each.name for each in self.session.get_outputs()]
        self._output = next((name for name in _OUTPUTS if name in outputs), None)
        if self._output is None or not set(self._inputs) <= set(_INPUTS):
            raise UserError(f"{file} reads {', '.join(self._inputs)} and gives {', '.join(outputs)}: no token vectors")

    def forward(self, **features: Any) -> dict[str, Tensor]:
        """Token vectors ``[n, t, d]`` of token numbers ``[n, t]`` and their masks."""
        given = {name: features[name].cpu().numpy() for name in self._inputs}
        (found,) = self.session.run([self._output], given)
        return {"last_hidden_state": torch.from_numpy(found)}


class _Body(nn.Module):
    """A transformer whose inputs have places instead of names, as an exporter wants them."""

    def __init__(self, body: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.body, self.names = body, names

    def forward(self, *inputs: Tensor) -> Tensor:
        found = self.body(**dict(zip(self.names, inputs, strict=True)), return_dict=True)
        return cast(Tensor, found.last_hidden_state)


def _export(first: Any, file: Path) -> None:
    """Write the transformer of a step, for any number of texts and tokens."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("to export a model to ONNX", "onnx") from error
    body = first.auto_model
    features = first.preprocess(_EXAMPLES)
    read = first.model_forward_params
    names = [name for name in _INPUTS if name in features and (read is None or name in read)]
    free = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens")}
    training = body.training
    try:
        with torch.no_grad():
            torch.onnx.export(
                _Body(body, names).eval(),
                tuple(features[name].to(body.device) for name in names),
                str(file),
                input_names=names,
                output_names=[_OUTPUTS[0]],
                dynamic_shapes=(tuple(free for _ in names),),
                dynamo=True,
                external_data=_large(body),
                verbose=False,
            )
    except Exception as error:  # the exporter raises whatever its parts raise
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(f"{type(body).__name__} cannot be exported to ONNX ({reason}); encode by torch") from error
    finally:
        body.train(training)


def _round(source: Path, target: Path, *, large: bool) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        source,
        target,
        op_types_to_quantize=_ROUNDED,
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
        use_external_data_format=large,
    )


def _large(body: nn.Module) -> bool:
    return sum(each.numel() * each.element_size() for each in body.parameters()) > _LARGE


BACKEND = ONNX()
