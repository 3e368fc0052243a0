"""Laws of the nets for windows of trajectories: symmetries, padding, and independence of batch mates. Tolerances are those of float64."""

from __future__ import annotations

import pytest
import torch
from laws.windows import EQUIVARIANT, FUTURE, GIVEN, NETS, built, call, nodes, plain, positions, scene, turn
from torch.testing import assert_close

TIGHT = {"rtol": 1e-9, "atol": 1e-10}
CALLS = {"hidden": lambda inputs: inputs, "plain": plain}


@pytest.fixture(params=NETS)
def net(request):
    return built(request.param)


@pytest.fixture(params=CALLS)
def form(request):
    return CALLS[request.param]


@pytest.mark.parametrize("reflect", [False, True], ids=["rotation", "reflection"])
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("name", EQUIVARIANT)
def test_turns_with_its_input(name, dim, reflect, form):
    net, inputs, matrix = built(name, dim), form(call(dim=dim)), turn(dim, reflect)
    out = net(**inputs)
    assert_close(net(**positions(inputs, lambda x: x @ matrix)), out @ matrix, **TIGHT)
    assert out.abs().max() > 1e-3


def test_a_transformer_does_not_turn():
    """The laws can tell: the baseline breaks the one it does not claim."""
    net, inputs, matrix = built("diffusion_transformer"), call(), turn(3, False)
    assert (net(**positions(inputs, lambda x: x @ matrix)) - net(**inputs) @ matrix).abs().max() > 1e-2


def test_translation_changes_nothing(net, form):
    inputs = form(call())
    shift = torch.tensor([3.0, -50.0, 0.7], dtype=torch.float64)
    assert_close(net(**positions(inputs, lambda x: x + shift)), net(**inputs), rtol=1e-8, atol=1e-9)


def test_permutes_with_its_nodes(net, form):
    inputs, order = form(call()), torch.tensor([3, 0, 4, 1, 2])
    assert_close(net(**nodes(inputs, order)), net(**inputs)[:, order], **TIGHT)


def test_padded_nodes_change_nothing(net, form):
    """Whatever stands in the padding, NaN included."""
    inputs = call(nodes=7)
    inputs["mask"][:, 5:] = False
    small = form(nodes(inputs, torch.arange(5)))
    if "mask" not in small:
        inputs["mask"][:, :5], inputs["adjacent"][:] = True, True
    for name in ("given", "future"):
        inputs[name][:, 5:] = float("nan")
    out = net(**inputs)
    assert_close(out[:, :5], net(**small), **TIGHT)
    assert not out[:, 5:].any()


def test_hidden_frames_change_nothing(net):
    inputs = call()
    wild = {k: v.clone() for k, v in inputs.items()}
    for name, shown in zip(("given", "future"), inputs["mask"].split([GIVEN, FUTURE], 2), strict=True):
        wild[name][~shown] = float("nan")
    out = net(**wild)
    assert_close(out, net(**inputs), **TIGHT)
    assert not out[~inputs["mask"][:, :, GIVEN:]].any()
    assert (out - net(**plain(inputs))).abs().max() > 1e-4


def test_batch_equals_single_scenes(net, form):
    inputs = form(call(batch=3))
    together = net(**inputs)
    for k in range(3):
        assert_close(together[k: k + 1], net(**scene(inputs, k)), **TIGHT)


def test_scenes_of_many_sizes_equal_single_scenes(net):
    """A scene of one node and one of five beside one of seven."""
    inputs = call(batch=3, nodes=7)
    for k, size in enumerate((1, 5, 7)):
        inputs["mask"][k, size:] = False
    together = net(**inputs)
    for k, size in enumerate((1, 5, 7)):
        alone = nodes(scene(inputs, k), torch.arange(size))
        assert_close(together[k: k + 1, :size], net(**alone), **TIGHT)


def test_only_neighbours_talk(net):
    """In a scene of two groups that are not adjacent, one does not feel the other (but for the origin of the transformer)."""
    inputs = {**plain(call()), "adjacent": torch.zeros(2, 5, 5, dtype=torch.bool)}
    inputs["adjacent"][:, :3, :3] = inputs["adjacent"][:, 3:, 3:] = True
    moved = {k: v.clone() for k, v in inputs.items()}
    moved["future"][:, 3:, 2] += 1.0
    moved["node"][:, 3:] += 1.0
    before, after = net(**inputs), net(**moved)
    assert_close(after[:, :3], before[:, :3], **TIGHT)
    assert (after - before)[:, 3:].abs().max() > 1e-5


@pytest.mark.parametrize("name", [name for name in NETS if "prior" not in name])
def test_the_level_is_told(name):
    inputs = call()
    net = built(name)
    assert (net(**inputs) - net(**{**inputs, "clock": inputs["clock"] + 0.5})).abs().max() > 1e-4


def test_one_node(net):
    out = net(**plain(call(nodes=1)))
    assert bool(torch.isfinite(out).all())
    assert out.abs().max() > 1e-3


def test_coincident_nodes_have_finite_gradients(net):
    inputs = plain(call())
    for name in ("given", "future"):
        inputs[name][:, 1:4] = inputs[name][:, :1]
        inputs[name].requires_grad_()
    net(**inputs).square().sum().backward()
    assert bool(torch.isfinite(inputs["given"].grad).all())
    assert inputs["given"].grad.abs().max() > 0


def test_shapes_that_do_not_fit_are_named(net):
    inputs = call()
    for name, wrong in (("node", inputs["node"][..., :1]), ("pair", inputs["pair"][..., :1]), ("adjacent", inputs["adjacent"][:, :2])):
        with pytest.raises(ValueError, match=rf"{name} has shape .* was wanted"):
            net(**{**inputs, name: wrong})
