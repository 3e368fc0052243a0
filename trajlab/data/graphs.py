"""Neighbour graphs within a cutoff, for packed scenes, open or periodic, and a Verlet list that keeps them between steps."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trajlab.data.cells import complete, heights
from trajlab.types import Graph

__all__ = ["VerletList", "neighbours"]

# A scene whose ordered pairs (times periodic images) are fewer than this is done by all pairs, together with all other small scenes;
# a larger one by a cell list of its own.
ALL_PAIRS = 8_000
# So many pairs are looked at together; a larger batch is done in parts, to bound the memory.
TOGETHER = 4_000_000


def neighbours(
    x: Float[Tensor, "node dim"], scene: Int[Tensor, "node"], n_scenes: int, cutoff: float, cell: Float[Tensor, "scene 3 3"] | None = None,
    pbc: Bool[Tensor, "scene 3"] | None = None, *, require_neighbours: bool = False,
) -> Graph:
    """All directed edges shorter than ``cutoff`` within each scene, over all periodic images.

    A node may be its own neighbour through an image (then the shift is not zero), and two nodes may be joined by several edges, so
    a cell smaller than twice the cutoff is treated correctly. Edges are sorted by receiver, sender and image.

    Args:
        x: positions, ``[node dim]``, wrapped or not.
        scene: scene of each node, sorted, ``[node]``.
        n_scenes: number of scenes.
        cutoff: in the unit of ``x``.
        cell: cell vectors as rows, ``[scene 3 3]``; rows of directions that are not periodic are ignored and may be zero.
        pbc: periodic directions, ``[scene 3]``; all of them where ``cell`` is given alone.
        require_neighbours: refuse nodes without any neighbour instead of leaving them without edges.

    Returns:
        A `Graph`: the vector of an edge is ``x[sender] - x[receiver] + shift``.

    Raises:
        ValueError: the cutoff is not positive, a position is not finite, the cell vectors of a periodic scene are linearly
            dependent, or a node has no neighbour and ``require_neighbours`` is set.
    """
    _check(x, scene, n_scenes, cutoff)
    cell, pbc = _boxes(x, n_scenes, cell, pbc)
    edges, shift = _candidates(x, scene, n_scenes, cutoff, cell, pbc)
    return _within(x, edges, shift, cutoff, require_neighbours)


class VerletList:
    """A neighbour list that is rebuilt only when a node has moved by more than half its skin (Verlet, Phys. Rev. 159, 98, 1967).

    Pairs closer than ``cutoff + skin`` are kept; each update returns those of them closer than ``cutoff``, so that the answer is
    the same, edge for edge, as that of `neighbours`, whenever the list was built.

    Args:
        cutoff: in the unit of the positions.
        skin: added to the cutoff when the list is built; 0 builds it anew at every step.

    Attributes:
        builds: how often the list was built.
    """

    def __init__(self, cutoff: float, skin: float = 1.0) -> None:
        if not cutoff > 0 or not skin >= 0:
            raise ValueError(f"a Verlet list needs a positive cutoff and a skin of at least 0, but got cutoff {cutoff} and skin {skin}")
        self.cutoff, self.skin, self.builds = float(cutoff), float(skin), 0
        self._kept: dict[str, Tensor] = {}

    def update(
        self, x: Float[Tensor, "node dim"], scene: Int[Tensor, "node"], n_scenes: int, cell: Float[Tensor, "scene 3 3"] | None = None,
        pbc: Bool[Tensor, "scene 3"] | None = None, *, require_neighbours: bool = False,
    ) -> Graph:
        """The graph of these positions; arguments, result and errors are those of `neighbours`.

        Positions should be unwrapped: a node that is wrapped between two calls has moved by a cell vector, which rebuilds the list.
        """
        if self._stale(x, scene, cell, pbc):
            self._build(x, scene, n_scenes, cell, pbc)
        return _within(x, self._kept["edges"], self._kept.get("shift"), self.cutoff, require_neighbours)

    def _stale(self, x: Tensor, scene: Tensor, cell: Tensor | None, pbc: Tensor | None) -> bool:
        kept = self._kept
        if not kept or kept["x"].shape != x.shape or kept["x"].device != x.device or not _equal(kept["scene"], scene):
            return True
        if not _equal(kept.get("cell"), cell) or not _equal(kept.get("pbc"), pbc):
            return True
        moved = (x - kept["x"]).square().sum(1).max() if len(x) else x.new_zeros(())
        return not bool(moved <= (self.skin / 2) ** 2)  # NaN counts as moved, so that the check of the build names it

    def _build(self, x: Tensor, scene: Tensor, n_scenes: int, cell: Tensor | None, pbc: Tensor | None) -> None:
        reach = self.cutoff + self.skin
        _check(x, scene, n_scenes, reach)
        edges, shift = _candidates(x, scene, n_scenes, reach, *_boxes(x, n_scenes, cell, pbc))
        kept = {"x": x, "scene": scene, "cell": cell, "pbc": pbc, "edges": edges, "shift": shift}
        # Cloned, because an integrator that works in place would otherwise move the reference along.
        self._kept = {k: v.detach().clone() for k, v in kept.items() if v is not None}
        self.builds += 1

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain numbers for a restart file; empty before the first update."""
        return {"cutoff": self.cutoff, "skin": self.skin, "builds": self.builds, **self._kept}

    def load(self, state: dict[str, Any]) -> None:
        """Take up the state of another list.

        Raises:
            ValueError: it was made with another cutoff or skin.
        """
        if (state["cutoff"], state["skin"]) != (self.cutoff, self.skin):
            raise ValueError(f"the stored list has cutoff {state['cutoff']} and skin {state['skin']}, but this one {self.cutoff} and {self.skin}")
        self.builds = int(state["builds"])
        self._kept = {k: v for k, v in state.items() if isinstance(v, Tensor)}


def _equal(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b or (a is not None and b is not None and torch.equal(a, b))


def _check(x: Tensor, scene: Tensor, n_scenes: int, cutoff: float) -> None:
    if not 0 < cutoff < float("inf"):
        raise ValueError(f"the cutoff is {cutoff}; a positive, finite length was wanted")
    if len(scene) != len(x) or (len(scene) and int(scene[-1]) >= n_scenes):
        raise ValueError(f"{len(x)} nodes came with {len(scene)} scene numbers up to {int(scene.max())}; one a node, below {n_scenes}, was wanted")
    if not bool(torch.isfinite(x).all()):
        node = int((~torch.isfinite(x).all(1)).nonzero()[0])
        raise ValueError(
            f"the position of node {node} (scene {int(scene[node])}) is not finite: {x[node].tolist()}; "
            "mask such frames before asking for neighbours"
        )


def _boxes(x: Tensor, n_scenes: int, cell: Tensor | None, pbc: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Complete cells and periodic directions, or None where all is open."""
    if cell is None:
        return None, None
    if x.shape[1] != 3:
        raise ValueError(f"a periodic cell needs positions in 3 dimensions, but they have {x.shape[1]}")
    pbc = torch.ones(n_scenes, 3, dtype=torch.bool, device=x.device) if pbc is None else pbc
    return (complete(cell.detach(), pbc), pbc) if bool(pbc.any()) else (None, None)


def _candidates(
    x: Tensor, scene: Tensor, n_scenes: int, reach: float, cell: Tensor | None, pbc: Tensor | None
) -> tuple[Int[Tensor, "2 edge"], Float[Tensor, "edge dim"] | None]:
    """All pairs that may be closer than ``reach`` (a little too many), sorted by receiver, sender and image, with their shifts."""
    x = x.detach().double()
    sizes = torch.bincount(scene, minlength=n_scenes)
    images = _image_counts(cell, pbc, reach) if cell is not None else None
    work = sizes.square() * (1 if images is None else (2 * images + 1).prod(1))
    small = work <= ALL_PAIRS
    part = (torch.where(small, work, 0).cumsum(0) - 1).clamp_min(0) // TOGETHER
    chosen = [small & (part == k) for k in range(int(part[-1]) + 1 if n_scenes else 0)]
    parts = [_close(x, scene, *_all_pairs(x, scene, sizes, some, cell, pbc, images), cell, reach) for some in chosen]
    ptr = sizes.cumsum(0) - sizes
    for s in ((~small) & (sizes > 0)).nonzero().flatten().tolist():
        begin, end = int(ptr[s]), int(ptr[s] + sizes[s])
        edges, image = _cell_list(x[begin:end], reach, None if cell is None else cell[s], None if pbc is None else pbc[s])
        parts.append(_close(x, scene, edges + begin, image, cell, reach))
    if not parts:
        return torch.zeros(2, 0, dtype=torch.long, device=x.device), None if cell is None else x.new_zeros(0, 3)
    edges, shift = torch.cat([e for e, _, _ in parts], 1), None if cell is None else torch.cat([s for _, s, _ in parts])  # type: ignore[misc]
    order = _order(edges, None if cell is None else torch.cat([i for _, _, i in parts]), len(x))  # type: ignore[misc]
    return edges[:, order], None if shift is None else shift[order]


def _close(
    x: Tensor, scene: Tensor, edges: Tensor, image: Tensor | None, cell: Tensor | None, reach: float
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Those of some pairs that are within reach, a little generously, with their shifts and images."""
    shift = None if image is None or cell is None else torch.einsum("ei,eij->ej", image.double(), cell[scene[edges[1]]])
    keep = (_squared(x, edges, shift) < (reach * (1 + 1e-6)) ** 2).nonzero().flatten()
    return edges.index_select(1, keep), *(None if v is None else v.index_select(0, keep) for v in (shift, image))


def _image_counts(cell: Tensor, pbc: Tensor, reach: float) -> Int[Tensor, "scene 3"]:
    """How many images to look at on either side, when pairs start from their minimum image in fractional coordinates.

    A vector of fractional coordinates s is at least |s_k| h_k long, with h_k the height of the cell over face k; with |s_k| <= 1/2
    the image m is out of reach once (|m| - 1/2) h_k >= reach.
    """
    return torch.where(pbc, torch.ceil(reach / heights(cell) - 0.5 + 1e-9).long(), 0)


def _all_pairs(
    x: Tensor, scene: Tensor, sizes: Tensor, small: Tensor, cell: Tensor | None, pbc: Tensor | None, images: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Every ordered pair of every small scene times its images, without a loop over scenes."""
    partners = torch.where(small, sizes, 0)[scene]
    receiver = torch.repeat_interleave(torch.arange(len(x), device=x.device), partners)
    first = (sizes.cumsum(0) - sizes)[scene] - (partners.cumsum(0) - partners)
    sender = torch.arange(len(receiver), device=x.device) + first[receiver]
    if cell is None or pbc is None or images is None:
        other = sender != receiver
        return torch.stack([sender, receiver])[:, other], None
    which = scene[receiver]
    inverse = torch.linalg.inv(cell)
    fraction = torch.einsum("ei,eij->ej", x[sender] - x[receiver], inverse[which])
    nearest = -torch.round(fraction).long() * pbc[which]
    box = _image_box(images[small].amax(0) if bool(small.any()) else images.new_zeros(3))
    allowed = (box.abs() <= images[which][:, None]).all(-1)
    pair, offset = allowed.nonzero(as_tuple=True)
    image = nearest[pair] + box[offset]
    other = (sender[pair] != receiver[pair]) | (image != 0).any(1)
    return torch.stack([sender, receiver])[:, pair[other]], image[other]


def _image_box(most: Tensor) -> Int[Tensor, "image 3"]:
    sides = [torch.arange(-int(m), int(m) + 1, device=most.device) for m in most]
    return torch.cartesian_prod(*sides)


def _cell_list(x: Tensor, reach: float, cell: Tensor | None, pbc: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """One large scene by vesin's cell list, in the memory of the CPU."""
    from vesin import NeighborList

    points = torch.nn.functional.pad(x.cpu(), (0, 3 - x.shape[1])).numpy()
    box = (torch.eye(3, dtype=torch.float64) if cell is None else cell.cpu()).numpy()
    periodic = [False] * 3 if pbc is None else pbc.tolist()
    search = NeighborList(cutoff=reach * (1 + 2e-6), full_list=True, n_threads=max(1, torch.get_num_threads()))
    i, j, image = search.compute(points=points, box=box, periodic=periodic, quantities="ijS")
    edges = torch.stack([torch.as_tensor(j.astype("int64")), torch.as_tensor(i.astype("int64"))]).to(x.device)
    return edges, None if cell is None else torch.as_tensor(image.astype("int64")).to(x.device)


def _order(edges: Tensor, image: Tensor | None, n_nodes: int) -> Tensor:
    """The permutation that sorts by receiver, sender and image; the images are folded into one number."""
    key = edges[1] * n_nodes + edges[0]
    if image is None or not len(image):
        return torch.argsort(key)
    low = image.amin(0)
    span = (image.amax(0) - low + 1).tolist()
    folded = ((image[:, 0] - low[0]) * span[1] + image[:, 1] - low[1]) * span[2] + image[:, 2] - low[2]
    inner = torch.argsort(folded)
    return inner[torch.argsort(key[inner], stable=True)]


def _squared(x: Tensor, edges: Tensor, shift: Tensor | None) -> Float[Tensor, "edge"]:
    """Squared lengths, summed component by component: fast, and each edge's rounding is its own whatever else is in the list."""
    r = x.index_select(0, edges[0]).sub_(x.index_select(0, edges[1]))
    if shift is not None:
        r.add_(shift)
    first, *rest = r.square_().unbind(1)
    return sum(rest, start=first)


def _within(x: Tensor, edges: Tensor, shift: Tensor | None, cutoff: float, require: bool) -> Graph:
    """The candidates that are closer than the cutoff, by the same arithmetic whether they were kept or just found."""
    keep = (_squared(x.detach().double(), edges, shift) < cutoff**2).nonzero().flatten()
    edges = edges.index_select(1, keep)
    if require:
        lonely = (torch.bincount(edges[1], minlength=len(x)) == 0).nonzero().flatten()
        if len(lonely):
            raise ValueError(
                f"{len(lonely)} of {len(x)} nodes have no neighbour within {cutoff:g} (the first is node {int(lonely[0])} at "
                f"{x[lonely[0]].tolist()}); enlarge the cutoff, or take these nodes out"
            )
    return Graph(edges, len(x), None if shift is None else shift.index_select(0, keep).to(x.dtype))
