"""The published net: its size, its tensor products against e3nn's, its bases and its neighbour slots."""

from __future__ import annotations

import math
import time

import pytest
import torch
from e3nn import o3
from torch.testing import assert_close

from trajlab.data.graphs import neighbours
from trajlab.nets.neighbourhood import Neighbourhood, Slots
from trajlab.nets.polar import PolarNet
from trajlab.nets.radial import SILU_SECOND_MOMENT, TANH_SECOND_MOMENT, BesselBasis, Scaled, gaussian_speed_basis, polynomial_cutoff
from trajlab.nets.settings import NetSettings
from trajlab.nets.tensor_product import blocks, coupling, harmonics, messages, paths, pool, reached
from trajlab.nets.trajcast import TrajCastNet


@pytest.mark.parametrize(("species", "channels", "l_max", "n_blocks", "radial", "count"), [
    (4, 16, 1, 3, (16, 16, 16), 44_832), (2, 16, 1, 3, (16, 16, 16), 39_552), (4, 64, 2, 5, (64, 64, 64), 3_087_528),
])
def test_has_as_many_parameters_as_published(species, channels, l_max, n_blocks, radial, count):
    began = time.perf_counter()
    net = TrajCastNet(NetSettings(species, channels, n_blocks, 4.0, l_max, radial))
    taken = time.perf_counter() - began
    assert sum(p.numel() for p in net.parameters()) == count
    assert taken < 2.0  # a third of that in practice; e3nn's generated code takes longer than this for the large one


@pytest.mark.parametrize(("l_max", "groups", "full"), [(1, 5, 10), (2, 15, 30), (3, 34, 68)])
def test_paths_at_full_hidden_irreps(l_max, groups, full):
    table = paths((2,) * (l_max + 1), l_max)
    assert len(table) == groups
    assert sum(p.parities for p in table) == full
    assert reached(paths((1,) * (l_max + 1), l_max), l_max)[0] == 1  # a pseudo-scalar needs a pseudo-vector before it


@pytest.mark.parametrize(("l1", "l2", "l3"), [(p.l1, p.l2, p.l3) for p in paths((1, 1, 1), 2)])
def test_products_are_those_of_e3nn(l1, l2, l3, generator):
    """Every coupling against e3nn's uvu product with component normalisation, for one neighbour of one node."""
    channels = 3
    parity = (-1) ** (l1 + l2)
    product = o3.TensorProduct(f"{channels}x{l1}{'eo'[l1 % 2]}", f"1x{l2}{'eo'[l2 % 2]}", [(channels, (l3, parity))], [(0, 0, 0, "uvu", True)],
                               shared_weights=False, internal_weights=False)
    h = torch.randn(1, channels, 2 * l1 + 1, generator=generator)
    direction = torch.randn(1, 3, generator=generator)
    weight = torch.randn(1, channels, generator=generator)
    sphere = harmonics(direction, 2)
    theirs = product(h.reshape(1, -1), sphere[l2], weight).view(channels, -1)
    table = tuple(p for p in paths((1, 1, 1), 2) if (p.l1, p.l2, p.l3) == (l1, l2, l3))
    made = blocks(table, [part[:, None] for part in sphere], {(l1, l2, l3): coupling(l1, l2, l3).float()})
    weighted = weight[:, None, None] * h.transpose(1, 2)[:, :, None]
    assert_close(pool(weighted, made.get((l1, l2, l3)))[0].T, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("normalise", [True, False])
def test_low_harmonics_are_those_of_e3nn(normalise, generator):
    x = torch.randn(5, 3, generator=generator)
    stacked = o3.spherical_harmonics([0, 1], x, normalise, "component")
    assert_close(torch.cat(harmonics(x, 1, normalise), dim=-1), stacked)
    assert float(harmonics(torch.zeros(1, 3), 1)[1].abs().max()) == 0


def test_constants_make_unit_second_moments():
    z = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    weight = torch.exp(-z * z / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    assert float((weight * (SILU_SECOND_MOMENT * torch.nn.functional.silu(z)) ** 2).sum()) == pytest.approx(1, abs=5e-3)
    assert float((weight * (TANH_SECOND_MOMENT * torch.tanh(z)) ** 2).sum()) == pytest.approx(1, abs=5e-3)


def test_cutoff_is_smooth_at_its_end():
    u = torch.tensor([0.0, 0.999, 1.0, 1.5], dtype=torch.float64, requires_grad=True)
    value = polynomial_cutoff(u)
    (slope,) = torch.autograd.grad(value.sum(), u)
    assert float(value[0].detach()) == 1
    assert value.detach()[2:].tolist() == [0, 0]
    assert float(value[1].detach().abs()) < 1e-5
    assert float(slope[1].abs()) < 1e-2


def test_bessel_basis_starts_at_the_roots_of_pi():
    basis = BesselBasis(4.0, 8).double()
    r = torch.tensor([1.3], dtype=torch.float64)
    n = torch.arange(1, 9, dtype=torch.float64)
    wanted = 0.5 * torch.sin(n * math.pi * 1.3 / 4) / (1.3 + 1e-5) * polynomial_cutoff(r / 4)
    assert_close(basis(r)[0], wanted, rtol=1e-5, atol=1e-7)


def test_published_speed_basis_goes_blind_where_the_specification_says():
    basis = gaussian_speed_basis(torch.tensor([1.0, 1.1, 1.2, 1.3]) * 0.11, 0.11) * 1.12 / math.sqrt(8)
    assert basis.max(1).values.tolist() == pytest.approx([math.exp(-1), math.exp(-1.9**2), math.exp(-2.8**2), math.exp(-3.7**2)], rel=1e-3)


def test_slots_hold_every_edge_once(generator):
    x = torch.rand(30, 3, generator=generator, dtype=torch.float64) * 6
    scene = torch.arange(2).repeat_interleave(15)
    graph = neighbours(x, scene, 2, 2.5)
    slots = Slots.of(graph)
    assert int(slots.mask.sum()) == graph.n_edges
    found = {(int(slots.sender[i, k]), i) for i in range(30) for k in range(slots.sender.shape[1]) if slots.mask[i, k]}
    assert found == set(map(tuple, graph.edges.T.tolist()))


@pytest.mark.parametrize("make", [
    lambda: TrajCastNet(NetSettings(2, 4, 2, 3.0, 2, (8,))), lambda: PolarNet(NetSettings(2, 8, 2, 3.0, radial=(16, 16))),
], ids=["trajcast", "polar"])
def test_empty_slots_weigh_nothing(make, generator):
    """More slots than neighbours, as in a batch with a denser system, give the same answer; so does an atom without neighbours."""
    torch.manual_seed(0)
    net = make().double()
    x = torch.rand(6, 3, generator=generator, dtype=torch.float64) * 3
    x[5] += 50
    slots = Slots.of(neighbours(x, torch.zeros(6, dtype=torch.long), 1, 3.0))
    wide = Slots(torch.nn.functional.pad(slots.sender, (0, 4)), torch.nn.functional.pad(slots.mask, (0, 4)))
    v = torch.randn(6, 3, generator=generator, dtype=torch.float64) * 0.05
    species = torch.tensor([0, 1, 0, 1, 1, 0])
    a, b = (net(species, v, Neighbourhood.of(x, s, 3.0, torch.float64), torch.ones(6, dtype=torch.float64)) for s in (slots, wide))
    assert_close(a, b, rtol=1e-9, atol=1e-10)
    assert bool(torch.isfinite(a[5]).all())


@pytest.mark.parametrize("make", [
    lambda: TrajCastNet(NetSettings(1, 4, 2, 3.0, 1, (8,))), lambda: PolarNet(NetSettings(1, 8, 2, 3.0, radial=(16, 16))),
], ids=["trajcast", "polar"])
def test_a_neighbour_leaves_smoothly(make):
    torch.manual_seed(0)
    net = make().double()
    v = torch.tensor([[0.01, 0, 0], [0, 0.02, 0]], dtype=torch.float64)
    outs = []
    for r in (2.999, 3.001):
        x = torch.tensor([[0.0, 0, 0], [r, 0, 0]], dtype=torch.float64)
        slots = Slots(torch.tensor([[1], [0]]), torch.ones(2, 1))
        outs.append(net(torch.zeros(2, dtype=torch.long), v, Neighbourhood.of(x, slots, 3.0, torch.float64), torch.ones(2, dtype=torch.float64)))
    assert_close(outs[0], outs[1], rtol=1e-5, atol=1e-6)


def test_messages_have_the_gradients_of_their_definition(generator):
    """Gradients in senders, weights and coupling blocks against finite differences, with a sender used twice and a plain sum."""
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)  # noqa: E731
    senders = [draw(2, 1, 3, 2), draw(2, 3, 3, 2)]
    weights = [draw(2, 3, 2) for _ in range(4)]
    blocks_ = [draw(2, 3, 3), None, draw(2, 1, 9), None]

    def run(*tensors):
        parts = [*tensors[6:7], None, *tensors[7:8], None]
        return tuple(messages(tensors[:2], (0, 0, 1, 1), tensors[2:6], parts))

    assert torch.autograd.gradcheck(run, [*senders, *weights, *(b for b in blocks_ if b is not None)])


def test_frozen_weights_follow_a_change_in_place():
    layer = Scaled(torch.ones(2, 2), 0.5).requires_grad_(False)
    assert float(layer().sum()) == 2.0
    layer.value.fill_(3.0)
    assert float(layer().sum()) == 6.0
