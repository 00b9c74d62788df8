"""TRAM's radius is the divergence it says it measures, and its step is that of sharpness-aware minimisation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stepped import Toy, Weights, begun, quadratic, steps_of
from torch import Tensor
from torch.nn.functional import kl_div, normalize

from similis.errors import UserError
from similis.training.running.steps import Steps
from similis.training.stepping import stepping
from similis.training.stepping.sharpness import SAM
from similis.training.stepping.smoothness import moved_tokens
from similis.training.stepping.trust_region import TRAM

WEIGHTS = np.array([0.5, -1.0, 2.0, 0.25, -0.75])
CURVATURE = np.arange(1.0, 6.0)


def stepped_once(extension: TRAM | SAM) -> np.ndarray:
    run = Toy(Weights([[0.5, -1.0], [2.0, 0.25]], [-0.75]), quadratic)
    run.step(begun(extension, run))
    return torch.cat([p.detach().flatten() for p in run.module.parameters()]).numpy()


def fixed(radius: float, **settings: Any) -> TRAM:
    extension = TRAM(**settings)
    extension.radius = lambda: radius  # type: ignore[method-assign]
    return extension


def test_with_a_fixed_radius_it_is_sam_and_by_the_size_of_each_weight_the_papers_step() -> None:
    assert np.allclose(stepped_once(fixed(0.3, adaptive=False)), stepped_once(SAM(rho=0.3)), atol=1e-12)
    gradient, size = CURVATURE * WEIGHTS, np.abs(WEIGHTS)
    higher = WEIGHTS + 0.3 * size**2 * gradient / np.linalg.norm(size * gradient)
    assert np.allclose(stepped_once(fixed(0.3)), WEIGHTS - CURVATURE * higher, atol=1e-12)


def scores(steps: Steps, drawn: Any) -> Tensor:
    """Cosines times 20 without dropout."""
    module = steps.trainee.module.eval()
    with torch.no_grad():
        queries, keys = steps.embedded(drawn.part.examples.batch(drawn.rows))
    module.train()
    assert keys is not None
    return (20 * normalize(queries) @ normalize(keys).T).log_softmax(1)


def watched(steps: Steps) -> list[float]:
    """The radius of each step from now on."""
    (tram,) = steps.stepping
    assert isinstance(tram, TRAM)
    measure, seen = tram.radius, []

    def radius() -> float:
        seen.append(measure())
        return seen[-1]

    tram.radius = radius  # type: ignore[method-assign]
    return seen


@pytest.mark.parametrize("against", ["previous", "start"])
def test_the_radius_is_the_divergence_from_what_the_scores_were(against: str, small: Path) -> None:
    steps = steps_of(small, 16, stepping=f"tram(against={against}, factor=3)", lr_scheduler_type="constant")
    radii, drawn = watched(steps), steps.first_batches(2)[1]
    kept = {}
    for step in range(3):
        kept[step] = scores(steps, drawn)
        steps.take([drawn])
    past = [0, 0, 1] if against == "previous" else [0, 0, 0]
    expected = [3 * kl_div(kept[t], kept[p], log_target=True, reduction="batchmean") for t, p in enumerate(past)]
    assert radii == pytest.approx([float(e) for e in expected], rel=1e-3, abs=1e-7)
    assert radii[0] == 0
    assert radii[2] > 1e-4


def test_the_radius_of_several_batches_is_their_mean(small: Path) -> None:
    steps = steps_of(small, 16, stepping="tram", lr_scheduler_type="constant")
    radii, group = watched(steps), steps.first_batches(2)
    before = [scores(steps, drawn) for drawn in group]
    steps.take(group)
    pairs = zip([scores(steps, drawn) for drawn in group], before, strict=True)
    expected = [float(kl_div(now, past, log_target=True, reduction="batchmean")) for now, past in pairs]
    steps.take(group)
    assert expected[0] != pytest.approx(expected[1], rel=0.1)
    assert radii[1] == pytest.approx(np.mean(expected), rel=1e-3)


def test_the_radius_shrinks_as_the_scores_settle(small: Path) -> None:
    steps = steps_of(small, 16, stepping="tram", lr_scheduler_type="constant")
    radii, drawn = watched(steps), steps.first_batches(1)
    for scale in (1.0, 0.1, 0.0, 0.0):
        steps.scale = scale
        steps.take(drawn)
    assert radii[1] > 10 * radii[2] > 0
    assert radii[3] == 0


def test_the_radius_against_noise_is_the_divergence_it_makes(small: Path) -> None:
    steps = steps_of(small, 16, stepping="tram(against=noise, noise=0.05)")
    radii, drawn = watched(steps), steps.first_batches(1)[0]
    tram: Any = steps.stepping[0]
    plain = scores(steps, drawn)
    state = torch.get_rng_state()
    with moved_tokens(tram.inner, lambda _, tokens: 0.05 * torch.randn_like(tokens)):
        noisy = scores(steps, drawn)
    torch.set_rng_state(state)
    measured = tram._divergence(Seen(drawn))
    assert float(measured) == pytest.approx(
        float(kl_div(plain, noisy, log_target=True, reduction="batchmean")), rel=1e-3
    )
    steps.take([drawn])
    assert radii[0] > 0
    assert not tram.state()


class Seen:
    """A batch as a step shows it."""

    def __init__(self, drawn: Any) -> None:
        self.batch = drawn.part.examples.batch(drawn.rows)
        self.objective, self.relation = drawn.part.objective, self.batch.relation


@pytest.mark.parametrize(
    ("text", "said"), [("tram(against=previos)", "did you mean 'previous'"), ("tram(noise=0)", "above 0")]
)
def test_mistakes_are_one_sentence(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        stepping(text)


def test_noise_needs_tokens() -> None:
    with pytest.raises(UserError, match="use against=previous"):
        begun(TRAM(against="noise"), Toy(Weights([[1.0]], [1.0]), quadratic))
