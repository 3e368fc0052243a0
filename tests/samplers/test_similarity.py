"""The similarity filter: how often it skips, what it looks at, and that it remembers nothing by itself."""

from __future__ import annotations

import math

import pytest
import torch

from trajlab.samplers.noise import RowNoise
from trajlab.samplers.similarity import Seen, SimilarityFilter, cosine, residual

STREAMS, TICKS = 100, 400


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def skips(rule: SimilarityFilter, cos: float, ticks: int = TICKS) -> torch.Tensor:
    """``[tick stream]``: whether frames were skipped whose cosine with the processed one is always the same."""
    here = torch.tensor([1.0, 0.0]).expand(STREAMS, 2)
    there = torch.tensor([cos, math.sqrt(1 - cos**2)]).expand(STREAMS, 2)
    process, seen = rule(here, None, generator := RowNoise(seeded()))
    assert bool(process.all())
    rows = []
    for _ in range(ticks):
        at_first = (seen.residual[:, :1] - 1).abs() < 1e-6
        process, seen = rule(torch.where(at_first, there, here), seen, generator)
        rows.append(~process)
    return torch.stack(rows)


def rate(rule: SimilarityFilter, cos: float) -> float:
    return float(skips(rule, cos).double().mean())


def test_half_way_to_the_threshold_half_is_skipped():
    assert rate(SimilarityFilter(cap=None), 0.99) == pytest.approx(0.5, abs=0.01)
    assert rate(SimilarityFilter(), 0.99) == pytest.approx(0.5, abs=0.01)


def test_the_published_count_skips_less():
    assert rate(SimilarityFilter(as_published=True), 0.99) == pytest.approx(0.459, abs=0.01)


def test_different_frames_are_processed_and_equal_ones_skipped():
    assert not bool(skips(SimilarityFilter(), 0.97, 20).any())
    assert bool(skips(SimilarityFilter(cap=None), 1.0, 20).all())


@pytest.mark.parametrize(("rule", "most"), [(SimilarityFilter(), 10), (SimilarityFilter(as_published=True), 11), (SimilarityFilter(cap=3), 3)])
def test_the_cap(rule, most):
    """Of frames that never change: as many skips as the cap says, one frame processed, and so on."""
    skipped = skips(rule, 1.0, 24)[:, 0].tolist()
    assert skipped[: 2 * most + 2] == ([True] * most + [False]) * 2


def test_processing_resets_the_count():
    _, seen = SimilarityFilter()(torch.tensor([[0.0, 1.0]]), Seen(torch.tensor([[1.0, 0.0]]), torch.tensor([7])), seeded())
    assert seen.skipped.tolist() == [0]
    _, seen = SimilarityFilter(as_published=True)(torch.tensor([[0.0, 1.0]]), Seen(torch.tensor([[1.0, 0.0]]), torch.tensor([7])), seeded())
    assert seen.skipped.tolist() == [7]


def test_frames_are_compared_with_the_processed_one():
    """A slow turn is seen in the end, because what is compared with does not creep along."""
    rule, generator, seen, processed = SimilarityFilter(cap=None), seeded(), None, 0
    for angle in torch.linspace(0, math.pi, 400):
        process, seen = rule(torch.stack([angle.cos(), angle.sin()])[None], seen, generator)
        processed += int(process)
    assert 15 < processed < 100


def test_draws_come_from_the_generator_and_by_row():
    rule, x = SimilarityFilter(), torch.tensor([1.0, 0.0]).expand(50, 2)
    seen = Seen(torch.tensor([0.99, math.sqrt(1 - 0.99**2)]).expand(50, 2), torch.zeros(50, dtype=torch.long))
    once, again, other = (rule(x, seen, seeded(s))[0] for s in (1, 1, 2))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    few, _ = rule(x[:7], Seen(seen.residual[:7], seen.skipped[:7]), seeded(1))
    assert torch.equal(few, once[:7])


def test_a_large_mean_does_not_hide_what_is_new():
    """Cosines of raw windows far from the origin are 1 whatever moves; those of residuals are not."""
    far = torch.tensor([1e3, -1e3, 5e2])
    left, right = (torch.randn(1, 4, 8, 3, generator=seeded(s)).cumsum(2) + far for s in (0, 1))
    assert float(cosine(left, right)) > 0.999
    assert abs(float(cosine(residual(left), residual(right)))) < 0.6


def test_the_residual_turns_and_does_not_move():
    window = torch.randn(2, 4, 8, 3, generator=seeded(), dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=seeded(5), dtype=torch.float64))[0]
    new = residual(window)
    torch.testing.assert_close(residual(window @ turn + 3), new @ turn, atol=1e-12, rtol=0)
    assert float(new.mean((1, 2)).abs().max()) < 1e-12
    held = torch.randn(2, 4, 1, 3, generator=seeded(1), dtype=torch.float64)
    torch.testing.assert_close(residual(window, held), (window - held) - (window - held).mean((1, 2), keepdim=True))


def test_hidden_entries_do_not_count():
    window = torch.randn(2, 4, 8, 3, generator=seeded(), dtype=torch.float64)
    mask = torch.ones(2, 4, 8, dtype=torch.bool)
    mask[:, 3] = False  # padding
    mask[0, 1, 4:] = False
    mask[1, 0, 0] = False  # nothing to hold: left out
    new = residual(torch.where(mask[..., None], window, torch.nan), mask=mask)
    assert bool((new[~mask] == 0).all())
    assert bool((new[1, 0] == 0).all())
    torch.testing.assert_close(new[:, :, :, 0].sum((1, 2)), torch.zeros(2, dtype=torch.float64), atol=1e-12, rtol=0)


def test_stillness_is_like_stillness_and_unlike_motion():
    still, moving = torch.zeros(1, 3), torch.ones(1, 3)
    assert [float(cosine(a, b)) for a, b in ((still, still), (still, moving), (moving, moving), (moving, -moving))] == pytest.approx([1, 0, 1, -1])


def test_bad_input():
    with pytest.raises(ValueError, match="threshold=1"):
        SimilarityFilter(threshold=1.0)
    with pytest.raises(ValueError, match="cap=-1"):
        SimilarityFilter(cap=-1)
    x = torch.ones(2, 3)
    with pytest.raises(ValueError, match="stream 0 is not finite"):
        SimilarityFilter()(x / 0, None, seeded())
    _, seen = SimilarityFilter()(x, None, seeded())
    with pytest.raises(ValueError, match="start anew"):
        SimilarityFilter()(x[:1], seen, seeded())
