"""Features of nodes and pairs."""

from __future__ import annotations

import pytest
import torch
from window_systems import packed, springs

from trajlab.data.dense import dense
from trajlab.models.features import FeatureConfig, Features


def charged(scenes: int = 3, nodes: int = 4):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(scenes, nodes, 6, 3, generator=g)
    charge = torch.randint(0, 2, (scenes, nodes), generator=g).float() * 2 - 1
    kind = torch.tensor([6, 1, 8, 6])[:nodes].expand(scenes, nodes)
    hop = torch.tensor([[0, 1, 2, 9], [1, 0, 1, 2], [2, 1, 0, 4], [9, 2, 4, 0]]).expand(scenes, 4, 4)
    return packed(x, kind, charge=charge, matrix=torch.rand(scenes, nodes, nodes, generator=g), hop=hop)


def test_values_and_sizes():
    data = charged()
    features = Features.learn(FeatureConfig(node=("charge",), pair=("product:charge", "matrix:matrix", "hop"), identity=True), data)
    assert features.kinds == (1, 6, 8)
    block = dense(data)
    node, pair, adjacent = features.of(block)
    q = block.static["charge"]
    assert adjacent is None
    assert node.shape[-1] == features.n_node == 3 + 1 + 4
    assert pair.shape[-1] == features.n_pair == 7
    assert node[0, 0, :3].tolist() == [0, 1, 0]
    assert node[0, 1, :3].tolist() == [1, 0, 0]
    assert node[0, 2, :3].tolist() == [0, 0, 1]
    assert torch.equal(node[..., 3], q)
    assert torch.equal(node[1, :, 4:], torch.eye(4))
    assert torch.equal(pair[..., 0], q[:, :, None] * q[:, None])
    assert torch.equal(pair[..., 1], block.static["matrix"])
    assert pair[0, 0, :, 2:].tolist() == [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 1]]
    assert node.dtype == pair.dtype == block.x.dtype


def test_padding_changes_nothing():
    data = charged()
    for config in (FeatureConfig(pair=("matrix:matrix", "hop"), identity=True, edges="knn", k=2), FeatureConfig(edges="cutoff", cutoff=1.5)):
        features = Features.learn(config, data)
        small, large = features.of(dense(data), 5), features.of(dense(data, slots=7), 5)
        for a, b in zip(small, large, strict=True):
            b_inside = b[:, :4] if b.ndim == 3 and b.shape[2] == a.shape[2] and b is large[0] else b[:, :4, :4]
            assert torch.equal(a, b_inside)
            assert not b[:, 4:].any()
        assert not large[1][:, :, 4:].any()
        assert not large[2][:, :, 4:].any()


def test_neighbours():
    x = torch.tensor([0.0, 1.0, 2.5, 10.0])[None, :, None, None].expand(1, 4, 3, 2).clone()
    x[:, :, 2] *= 100.0  # a future frame, which must not matter
    block = dense(packed(x))
    near = Features.learn(FeatureConfig(edges="cutoff", cutoff=2.2), packed(x)).adjacent(block, given=2)
    assert near[0].tolist() == [[False, True, False, False], [True, False, True, False], [False, True, False, False], [False] * 4]
    nearest = Features.learn(FeatureConfig(edges="knn", k=1), packed(x)).adjacent(block, given=2)
    assert nearest[0].tolist() == [[False, True, False, False], [True, False, False, False], [False, True, False, False], [False, False, True, False]]
    many = Features.learn(FeatureConfig(edges="knn", k=9), packed(x)).adjacent(block, given=2)
    assert torch.equal(many[0], ~torch.eye(4, dtype=torch.bool))
    alone = packed(x[:, :1])
    assert not Features.learn(FeatureConfig(edges="knn", k=3), alone).adjacent(dense(alone)).any()


def test_nodes_never_seen_have_no_neighbours_and_hidden_frames_are_filled():
    x = torch.zeros(1, 3, 3, 2)
    x[0, 1, :, 0] = torch.tensor([3.0, 2.0, 99.0])  # goes on to 1
    mask = torch.ones(1, 3, 3, dtype=torch.bool)
    mask[0, 1, 2] = False
    mask[0, 2, :] = False
    data = packed(x, mask=mask)
    near = Features.learn(FeatureConfig(edges="cutoff", cutoff=1.5), data).adjacent(dense(data))
    assert near[0].tolist() == [[False, True, False], [True, False, False], [False] * 3]


def test_bad_input():
    data = charged()
    with pytest.raises(ValueError, match="unknown pair feature 'charge'"):
        FeatureConfig(pair=("charge",))
    with pytest.raises(ValueError, match="positive cutoff"):
        FeatureConfig(edges="cutoff")
    with pytest.raises(ValueError, match="k of at least 1"):
        FeatureConfig(edges="knn", k=0)
    with pytest.raises(Exception, match="radius"):
        FeatureConfig(edges="radius")
    with pytest.raises(ValueError, match=r"no static value 'mass'; there are \['charge', 'hop', 'matrix'\]"):
        Features.learn(FeatureConfig(node=("mass",)), data)
    features = Features.learn(FeatureConfig(identity=True), data)
    with pytest.raises(ValueError, match=r"kinds \[7\] were not in the training data, which had \[1, 6, 8\]"):
        features.of(dense(data.replace(kind=torch.where(data.kind == 8, 7, data.kind))))
    with pytest.raises(ValueError, match="more than the 4 nodes"):
        features.of(dense(packed(torch.zeros(1, 5, 2, 3), torch.ones(1, 5, dtype=torch.long))))
    with pytest.raises(ValueError, match="one number was wanted"):
        Features.learn(FeatureConfig(node=("hop",)), data).of(dense(data))
    with pytest.raises(ValueError, match="rows of 3 entries, but a scene has 4 nodes"):
        Features.learn(FeatureConfig(pair=("matrix:m",)), data.replace(static={"m": torch.zeros(12, 3)})).of(dense(data.replace(
            static={"m": torch.zeros(12, 3)})))
    with pytest.raises(ValueError, match="unconnected: 4"):
        Features.learn(FeatureConfig(pair=("hop",)), data).of(dense(data.replace(static={"hop": torch.full((12, 4), -1)})))
    with pytest.raises(ValueError, match="no frame is given"):
        Features.learn(FeatureConfig(edges="knn", k=1), data).adjacent(dense(data), given=0)
    with pytest.raises(ValueError, match="no nodes"):
        Features.learn(FeatureConfig(), data.scenes(slice(0, 0)))


def test_springs_are_told_by_their_rows():
    data = springs(4)
    pair = Features.learn(FeatureConfig(pair=("matrix:spring",)), data).pair(dense(data))
    assert torch.equal(pair[..., 0], pair[..., 0].mT)
    assert set(pair.unique().tolist()) == {0.0, 1.0}
