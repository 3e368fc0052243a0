"""Windows keep values; splits do not leak; normalisation and batching are undone by their inverses."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trajlab.data.batches import BatchOrder, concat
from trajlab.data.fields import checksum
from trajlab.data.normalise import Scale, fit_scale
from trajlab.data.splits import Split, check_split, split
from trajlab.data.windows import windows
from trajlab.types import Trajectories
from trajlab.units import Units


def example(frames=12, sizes=(3, 2), seed=0, missing=0.0, units=None):
    g = torch.Generator().manual_seed(seed)
    n, s = sum(sizes), len(sizes)
    x = torch.randn(n, frames, 3, generator=g)
    return Trajectories(
        x, torch.arange(frames).expand(s, -1) * 0.5 + 100 * torch.arange(s)[:, None], torch.arange(s).repeat_interleave(torch.tensor(sizes)),
        mask=torch.rand(n, frames, generator=g) >= missing, kind=torch.randint(1, 3, (n,), generator=g), extra={"velocity": x + 1},
        static={"mass": torch.rand(n, generator=g) + 1}, context={"temperature": 300.0 + torch.arange(s)}, units=units or Units(),
    )


@given(
    n=st.integers(1, 5), stride=st.integers(1, 3), hop=st.integers(1, 4), missing=st.sampled_from([0.0, 0.1, 0.4]),
    whole=st.sampled_from(["scene", "node"]),
)
@settings(max_examples=25, deadline=None)
def test_windows_are_the_slices_one_would_take_by_hand(n, stride, hop, missing, whole):
    t = example(missing=missing)
    expected = []
    for s in range(2):
        nodes = (t.scene == s).nonzero().flatten()
        for start in range(0, 12 - (n - 1) * stride, hop):
            frames = start + stride * torch.arange(n)
            seen = t.mask[nodes][:, frames].all(1)
            keep = nodes[seen] if whole == "node" else nodes if bool(seen.all()) else nodes[:0]
            if len(keep):
                expected.append((s, keep, frames))
    if not expected:
        with pytest.raises(ValueError, match="no window of"):
            windows(t, n, stride=stride, hop=hop, whole=whole)
        return
    w = windows(t, n, stride=stride, hop=hop, whole=whole)
    assert w.n_scenes == len(expected)
    assert bool(w.mask.all())
    for k, (s, nodes, frames) in enumerate(expected):
        own = w.scene == k
        assert torch.equal(w.x[own], t.x[nodes][:, frames])
        assert torch.equal(w.velocity[own], t.velocity[nodes][:, frames])
        assert torch.equal(w.mass[own], t.mass[nodes])
        assert torch.equal(w.kind[own], t.kind[nodes])
        assert torch.equal(w.time[k], t.time[s, frames])
        assert int(w.context["run"][k]) == s
        assert float(w.context["temperature"][k]) == 300 + s


def test_windows_keep_the_run_they_are_told_and_the_cell():
    t = example().replace(context={"run": torch.tensor([7, 3])}, cell=torch.stack([torch.eye(3), 2 * torch.eye(3)]))
    w = windows(t, 6, hop=6)
    assert w.context["run"].tolist() == [7, 7, 3, 3]
    assert w.cell[:, 0, 0].tolist() == [1, 1, 2, 2]
    assert windows(w, 2).context["run"].tolist() == [7] * 10 + [3] * 10


def test_permuting_scenes_commutes_with_windows():
    t = example()
    a = windows(t.scenes([1, 0]).replace(context={"run": torch.tensor([1, 0])}), 4, hop=4)
    b = windows(t, 4, hop=4).scenes([3, 4, 5, 0, 1, 2])
    assert checksum(a) == checksum(b.replace(context={"run": b.context["run"]}))


def test_windows_refuse():
    with pytest.raises(ValueError, match=r"no window of 9 frames .stride 2, 17 frames long. fits: there are 12 frames"):
        windows(example(), 9, stride=2)
    with pytest.raises(ValueError, match="hop=0"):
        windows(example(), 2, hop=0)


def times(part):
    return {(int(r), round(float(v), 6)) for r, row in zip(part.context["run"], part.time, strict=True) for v in row}


def test_split_by_run():
    t = example(sizes=(2,) * 10)
    parts = split(t, (0.6, 0.2, 0.2))
    assert [p.n_scenes for p in (parts.train, parts.validation, parts.test)] == [6, 2, 2]
    assert parts.test.context["run"].tolist() == [8, 9]
    mixed = split(t, (0.6, 0.2, 0.2), generator=torch.Generator().manual_seed(1))
    again = split(t, (0.6, 0.2, 0.2), generator=torch.Generator().manual_seed(1))
    assert checksum(mixed.test) == checksum(again.test)
    assert mixed.test.context["run"].tolist() != [8, 9]
    assert torch.cat([p.context["run"] for p in (mixed.train, mixed.validation, mixed.test)]).sort().values.tolist() == list(range(10))
    few = split(example(sizes=(2,) * 3), (0.98, 0.01, 0.01))
    assert [p.n_scenes for p in (few.train, few.validation, few.test)] == [1, 1, 1]
    none = split(example(sizes=(2,) * 4), (0.5, 0.5, 0.0))
    assert [p.n_scenes for p in (none.train, none.validation, none.test)] == [2, 2, 0]


@pytest.mark.parametrize("gap", [0.0, 3.0])
def test_split_by_time_of_whole_runs(gap):
    t = example(frames=100)
    parts = split(t, (0.6, 0.2, 0.2), by="time", gap=gap)
    assert parts.train.n_scenes == parts.test.n_scenes == 2
    assert float(parts.validation.time[0, 0] - parts.train.time[0, -1]) >= max(gap, 0.5)
    assert float(parts.test.time[0, 0] - parts.validation.time[0, -1]) >= max(gap, 0.5)
    total = parts.train.n_frames + parts.validation.n_frames + parts.test.n_frames
    assert total == 100 if gap == 0 else 86 <= total <= 90
    assert not times(parts.train) & times(parts.test)


@pytest.mark.parametrize("gap", [0.0, 3.0])
def test_split_by_time_of_windows(gap):
    w = windows(example(frames=200), 5)
    parts = split(w, (0.6, 0.2, 0.2), by="time", gap=gap)
    check_split(parts, gap)
    assert parts.train.n_scenes > 200
    for a, b in ((parts.train, parts.validation), (parts.validation, parts.test), (parts.train, parts.test)):
        for run in (0, 1):
            late, early = b.time[b.context["run"] == run].min(), a.time[a.context["run"] == run].max()
            assert float(late - early) >= max(gap, 0.5)


def test_molecular_dynamics_gets_a_gap_of_a_picosecond():
    t = example(frames=8000, sizes=(1,), units=Units.md())  # 0.5 fs a frame
    parts = split(t, by="time")
    assert parts.gap == pytest.approx(1000)
    with pytest.raises(ValueError, match=r"run 0 lasts 1999.5 fs, less than the gaps of 1000"):
        split(t.frames(slice(0, 4000)), by="time")


def test_leaks_are_refused_with_numbers():
    w = windows(example(frames=100), 5)
    a, b, c = w.scenes(slice(0, 40)), w.scenes(slice(40, 60)), w.scenes(slice(100, 120))
    with pytest.raises(ValueError, match=r"leaks: in run 0 the train part ends at time 21\.5 and the validation part begins at 20, -1\.5 later"):
        Split(a, b, c)
    Split(a, w.scenes(slice(44, 60)), c)  # touches, shares no frame
    with pytest.raises(ValueError, match=r"a gap of 5 and no shared frame"):
        Split(a, w.scenes(slice(44, 60)), c, gap=5.0)
    with pytest.raises(ValueError, match="leaks: in run 1"):
        Split(a, c, w.scenes([110]))
    shuffled = w.scenes(torch.randperm(192, generator=torch.Generator().manual_seed(0)))
    with pytest.raises(ValueError, match="leaks"):
        Split(shuffled.scenes(slice(0, 150)), shuffled.scenes(slice(150, 170)), shuffled.scenes(slice(170, None)))
    other = [p.replace(source={"seed": k}) for k, p in enumerate((a, a, a))]
    Split(*other)  # runs of another seed are other runs
    with pytest.raises(ValueError, match=r"no context\['run'\]"):
        Split(*[p.replace(context={}) for p in (a, b, c)])


def test_split_refuses():
    with pytest.raises(ValueError, match=r"by='frame': 'run' or 'time' was wanted. Frames of one run resemble"):
        split(example(), by="frame")
    with pytest.raises(ValueError, match="add up to 1"):
        split(example(), (0.5, 0.2, 0.2))
    with pytest.raises(ValueError, match="2 runs cannot be split into 3 parts"):
        split(example())


@given(kinds=st.booleans(), centre=st.booleans(), componentwise=st.booleans())
@settings(max_examples=8, deadline=None)
def test_scales_are_undone_and_see_only_what_was_observed(kinds, centre, componentwise):
    t = example(frames=50, missing=0.3)
    kind = t.kind if kinds else None
    value = 5 + 3 * t.x * (1 + t.kind[:, None, None])
    hidden = torch.where(t.mask[..., None], value, float("nan"))
    scale = fit_scale(hidden, t.mask, kind, centre=centre, componentwise=componentwise)
    scaled = scale.apply(value, kind)
    assert torch.allclose(scale.invert(scaled, kind), value, atol=1e-4)
    groups = [t.kind == k for k in t.kind.unique()] if kinds else [torch.ones_like(t.kind, dtype=torch.bool)]
    for group in groups:
        seen = scaled[group][t.mask[group]]
        square = seen.square().mean(0) if componentwise else seen.square().mean()
        assert torch.allclose(square, torch.ones_like(square), atol=1e-4)
        if centre and componentwise:
            assert float(seen.mean(0).abs().max()) < 1e-4
    if not centre:
        assert float(scale.mean.abs().max()) == 0


def test_scale_refuses_and_survives():
    t = example()
    scale = fit_scale(t.x, t.mask, t.kind)
    with pytest.raises(ValueError, match=r"kinds \[8\] were not there"):
        scale.apply(t.x, torch.full_like(t.kind, 8))
    with pytest.raises(ValueError, match="pass the kind of every node"):
        scale.apply(t.x)
    with pytest.raises(ValueError, match="nothing was observed"):
        fit_scale(t.x, torch.zeros_like(t.mask))
    constant = fit_scale(torch.ones(2, 3, 1))
    assert torch.equal(constant.apply(torch.ones(2, 3, 1)), torch.zeros(2, 3, 1))
    assert isinstance(constant, Scale)


def test_concat_is_undone_by_scenes():
    a, b = example(seed=1), example(sizes=(4,), seed=2)
    c = concat([a, b])
    assert checksum(c.scenes([0, 1])) == checksum(a)
    assert checksum(c.scenes([2])) == checksum(b)
    boxed = concat([a, b.replace(cell=5 * torch.eye(3)[None])])
    assert boxed.pbc.any(1).tolist() == [False, False, True]
    assert boxed.cell[2, 0, 0] == 5


def test_concat_pads_by_masks():
    a, b = example(frames=12), example(frames=7, sizes=(4,))
    with pytest.raises(ValueError, match=r"\[12, 7\] frames"):
        concat([a, b])
    c = concat([a, b], pad=True)
    assert c.n_frames == 12
    assert not bool(c.mask[5:, 7:].any())
    assert bool(c.mask[:, :7].all())
    assert c.time[2, -1] == 5.5
    assert checksum(c.scenes([2]).frames(slice(0, 7))) == checksum(b)


def test_concat_refuses_unlike_parts():
    a = example()
    unlike = ((a.replace(static={}), r"static \[\]"), (a.replace(units=Units.si()), "units"), (a.replace(x=a.x[..., :2], extra={}), "dimension 2"))
    for other, message in unlike:
        with pytest.raises(ValueError, match=f"part 1 has {message}"):
            concat([a, other])
    with pytest.raises(ValueError, match="nothing to concatenate"):
        concat([])


@given(n=st.integers(1, 30), size=st.integers(1, 9), seed=st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_every_scene_comes_once_an_epoch_and_any_step_can_be_resumed(n, size, seed):
    order = BatchOrder(n, size, seed)
    steps = [order[k] for k in range(2 * order.steps_per_epoch)]
    first, second = torch.cat(steps[: order.steps_per_epoch]), torch.cat(steps[order.steps_per_epoch :])
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(n))
    late = len(steps) - 1
    assert torch.equal(BatchOrder(n, size, seed)[late], steps[late])


def test_epochs_and_seeds_differ():
    orders = {tuple(BatchOrder(20, 4, seed).epoch(epoch).tolist()) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25
    assert BatchOrder(5, 2, shuffle=False)[1].tolist() == [2, 3]
    with pytest.raises(ValueError, match="0 scenes"):
        BatchOrder(0, 4)
