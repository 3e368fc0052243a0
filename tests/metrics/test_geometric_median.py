import math

import torch
from scipy.optimize import minimize

from trajlab.metrics.geometric_median import geometric_median


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_one_dimension_is_the_median():
    draws = drawn(31, 5, 1).exp()
    torch.testing.assert_close(geometric_median(draws), draws.median(0).values, atol=2e-3, rtol=0)


def test_it_is_the_least_mean_distance():
    draws = drawn(12, 3).exp()
    best = minimize(lambda y: (draws - torch.from_numpy(y)).norm(dim=-1).mean().item(), draws.mean(0).numpy(), tol=1e-10)
    torch.testing.assert_close(geometric_median(draws), torch.from_numpy(best.x), atol=1e-4, rtol=0)


def test_a_triangle_with_a_wide_corner_has_it_there():
    corner = torch.tensor([[0.0, 0.0], [1.0, 0.0], [math.cos(2.3), math.sin(2.3)]], dtype=torch.float64)  # more than 120 degrees at the origin
    torch.testing.assert_close(geometric_median(corner), torch.zeros(2, dtype=torch.float64), atol=1e-3, rtol=0)


def test_outliers_hardly_move_it():
    draws = drawn(21, 2)
    far = draws.clone()
    far[0] += 1e6
    assert (geometric_median(far) - geometric_median(draws)).norm() < 0.5 < (far.mean(0) - draws.mean(0)).norm()


def test_it_turns_and_shifts_with_the_draws_and_one_draw_is_itself():
    draws, turn = drawn(15, 4, 3), torch.linalg.qr(drawn(3, 3, seed=1)).Q
    torch.testing.assert_close(geometric_median(draws @ turn + 2.0), geometric_median(draws) @ turn + 2.0, atol=1e-5, rtol=0)
    torch.testing.assert_close(geometric_median(draws[:1]), draws[0])
    same = draws[:1].expand(5, -1, -1)
    torch.testing.assert_close(geometric_median(same), draws[0])
