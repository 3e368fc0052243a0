"""The store: what is saved comes back, in whole and in parts, and a full disk or a killed process loses nothing that was there."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
import zarr.storage._local as local

from trajlab.data import fields, store
from trajlab.data.fields import checksum, flatten
from trajlab.data.store import append, info, load, pieces, save, verify
from trajlab.types import Forecast, JumpPaths, Snapshots, Trajectories
from trajlab.units import Units


def example(frames=7, sizes=(3, 1, 4), start=0.0, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    scene = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    n, s = len(scene), len(sizes)
    mask = torch.rand(n, frames, generator=g) > 0.2
    x = torch.randn(n, frames, 3, generator=g, dtype=dtype)
    return Trajectories(
        x=torch.where(mask[..., None], x, float("nan")), time=start + torch.arange(frames).expand(s, -1) + 0.25 * torch.arange(s)[:, None],
        scene=scene, mask=mask, kind=torch.arange(n) % 9 + 1,
        extra={"velocity": torch.randn(n, frames, 3, generator=g, dtype=dtype), "flag": torch.rand(n, frames, generator=g) > 0.5},
        static={"mass": 1 + torch.arange(n, dtype=dtype)}, context={"run": torch.arange(s), "temperature": 300 + torch.arange(s, dtype=dtype)},
        cell=9 * torch.eye(3, dtype=dtype).expand(s, 3, 3), pbc=torch.tensor([[True, True, False]]).expand(s, 3), units=Units.md(),
        source={"command": "simulate", "seed": 3, "nested": {"a": [1, 2.5, None]}},
    )


def nouns():
    t = example()
    generator = torch.Generator().manual_seed(1)
    draws = torch.randn(2, t.n_nodes, 4, 3, generator=generator, dtype=torch.float64)
    return [
        t,
        example().replace(cell=None, pbc=None, extra={}, static={}, context={}, units=Units(), source={}),
        Snapshots(torch.randn(5, 2, generator=generator), torch.tensor([0, 0, 1, 1, 1]), torch.tensor([0.0, 3.0]), names=("a", "b")),
        JumpPaths(torch.tensor([0, 1, -1]), torch.tensor([0.0, 1.5, 2.0]), torch.tensor([0, 0, 0]), 2, torch.tensor([0, 1, 2])),
        Forecast(draws, t, t.time[:, -1:] + torch.arange(1.0, 5.0), extra={"velocity": draws}, log_weight=torch.zeros(2, 3),
                 mixture={"mean": torch.ones(2)}, stopped=("", "bond", ""), provenance={"method": "trajcast"}),
    ]


def assert_same(a, b):
    (arrays, plain), (others, others_plain) = flatten(a), flatten(b)
    assert plain == others_plain
    assert arrays.keys() == others.keys()
    for name, value in arrays.items():
        assert value.dtype == others[name].dtype, name
        assert torch.equal(torch.nan_to_num(value, nan=-7.5), torch.nan_to_num(others[name], nan=-7.5)), name


@pytest.mark.parametrize("noun", nouns(), ids=lambda n: type(n).__name__)
@pytest.mark.parametrize("name", ["a.zarr", "deep/a.zarr.zip"])
def test_save_then_load_is_the_identity(noun, name, tmp_path):
    save(noun, tmp_path / name)
    assert_same(load(tmp_path / name), noun)
    verify(tmp_path / name)
    assert [p.name for p in (tmp_path / name).parent.iterdir()] == [name.rpartition("/")[2]]


@pytest.mark.parametrize("name", ["a.zarr", "a.zarr.zip"])
@pytest.mark.parametrize("scenes", [None, slice(1, 3), slice(None, None, -1), [2, 0], 1, -1, slice(0, 0)], ids=str)
@pytest.mark.parametrize("frames", [None, slice(2, 5), slice(-3, None), slice(0, 7, 3)], ids=str)
def test_parts_are_those_of_the_whole(name, scenes, frames, tmp_path):
    t = example()
    save(t, tmp_path / name, chunk_frames=2)
    want = t if frames is None else t.frames(frames)
    if scenes is not None:
        want = want.scenes(np.atleast_1d(np.arange(3)[scenes]).tolist())
    assert_same(load(tmp_path / name, scenes=scenes, frames=frames), want)


def test_parts_are_read_without_the_rest(tmp_path, monkeypatch):
    save(example(frames=64), tmp_path / "a.zarr", chunk_frames=4)
    read = []
    get = local._get
    monkeypatch.setattr(local, "_get", lambda path, *rest: (read.append(str(path)), get(path, *rest))[1])
    load(tmp_path / "a.zarr", frames=slice(8, 12))
    chunks = [r for r in read if "/x/c/" in r]
    assert len(chunks) == 1, chunks


@pytest.mark.parametrize("n_scenes", [None, 1, 2])
def test_pieces_cover_everything_once(n_scenes, tmp_path):
    t = example(frames=8)
    save(t, tmp_path / "a.zarr")
    frames = sum(p.n_nodes * p.n_frames for p in pieces(tmp_path / "a.zarr", n_frames=3, n_scenes=n_scenes))
    assert frames == t.n_nodes * t.n_frames


@pytest.mark.parametrize("chunk", [1, 3, 4, 50])
def test_append_along_time_is_saving_the_whole(chunk, tmp_path):
    whole = example(frames=11)
    save(whole.frames(slice(0, 4)), tmp_path / "a.zarr", chunk_frames=chunk)
    for part in (slice(4, 5), slice(5, 5), slice(5, 11)):
        append(tmp_path / "a.zarr", whole.frames(part))
    assert_same(load(tmp_path / "a.zarr"), whole)


def test_append_along_scenes_is_saving_the_whole(tmp_path):
    whole = example()
    save(whole.scenes([0]), tmp_path / "a.zarr")
    append(tmp_path / "a.zarr", whole.scenes([1]), along="scene")
    append(tmp_path / "a.zarr", whole.scenes([2]), along="scene")
    assert_same(load(tmp_path / "a.zarr"), whole)
    append(tmp_path / "a.zarr", example(frames=3, start=100.0))
    assert load(tmp_path / "a.zarr").n_frames == 10


def test_append_refuses_what_does_not_continue(tmp_path):
    t = example()
    path = save(t, tmp_path / "a.zarr")
    before = checksum(load(path))
    later = example(start=100.0)
    for wrong, message in (
        (t, r"scene 0 .* ends at time 6, but the appended frames begin at 0"),
        (later.replace(kind=later.kind + 1), "kind differs"),
        (later.scenes([0, 1]), "scene differs"),
        (later.replace(static={"mass": later.mass + 1}), "static/mass differs"),
        (later.replace(cell=later.cell * 2), "cell differs"),
        (later.replace(extra={}), r"missing \['extra/flag', 'extra/velocity'\]"),
        (later.replace(units=Units.si()), "units"),
    ):
        with pytest.raises(ValueError, match=message):
            append(path, wrong)
    with pytest.raises(ValueError, match=r"3 frames, those of .* 7"):
        append(path, t.last(3), along="scene")
    with pytest.raises(ValueError, match=r"'time' .* or 'scene'"):
        append(path, later, along="nodes")
    with pytest.raises(TypeError):
        append(path, nouns()[2])
    with pytest.raises(ValueError, match="is a zip file"):
        append(save(t, tmp_path / "a.zarr.zip"), later)
    assert checksum(load(path)) == before


def failing_put(monkeypatch, after, error):
    """From the given write on, the disk is full (or the process is gone)."""
    put, count = local._put, iter(range(10**6))

    def fails(*args, **kwargs):
        if next(count) >= after:
            raise error
        return put(*args, **kwargs)

    monkeypatch.setattr(local, "_put", fails)
    return count


class Killed(BaseException):
    pass


@pytest.mark.parametrize("along", ["time", "scene"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), Killed()], ids=["full disk", "killed"])
def test_append_that_fails_at_any_write_loses_only_itself(along, error, tmp_path, monkeypatch):
    t, more = example(frames=5, sizes=(2, 1)), example(frames=5, sizes=(2, 1), start=50.0)
    path = save(t, tmp_path / "start.zarr", chunk_frames=2)
    done, after = False, 0
    while not done:
        trial = tmp_path / f"{after}.zarr"
        shutil.copytree(path, trial)
        with monkeypatch.context() as patch:
            failing_put(patch, after, error)
            try:
                append(trial, more, along=along)
                done = True
            except (OSError, Killed):
                pass
        if not done:
            assert_same(load(trial), t)  # readable, and what it was
            append(trial, more, along=along)  # and the next append works
        expected = 10 if along == "time" else 4
        assert (load(trial).n_frames if along == "time" else load(trial).n_scenes) == expected
        assert_same(load(trial, frames=slice(0, 5), scenes=slice(0, 2)), t)
        after += 6
    assert after > 15, "the test looked at too few places"


def test_failed_append_may_be_followed_by_one_along_the_other_axis(tmp_path, monkeypatch):
    t = example(frames=5, sizes=(2, 1))
    for after in (6, 12, 18):
        path = save(t, tmp_path / f"{after}.zarr", chunk_frames=2)
        with monkeypatch.context() as patch:
            failing_put(patch, after, OSError(errno.ENOSPC, "No space left on device"))
            with pytest.raises(OSError, match="No space left"):
                append(path, example(frames=5, sizes=(2, 1), start=50.0))
        append(path, t, along="scene")
        assert_same(load(path, scenes=slice(2, 4)), t)
        append(path, load(path).replace(time=load(path).time + 50))
        assert load(path).n_frames == 10


@pytest.mark.parametrize("name", ["a.zarr", "a.zarr.zip"])
def test_save_on_a_full_disk_leaves_nothing_and_spares_what_was_there(name, tmp_path, monkeypatch):
    t = example()
    save(t, tmp_path / name)
    failing_put(monkeypatch, 12, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(OSError, match="No space left"):
        save(example(seed=1), tmp_path / name, overwrite=True)
    assert_same(load(tmp_path / name), t)
    with pytest.raises(OSError, match="No space left"):
        save(t, tmp_path / "b.zarr")
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_process_killed_in_an_append(tmp_path):
    t = example(frames=5)
    path = save(t, tmp_path / "a.zarr", chunk_frames=2)
    save(example(frames=5, start=50.0), tmp_path / "more.zarr")
    code = f"""
        import os, signal
        import zarr.storage._local as local
        from trajlab.data.store import append, load
        more, write, count = load({str(tmp_path / "more.zarr")!r}), local._atomic_write, iter(range(1000))
        def dies(*args, **kwargs):
            if next(count) == 15:
                os.kill(os.getpid(), signal.SIGKILL)
            return write(*args, **kwargs)
        local._atomic_write = dies
        append({str(path)!r}, more)
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env={**os.environ, "PYTHONPATH": os.getcwd()})
    assert ended.returncode == -signal.SIGKILL
    assert_same(load(path), t)
    append(path, load(tmp_path / "more.zarr"))
    assert load(path).n_frames == 10
    assert not list(tmp_path.rglob("*.appending"))


def test_damage_is_found(tmp_path):
    t = example(frames=40).replace(mask=torch.ones(8, 40, dtype=torch.bool), x=torch.ones(8, 40, 3))
    for damage, message in ((lambda f: f.write_bytes(f.read_bytes()[:-9]), "'x' of .* is damaged"), (lambda f: f.unlink(), "x is not finite")):
        path = save(t, tmp_path / "a.zarr", chunk_frames=10, overwrite=True)
        damage(path / "x" / "c" / "0" / "2" / "0")
        with pytest.raises(ValueError, match=message):
            load(path)
        assert load(path, frames=slice(0, 20)).n_frames == 20
    path = save(t, tmp_path / "a.zarr.zip")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cut short"):
        load(path)


def test_changed_content_is_found(tmp_path):
    path = save(example(), tmp_path / "a.zarr")
    import zarr

    zarr.open_group(path)["extra/velocity"][0, 0, 0] = 1.0
    with pytest.raises(ValueError, match="was changed"):
        verify(path)


def test_other_bad_input(tmp_path):
    with pytest.raises(FileNotFoundError, match="no store at"):
        load(tmp_path / "none.zarr")
    with pytest.raises(TypeError, match="a dict was given"):
        save({}, tmp_path / "a.zarr")
    with pytest.raises(ValueError, match=r"source\.when holds a object"):
        save(example().replace(source={"when": object()}), tmp_path / "a.zarr")
    with pytest.raises(ValueError, match="'a/b' cannot be stored"):
        save(example().replace(static={"a/b": torch.ones(8)}), tmp_path / "a.zarr")
    path = save(nouns()[2], tmp_path / "s.zarr")
    with pytest.raises(ValueError, match="holds Snapshots; only Trajectories"):
        load(path, scenes=[0])
    with pytest.raises(ValueError, match="exists; pass overwrite=True"):
        save(example(), path)
    with pytest.raises(ValueError, match="runs backwards"):
        load(save(example(), tmp_path / "t.zarr"), frames=slice(None, None, -1))
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(ValueError, match="not a zarr store"):
        load(tmp_path / "empty.zarr")


def test_zip_files_of_equal_content_are_equal_files(tmp_path):
    a, b = save(example(), tmp_path / "a.zarr.zip"), save(example(), tmp_path / "b.zarr.zip")
    assert a.read_bytes() == b.read_bytes()


def test_chunks_are_at_most_a_megabyte():
    shapes = {"x": (5000, 1000, 3), "draws": (64, 4000, 300, 3), "time": (90000, 700), "kind": (10**7,)}
    shapes |= {"extra/a": (2, 4, 999, 999), "cell": (9, 3, 3)}
    for name, shape in shapes.items():
        value = np.broadcast_to(np.float64(0), shape)
        chunks = store._chunks(name, value, None)
        assert 2**18 < np.prod(chunks) * 8 <= 2**20 or name == "cell"
        assert all(1 <= c <= n for c, n in zip(chunks, shape, strict=True))
    assert store._chunks("x", np.zeros((4, 1, 3)), 64) == (4, 64, 3)
    assert store._chunks("x", np.broadcast_to(0.0, (9, 10**6, 3)), 10**6)[1] < 10**6


def test_compact_store_is_small(tmp_path):
    t = example(frames=200).to(dtype=torch.float32)
    path = save(t, tmp_path / "a.zarr.zip")
    assert load(path).x.dtype == torch.float32
    assert load(path).time.dtype == torch.float64
    numbers = sum(v.numel() * v.element_size() for v in flatten(t)[0].values())
    assert path.stat().st_size < 1.1 * numbers + 20_000


def test_checksum_sees_every_field_and_no_provenance():
    t = example()
    seen = {checksum(t)}
    for change in (
        {"x": t.x + 1}, {"time": t.time + 1}, {"mask": ~t.mask, "x": torch.zeros_like(t.x)}, {"kind": t.kind + 1}, {"units": Units.si()},
        {"extra": {**t.extra, "velocity": t.velocity + 1}}, {"extra": {**t.extra, "speed": t.extra["velocity"]}}, {"cell": t.cell * 2},
        {"static": {"mass": t.mass * 2}}, {"context": {}}, {"x": t.x.float()}, {"pbc": ~t.pbc},
    ):
        seen.add(checksum(t.replace(**change)))
    assert len(seen) == 13
    assert checksum(t.replace(source={"other": 1})) == checksum(t)
    hidden = torch.where(t.mask[..., None], t.x, 5.0)
    assert checksum(t.replace(x=hidden)) == checksum(t)
    assert checksum(t) == checksum(example())
    for noun in nouns():
        assert len(checksum(noun)) == 64
    assert checksum(nouns()[4].replace(past=t.replace(kind=t.kind + 1))) != checksum(nouns()[4])


def test_info_tells_lengths_and_units(tmp_path):
    said = info(save(example(), tmp_path / "a.zarr"))
    assert said["committed"] == {"scene": 3, "node": 8, "time": 7}
    assert said["units"]["time"] == "fs"
    assert said["source"]["seed"] == 3
    assert np.array_equal(sorted(fields.NOUNS), ["Forecast", "JumpPaths", "Snapshots", "Trajectories"])
    assert store.VERSION == 1
