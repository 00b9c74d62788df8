"""Any module over arrays learns by the loop that texts are learnt by: supervisions, executions, dev, resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import similis
from similis.encoders import load
from similis.encoders.arrays import ArrayEncoder
from similis.errors import UserError
from similis.evaluation import evaluate_labels
from similis.objective import Objective
from similis.training import Recipe, train
from similis.training.running.classes_dev import ClassesDev
from small_runs import killed_at_checkpoint

SMALL: dict[str, Any] = {"batch_size": 16, "max_steps": 6, "dev": False, "base": "mlp(hidden=[12], dimension=6)"}


def planted(count: int = 120, classes: int = 8, seed: int = 0) -> tuple[Any, Any]:
    """Rows ``[n, 10]`` whose class is in two coordinates, beside eight of louder noise."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    angle = labels * 2 * np.pi / classes
    signal = np.stack([np.cos(angle), np.sin(angle)], 1) + generator.normal(scale=0.1, size=(count, 2))
    return np.concatenate([signal, generator.normal(scale=2.0, size=(count, 8))], 1).astype(np.float32), labels


ROWS, LABELS = planted()
PAIRS = np.stack([np.arange(0, 100), np.arange(8, 108)], 1)
TRIPLETS = np.concatenate([PAIRS, PAIRS[:, :1] + 1, np.where(PAIRS[:, :1] % 2, -1, PAIRS[:, :1] + 3)], 1)
SAID: dict[str, dict[str, Any]] = {
    "labels": {"labels": LABELS},
    "pairs": {"pairs": PAIRS},
    "triplets": {"triplets": TRIPLETS},
    "scores": {"pairs": TRIPLETS[:, ::2], "scores": (LABELS[TRIPLETS[:, 2]] % 3).astype(float)},
    "same or not": {
        "pairs": np.concatenate([PAIRS, TRIPLETS[:, [0, 2]]]),
        "scores": np.arange(200) < 100,
    },
}
OBJECTIVES = {
    "infonce(temperature=0.2)": "labels",
    "triplet(margin=0.2)": "triplets",
    "proxy_anchor": "labels",
    "cosent(temperature=0.1)": "scores",
}


def weights(output: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(output / "model.safetensors"))


def map_at_r(vectors: Any, labels: Any, similarity: str = "cosine") -> float:
    return evaluate_labels(vectors, labels, ["MAP@R"], similarity=similarity, resamples=0).metrics["MAP@R"].mean


@pytest.mark.parametrize("said", ["labels", "pairs", "triplets", "same or not"])
@pytest.mark.parametrize("base", ["mlp(hidden=[32], dimension=8)", "mlp(hidden=[32], head=lorentz(dimension=8))"])
def test_a_module_finds_what_supervision_says_and_raw_rows_do_not(said: str, base: str) -> None:
    model = similis.fit(ROWS, **SAID[said], base=base, batch_size=32, epochs=30, lr=0.01, dev=False)
    rows, labels = planted(seed=1)
    assert map_at_r(model.encode(rows), labels, model.similarity_name) > 2 * map_at_r(rows, labels)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("base", [SMALL["base"], "linear(head=gaussian(dimension=3))"])
def test_tiled_and_chunked_steps_are_those_of_the_whole_batch(objective: str, base: str, tmp_path: Path) -> None:
    given = {**SMALL, "max_steps": 3, "base": base, **SAID[OBJECTIVES[objective]]}
    for name, execution, size in (("plain", "plain", None), ("tiled", "tiled, tile=3", None), ("cached", "plain", 5)):
        run = {**given, "objective": f"{objective}, execution={execution}", "mini_batch_size": size}
        train(ROWS, output=tmp_path / name, **run)
    plain, start = weights(tmp_path / "plain"), train(ROWS, **{**given, "max_steps": 1, "lr": 1e-12})
    for other in ("tiled", "cached"):
        for name, tensor in weights(tmp_path / other).items():
            # a shift of all means changes no distance of Gaussians: its gradient is rounding alone
            if not (name.endswith("bias") and "gaussian" in base):
                torch.testing.assert_close(tensor, plain[name], atol=2e-5, rtol=1e-4)
    first = start.encoder.module.state_dict()  # type: ignore[attr-defined]
    assert any((first[name] - tensor).abs().max() > 1e-3 for name, tensor in plain.items())


def test_hard_negatives_of_rows_are_found_by_the_model_and_come_again_after_a_break(tmp_path: Path) -> None:
    given = {**SMALL, "pairs": PAIRS, "negatives": "hard(count=2)", "stepping": ["sam(rho=0.05)", "ema(decay=0.9)"]}
    given |= {"max_steps": 12, "save_steps": 2}
    train(ROWS, output=tmp_path / "whole", **given)
    with killed_at_checkpoint():
        train(ROWS, output=tmp_path / "broken", **given)
    found = load_file(next((tmp_path / "broken.checkpoints").glob("step-*")) / "model.safetensors")
    negatives = next(tensor for name, tensor in found.items() if "negatives" in name)
    assert negatives.shape == (100, 2)
    taken = negatives[(negatives >= 0).all(1)]
    assert len(taken) > 20
    known = {tuple(pair) for pair in PAIRS.tolist()}
    assert not any((row, each) in known for row, own in enumerate(negatives.tolist()) for each in own)
    train(ROWS, output=tmp_path / "broken", **given)
    whole, broken = weights(tmp_path / "whole"), weights(tmp_path / "broken")
    assert all(torch.equal(tensor, broken[name]) for name, tensor in whole.items())
    plain = train(ROWS, output=tmp_path / "plain", **{**given, "negatives": None})
    assert any(not torch.equal(t, whole[n]) for n, t in plain.encoder.module.state_dict().items())  # type: ignore[attr-defined]


class Net(nn.Module):
    """With dropout, which a resumed run must draw as the unbroken one, and batch norms, whose means it must keep."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(10, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 5))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.body(rows)
        return found


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("own", [True, False])
def test_a_broken_off_run_resumes_bit_for_bit(objective: str, own: bool, tmp_path: Path) -> None:
    given = {**SMALL, "objective": objective, "save_steps": 2, "dev": None, **SAID[OBJECTIVES[objective]]}

    def base() -> Any:
        torch.manual_seed(3)
        return Net() if own else "mlp(hidden=[12], dropout=0.4, head=poincare(dimension=4))"

    train(ROWS, output=tmp_path / "whole", **{**given, "base": base()})
    with killed_at_checkpoint():
        train(ROWS, output=tmp_path / "broken", **{**given, "base": base()})
    # a module of one's own is a new one in a new process
    again = Net() if own else base()
    fitted = train(ROWS, output=tmp_path / "broken", **{**given, "base": again})
    whole, broken = weights(tmp_path / "whole"), weights(tmp_path / "broken")
    assert whole.keys() == broken.keys()
    assert all(torch.equal(tensor, broken[name]) for name, tensor in whole.items())
    read = load(tmp_path / "broken", module=Net() if own else None)
    np.testing.assert_array_equal(read.encode(ROWS), fitted.encoder.encode(ROWS))  # type: ignore[arg-type]
    assert Recipe.read(tmp_path / "broken" / "recipe.toml").objective == fitted.plan.objective


def test_a_run_with_other_rows_or_labels_does_not_go_on_from_a_checkpoint(tmp_path: Path) -> None:
    given = {**SMALL, "output": tmp_path / "model", "save_steps": 2}
    with killed_at_checkpoint():
        train(ROWS, labels=LABELS, **given)
    for rows, labels in ((ROWS + 1, LABELS), (ROWS, LABELS[::-1])):
        with pytest.raises(UserError, match="unfinished run with other settings"):
            train(rows, labels=labels, **given)


def test_a_saved_model_learns_on_and_a_file_of_rows_is_read_from_disk(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", ROWS)
    first = train(tmp_path / "rows.npy", labels=LABELS, output=tmp_path / "first", **SMALL)
    again = {**SMALL, "base": tmp_path / "first", "lr": 1e-12}
    second = train(tmp_path / "rows.npy", labels=torch.from_numpy(LABELS), **again)
    np.testing.assert_allclose(second.encoder.encode(ROWS), first.encoder.encode(ROWS), atol=1e-5)  # type: ignore[arg-type]
    assert first.data["path"].endswith("rows.npy")
    assert train(ROWS, labels=LABELS, **SMALL).data["fingerprint"] == first.data["fingerprint"]


def test_held_out_rows_are_split_off_with_their_twins_or_given() -> None:
    twice = np.concatenate([ROWS, ROWS])
    fitted = train(twice, labels=np.tile(LABELS, 2), **{**SMALL, "dev": None})
    assert fitted.metric == "1-NN accuracy"
    assert sum(fitted.rows) == 240
    assert fitted.rows[1] % 2 == 0  # both of two equal rows are on one side
    rows, labels = planted(seed=4)
    assert train(ROWS, labels=LABELS, **{**SMALL, "dev": (rows, labels)}).rows == (120, 120)
    scored = SAID["scores"]
    fitted = train(ROWS, **scored, **{**SMALL, "dev": (rows, scored["pairs"], scored["scores"])})
    assert fitted.metric == "spearman"


def test_dev_rows_of_new_classes_are_judged_by_map_at_r_as_the_report_has_it() -> None:
    rows, labels = planted(seed=4)
    labels = labels + 100
    labels[0] = 99  # alone in its class
    fitted = train(ROWS, labels=LABELS, **{**SMALL, "dev": (rows, labels)})
    assert fitted.metric == "MAP@R on new classes"
    vectors = fitted.encoder.encode(rows)  # type: ignore[arg-type]
    assert fitted.outcome.position.best == pytest.approx(map_at_r(vectors, labels), abs=1e-5)
    table = torch.from_numpy(vectors)
    dev = ClassesDev(np.arange(len(labels)), labels)
    by_distance = dev.value(lambda codes, _: table[codes], Objective("triplet, similarity=euclidean").similarity)
    assert by_distance == pytest.approx(map_at_r(vectors, labels, "euclidean"), abs=1e-5)


def test_batch_norms_in_chunks_are_told(capfd: pytest.CaptureFixture[str]) -> None:
    train(ROWS, labels=LABELS, **{**SMALL, "base": Net(), "mini_batch_size": 4})
    assert "the module has batch norms" in capfd.readouterr().err


def test_what_is_trained_is_what_is_judged(tmp_path: Path) -> None:
    model = train(ROWS, labels=LABELS, output=tmp_path / "model", **SMALL).encoder
    assert isinstance(model, ArrayEncoder)
    rows, labels = planted(seed=6)
    report = similis.evaluate(tmp_path / "model", rows, labels=labels, metrics=["MAP@R"])
    assert report["MAP@R"].mean == pytest.approx(map_at_r(model.encode(rows), labels))
    unit = model.encode(rows, normalize=True)
    scores = SAID["scores"]
    from scipy.stats import spearmanr

    expected = spearmanr((unit[scores["pairs"][:, 0]] * unit[scores["pairs"][:, 1]]).sum(1), scores["scores"]).statistic
    assert similis.evaluate(model, rows, **scores)["Spearman"].mean == pytest.approx(expected, abs=1e-6)
    ranks = (-(unit[PAIRS[:, 0]] @ unit[PAIRS[:, 1]].T)).argsort(1).argsort(1)[np.arange(100), np.arange(100)]
    found = similis.evaluate(model, rows, pairs=PAIRS, metrics=["MRR@10"])["MRR@10"].mean
    assert found == pytest.approx(np.where(ranks < 10, 1 / (ranks + 1), 0).mean(), abs=1e-6)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "needs one supervision, and none is given"),
        ({"labels": LABELS, "pairs": PAIRS}, "labels and pairs is given"),
        ({"labels": LABELS[:5]}, r"labels have the shape \[5\] and the array 120 rows"),
        ({"labels": LABELS, "scores": LABELS}, "leave scores out"),
        ({"pairs": PAIRS + 20}, r"pairs\[92\] names row 120, and the array has rows 0 to 119"),
        ({"pairs": PAIRS / 2}, "pairs are float64"),
        ({"pairs": PAIRS, "scores": [1.0, 2.0]}, r"one for each of 100 pairs, not \[2\]"),
        ({"triplets": PAIRS}, "triplets are int64 of the shape"),
        ({"labels": LABELS, "negatives": "hard"}, "negatives are searched for pairs and triplets"),
        ({"pairs": PAIRS, "negatives": "bm25"}, "negatives=bm25 is of texts"),
        ({"pairs": PAIRS, "stepping": ["sam", "easy_first"]}, "stepping=easy_first is of texts"),
        ({"pairs": PAIRS, "peft": "lora"}, "peft is of texts"),
        ({"labels": LABELS, "base": "mpl"}, "did you mean 'mlp'"),
        ({"labels": LABELS, "base": nn.Linear(9, 2)}, r"cannot read rows of shape \[10\]"),
        ({"labels": LABELS, "dev": ROWS}, r"dev must be \(array, labels\)"),
        ({"labels": LABELS, "dev": (ROWS[:, :4], LABELS)}, r"dev rows have the shape \[4\], not \[10\]"),
        ({"labels": LABELS, "corpus": ["a text"]}, "corpus and teacher are of texts"),
    ],
)
def test_mistakes_are_one_sentence(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        similis.fit(ROWS, **given)


def test_texts_are_not_given_to_a_module_nor_rows_to_a_model_of_texts() -> None:
    with pytest.raises(UserError, match="rows are numbers"):
        similis.fit([("a", "b"), ("c", "d")], labels=[0, 1], base=nn.Linear(3, 2))
    texts = similis.fit([(f"a{i}", f"b{i}") for i in range(4)], epochs=1, dev=False)
    with pytest.raises(UserError, match="read by a model of arrays"):
        similis.evaluate(texts, ROWS, labels=LABELS)
    with pytest.raises(UserError, match="labels are said of rows of an array"):
        similis.evaluate(texts, "rows.jsonl", labels=LABELS)


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_file_with_vectors_and_labels_is_learnt_and_judged_as_its_array(ending: str, tmp_path: Path) -> None:
    import json

    file = tmp_path / f"rows.{ending}"
    names = [f"kind {label}" for label in LABELS]
    if ending == "jsonl":
        records = [{"Vector": row, "label": name} for row, name in zip(ROWS.tolist(), names, strict=True)]
        file.write_text("".join(json.dumps(record) + "\n" for record in records))
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"features": ROWS.tolist(), "label": names}), file)
    given = {**SMALL, "dev": file}
    from_file = train(file, output=tmp_path / "model", **given)
    of_array = train(ROWS, labels=names, **{**given, "dev": (ROWS, names)})
    np.testing.assert_array_equal(from_file.encoder.encode(ROWS), of_array.encoder.encode(ROWS))  # type: ignore[arg-type]
    reports = [similis.evaluate(tmp_path / "model", file), similis.evaluate(tmp_path / "model", ROWS, labels=names)]
    assert reports[0]["MAP@R"].mean == reports[1]["MAP@R"].mean
    with pytest.raises(UserError, match="has labels of its own"):
        similis.fit(file, labels=names, **SMALL)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (['{"vector": [1, 2]}'], "has no column label or class"),
        (['{"text": "a", "label": 1}'], "has no column vector or features"),
        (
            ['{"vector": [1, 2], "label": 1}', '{"vector": [1], "label": 1}'],
            r"rows.jsonl:2: 'vector' has the shape \[1\]",
        ),
        (['{"vector": ["a"], "label": 1}'], r"rows.jsonl:1: 'vector' is not a list of numbers"),
        (['{"vector": [1, 2], "label": null}'], "names no class"),
        (['{"vector": [1, 2'], r"rows.jsonl:1: "),
    ],
)
def test_bad_records_of_rows_are_named_by_their_line(lines: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=said):
        similis.fit(tmp_path / "rows.jsonl", base="mlp")
