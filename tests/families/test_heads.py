"""Heads behind a transformer: Gaussians and points of hyperbolic space, trained, saved, searched and resumed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import geoopt
import numpy as np
import pytest
import torch
from family_models import Data, bert, pairs, scored, texts, triplets
from safetensors.torch import load_file

from similis.encoders import create, load
from similis.errors import UserError
from similis.indexes import DenseRetriever
from similis.training import train
from small_runs import killed_at_checkpoint

HEADS = {
    "gaussian(dimension=6)": "expected_distance",
    "gaussian(dimension=6, similarity=gaussian_kl)": "gaussian_kl",
    "poincare(dimension=8)": "poincare(curvature=1.0, tangent=True, clip=2.3)",
    "lorentz(dimension=8, curvature=0.5)": "lorentz(curvature=0.5, tangent=True)",
}
SMALL: dict[str, Any] = {"batch_size": 8, "max_steps": 4, "learning_rate": 1e-3, "dev": False}
OBJECTIVES: dict[str, Data] = {
    "infonce(temperature=0.2)": pairs(30),
    "triplet(margin=0.5)": triplets(30),
    "cosent(temperature=0.2)": scored(30),
}

THEIRS = """
import json, sys
from sentence_transformers import SentenceTransformer
texts, folders = json.loads(sys.stdin.read())
print(json.dumps([SentenceTransformer(folder, device="cpu").encode(texts).tolist() for folder in folders]))
assert "similis" not in sys.modules
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bert(tmp_path_factory.mktemp("tiny") / "bert")


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without dropout, whose masks differ with the shape of a chunk."""
    return bert(tmp_path_factory.mktemp("still") / "bert", dropout=0.0)


def weights(output: Path) -> dict[str, torch.Tensor]:
    return {str(f.relative_to(output)) + n: t for f in output.rglob("*.safetensors") for n, t in load_file(f).items()}


def test_a_trained_head_gives_the_same_vectors_in_the_library_in_another_process(tiny: Path, tmp_path: Path) -> None:
    rows, folders, ours = texts(7, seed=5), [], []
    for number, (head, similarity) in enumerate(HEADS.items()):
        folders.append(tmp_path / str(number))
        fitted = train(pairs(30), base=f"{head}:dense:{tiny}", output=folders[-1], **SMALL)
        assert f"similarity={similarity}" in fitted.plan.objective  # stated by the head, not by the user
        again = load(folders[-1])
        assert again.similarity_name == similarity
        ours.append(fitted.encoder.encode(rows))
        np.testing.assert_allclose(again.encode(rows), ours[-1], atol=1e-6)
    asked = json.dumps([rows, [str(folder) for folder in folders]])
    done = subprocess.run([sys.executable, "-c", THEIRS], input=asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for own, found in zip(ours, json.loads(done.stdout.splitlines()[-1]), strict=True):
        np.testing.assert_allclose(own, np.array(found), atol=1e-5)
        assert np.ptp(own, axis=0).max() > 0.01


@pytest.mark.parametrize(("head", "objective"), list(zip(list(HEADS)[1:], OBJECTIVES, strict=True)))
def test_tiled_and_chunked_steps_of_a_head_are_those_of_the_whole_batch(
    head: str, objective: str, still: Path, tmp_path: Path
) -> None:
    given = {**SMALL, "max_steps": 2, "lr_scheduler_type": "constant", "warmup_steps": 0.0, "learning_rate": 1e-4}
    for name, execution, size in (("plain", "plain", None), ("tiled", "tiled, tile=3", None), ("cached", "plain", 3)):
        run = {**given, "objective": f"{objective}, execution={execution}", "mini_batch_size": size}
        train(OBJECTIVES[objective], base=f"{head}:dense:{still}", output=tmp_path / name, **run)
    plain, first = weights(tmp_path / "plain"), create(f"{head}:dense:{still}")
    for other in ("tiled", "cached"):
        found = weights(tmp_path / other)
        for name, tensor in plain.items():
            # a bias of attention's keys changes no weight of attention, and one of all means no distance of Gaussians:
            # their gradients are rounding alone
            free = name.endswith("key.bias") or (head.startswith("gaussian") and name.endswith("linear.bias"))
            assert free or torch.allclose(tensor, found[name], atol=2e-5), (other, name)
    layer = next(tensor for name, tensor in plain.items() if "linear.weight" in name)
    moved = (layer - first.model[-1].linear.weight).abs().max()  # type: ignore[attr-defined]
    assert moved > 1e-4


@pytest.mark.parametrize(("head", "objective"), list(zip(list(HEADS)[:3], OBJECTIVES, strict=True)))
def test_a_broken_off_run_of_a_head_resumes_bit_for_bit(head: str, objective: str, tiny: Path, tmp_path: Path) -> None:
    given = {**SMALL, "base": f"{head}:dense:{tiny}", "objective": objective, "save_steps": 2}
    train(OBJECTIVES[objective], output=tmp_path / "whole", **given)
    with killed_at_checkpoint():
        train(OBJECTIVES[objective], output=tmp_path / "broken", **given)
    train(OBJECTIVES[objective], output=tmp_path / "broken", **given)
    whole, broken = weights(tmp_path / "whole"), weights(tmp_path / "broken")
    assert whole.keys() == broken.keys()
    assert all(torch.equal(tensor, broken[name]) for name, tensor in whole.items())


def distances(head: str, query: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Distances ``[n]`` of a query's numbers and keys', by other libraries or by definition."""
    query, keys = query.double(), keys.double()
    if head.startswith("poincare"):
        ball = geoopt.PoincareBall(c=1.0)
        assert keys.norm(dim=-1).max() < 2.3  # else they would be shortened
        # the exponential map at the origin has a factor of 2 in the ball's metric, which ours leaves out
        return ball.dist(ball.expmap0(query), ball.expmap0(keys))
    if head.startswith("lorentz"):
        plane = geoopt.Lorentz(k=2.0)
        tangents = torch.cat([torch.zeros(len(keys) + 1, 1), torch.cat([query[None], keys])], 1)
        points = plane.expmap0(tangents)
        return plane.dist(points[:1], points[1:])
    mean, raw = query.chunk(2)
    means, raws = keys.chunk(2, -1)
    own, theirs = torch.nn.functional.softplus(raw), torch.nn.functional.softplus(raws)
    if "kl" in head:
        first = torch.distributions.Normal(mean, own.sqrt())
        return torch.distributions.kl_divergence(first, torch.distributions.Normal(means, theirs.sqrt())).sum(-1)
    return (mean - means).square().sum(-1) + (own + theirs).sum(-1)


@pytest.mark.parametrize("head", HEADS)
def test_an_index_finds_what_is_nearest_in_the_space_of_the_head(head: str, tiny: Path) -> None:
    model, rows = create(f"{head}:{tiny}", seed=4), texts(25, seed=2)
    hit = DenseRetriever.build(model, rows, rows).search("deb kit gum", k=25)[0]
    query, keys = torch.from_numpy(model.encode("deb kit gum")), torch.from_numpy(model.encode(list(hit.ids)))
    expected = distances(head, query, keys)
    np.testing.assert_allclose(-np.asarray(hit.scores), expected.numpy(), rtol=1e-3, atol=1e-3)
    assert bool((expected[1:] >= expected[:-1] - 1e-4).all())


def test_a_head_starts_with_the_settings_of_its_text_or_argument_alike(tiny: Path) -> None:
    one, two = create(f"poincare(dimension=5):{tiny}", seed=3), create(tiny, head="poincare(dimension=5)", seed=3)
    assert one.dimension == two.dimension == 5
    np.testing.assert_array_equal(one.encode(["deb kit"]), two.encode(["deb kit"]))
    gaussian = create(f"gaussian(dimension=5):dense(pooling=cls):{tiny}")
    variance = np.log1p(np.exp(gaussian.encode(texts(4))[:, 5:]))
    np.testing.assert_allclose(variance, 0.2, rtol=0.05)  # 1 / k, nearly the same for every text


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("gaussian(dimensoin=5):{}", "did you mean 'dimension'"),
        ("poincare(dimension=0):{}", "must be at least 1"),
        ("poincare(curvature=-1.0):{}", "must be above 0"),
        ("gaussian(similarity=gaussian_lk):{}", "did you mean 'gaussian_kl'"),
        ("gaussian:sparse:{}", "stands behind a dense transformer, and this is a sparse model"),
        ("gaussian:lorentz:{}", "has a head already"),
    ],
)
def test_mistakes_in_a_head_are_one_sentence(base: str, said: str, tiny: Path) -> None:
    with pytest.raises(UserError, match=said):
        create(base.format(tiny))
