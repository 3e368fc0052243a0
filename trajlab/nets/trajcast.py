r"""The published TrajCast net: messages conditioned on velocities, with irreps of both parities up to l_max.

Each block, on features h of hidden irreps C x (0e + 0o + 1e + 1o + ... ):

    m_ij  = uvu product of h_j with Y(r_ij), weights from a perceptron on the radial basis
    M_i   = contraction of sum_j m_ij / avg. number of neighbours back to C channels
    U_i   = uvu product of M_i with Y(v_i), weights from a perceptron on the speed basis
    h_i  <- ( gate(linear(U_i)) + W[species_i] h_i ) / sqrt(2)

Source: Thiemann et al., arXiv:2503.23794; normalisations are those of e3nn (component irreps, element paths), so that the map from
their parameters to ours is a reordering.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import silu

from trajlab.nets.neighbourhood import Neighbourhood
from trajlab.nets.radial import SILU_SECOND_MOMENT, TANH_SECOND_MOMENT, BesselBasis, Scaled, WeightNet, gaussian_speed_basis
from trajlab.nets.settings import NetSettings
from trajlab.nets.tensor_product import Features, Path, blocks, coupling, harmonics, messages, paths, reached


class Contraction(nn.Module):
    """An equivariant linear map from the outputs of paths, times ``scale``, to C channels of each reachable irrep (plus extra even scalars).

    Input: for each path ``[node, 2 l3 + 1, parities C]``. Output: per l ``[node, 2l+1, parities C]``.
    """

    def __init__(self, table: tuple[Path, ...], channels: int, l_max: int, extra: int = 0, scale: float = 1.0) -> None:
        super().__init__()
        self.table, self.channels = table, channels
        self.parities = reached(table, l_max)
        self.inputs = {(l3, odd): self._inputs(l3, odd) for l3 in range(l_max + 1) for odd in range(self.parities[l3])}
        self.weights = nn.ModuleDict()
        for (l3, odd), found in self.inputs.items():
            outputs = channels + (extra if (l3, odd) == (0, 0) else 0)
            self.weights[f"{l3}{'no'[odd]}"] = Scaled(torch.randn(len(found) * channels, outputs), scale * (len(found) * channels) ** -0.5)

    def _inputs(self, l3: int, odd: int) -> list[tuple[int, int]]:
        """(path, block of channels) that end in rotation order ``l3`` with natural (0) or unnatural (1) parity."""
        found = []
        for number, path in enumerate(self.table):
            if path.l3 == l3:
                found += [(number, block) for block in range(path.parities) if (block + path.flip) % 2 == odd]
        return found

    def forward(self, products: list[Tensor]) -> Features:
        c = self.channels
        out = []
        for l3, count in enumerate(self.parities):
            parts = []
            for odd in range(count):
                columns = [products[n][..., b * c : (b + 1) * c] for n, b in self.inputs[l3, odd]]
                parts.append(torch.cat(columns, dim=-1) @ self.weights[f"{l3}{'no'[odd]}"]())
            out.append(parts[0] if count == 1 else torch.cat(parts, dim=-1))
        return out


class TrajCastBlock(nn.Module):
    """One conditioned message-passing block. ``parities[l]`` says which parities (1: natural, 2: both) come in."""

    def __init__(self, parities: tuple[int, ...], settings: NetSettings) -> None:
        super().__init__()
        l_max, radial, species = settings.l_max, settings.radial, settings.species
        self.channels = channels = settings.channels
        self.edge_paths = paths(parities, l_max)
        self.contract = Contraction(self.edge_paths, channels, l_max, scale=1 / settings.neighbours)
        self.speed_paths = paths(self.contract.parities, l_max)
        self.edge_net = WeightNet((settings.bessel, *radial), [p.parities * channels for p in self.edge_paths])
        self.speed_net = WeightNet((settings.speed_functions, *radial), [p.parities * channels for p in self.speed_paths])
        self.parities = reached(self.speed_paths, l_max)
        self.gates = channels * sum(self.parities[1:])
        self.linear = Contraction(self.speed_paths, channels, l_max, extra=self.gates)
        self.skip = nn.ModuleDict()
        for l in range(min(len(parities), l_max + 1)):  # noqa: E741
            for odd in range(min(parities[l], self.parities[l])):
                self.skip[f"{l}{'no'[odd]}"] = Scaled(torch.randn(species, channels, channels), (2 * channels) ** -0.5)

    def forward(self, h: Features, species: Tensor, radial: Tensor, speed: Tensor, hood: Neighbourhood,
                edge_blocks: dict, speed_blocks: dict) -> Features:
        contracted = self.contract(self._messages(h, radial, hood, edge_blocks))
        update = self._gate(self.linear(self._conditioned(contracted, speed, speed_blocks)))
        return [self._skipped(l, h, new, species) for l, new in enumerate(update)]  # noqa: E741

    def _messages(self, h: Features, radial: Tensor, hood: Neighbourhood, edge_blocks: dict) -> list[Tensor]:
        senders = [hood.gather_components(part) for part in h]
        couplings = [edge_blocks.get((path.l1, path.l2, path.l3)) for path in self.edge_paths]
        return messages(senders, tuple(path.l1 for path in self.edge_paths), self.edge_net(radial), couplings)

    def _conditioned(self, h: Features, speed: Tensor, speed_blocks: dict) -> list[Tensor]:
        out = []
        for path, weight in zip(self.speed_paths, self.speed_net(speed), strict=True):
            block = speed_blocks.get((path.l1, path.l2, path.l3))
            value = h[path.l1] if block is None else torch.bmm(block, h[path.l1])
            out.append(value * weight[:, None])
        return out

    def _gate(self, update: Features) -> Features:
        """Activated scalars and gated tensors, over the root of two that belongs to the sum with the skip."""
        c, half = self.channels, 0.5**0.5
        even, gates = update[0][:, 0, :c], update[0][:, 0, c : c + self.gates]
        scalars = [silu(even) * (half * SILU_SECOND_MOMENT)]
        if self.parities[0] == 2:
            scalars.append(torch.tanh(update[0][:, 0, c + self.gates :]) * (half * TANH_SECOND_MOMENT))
        gates = (silu(gates) * (half * SILU_SECOND_MOMENT)).split([c * n for n in self.parities[1:]], dim=-1)
        out = [torch.cat(scalars, dim=-1)[:, None]]
        return out + [part * gate[:, None] for part, gate in zip(update[1:], gates, strict=True)]

    def _skipped(self, l: int, h: Features, new: Tensor, species: Tensor) -> Tensor:  # noqa: E741
        """new + W[species] h / sqrt(2) for one rotation order; irreps that h lacks pass unchanged."""
        c, parts = self.channels, []
        for odd in range(self.parities[l]):
            fresh, name = new[..., odd * c : (odd + 1) * c], f"{l}{'no'[odd]}"
            if name in self.skip:
                fresh = torch.baddbmm(fresh, h[l][..., odd * c : (odd + 1) * c], self.skip[name]().index_select(0, species))
            parts.append(fresh)
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


class TrajCastNet(nn.Module):
    """The published architecture."""

    def __init__(self, settings: NetSettings) -> None:
        super().__init__()
        species, channels, functions, l_max = settings.species, settings.channels, settings.speed_functions, settings.l_max
        self.l_max, self.channels, self.species, self.speed_max = l_max, channels, species, settings.speed_max
        self.basis = BesselBasis(settings.cutoff, settings.bessel)
        self.speed_mix = Scaled(torch.randn(species, functions, functions), functions**-0.5)
        self.first = Scaled(torch.randn(species + functions, channels), (species + functions) ** -0.5)
        self.spread = nn.ParameterList([torch.randn(1, channels) for _ in range(l_max)])
        parities: tuple[int, ...] = (1,) * (l_max + 1)
        self.blocks = nn.ModuleList()
        for _ in range(settings.blocks):
            self.blocks.append(TrajCastBlock(parities, settings))
            parities = self.blocks[-1].parities
        self.couplings = {}
        for path in self.blocks[-1].edge_paths + self.blocks[-1].speed_paths:
            key = (path.l1, path.l2, path.l3)
            self.couplings[key] = "coupling_{}{}{}".format(*key)
            self.register_buffer(self.couplings[key], coupling(*key).float(), persistent=False)
        few = max(channels // 4, 1)
        self.compress = Scaled(torch.randn(channels, few), channels**-0.5)
        self.out = Scaled(torch.randn(few, 2), few**-0.5)

    def forward(
        self, species: Int[Tensor, "node"], v: Float[Tensor, "node 3"], hood: Neighbourhood, stride: Float[Tensor, "node"] | None = None
    ) -> Float[Tensor, "node 2 3"]:
        """``v`` in Angstrom/fs; ``stride`` is not used (one model a stride, as published)."""
        del stride
        radial = self.basis(hood.length) * hood.mask[..., None]
        basis = gaussian_speed_basis(torch.linalg.vector_norm(v, dim=-1), self.speed_max, self.speed_mix.value.shape[1])
        speed = torch.bmm(basis[:, None], self.speed_mix().index_select(0, species))[:, 0]
        sphere = harmonics(v, self.l_max)
        one_hot = torch.nn.functional.one_hot(species, self.species).to(v)
        scalars = torch.cat([one_hot, speed], dim=-1) @ self.first()
        h: Features = [scalars[:, None], *(part[..., None] * spread for part, spread in zip(sphere[1:], self.spread, strict=True))]
        edge_sphere = harmonics(hood.unit, self.l_max, normalise=self.l_max > 1)
        every = self.blocks[-1].edge_paths + self.blocks[-1].speed_paths
        couplings = {key: getattr(self, name) for key, name in self.couplings.items()}
        edge_blocks = blocks(every, edge_sphere, couplings)
        speed_blocks = blocks(every, [part[:, None] for part in sphere], couplings)
        for block in self.blocks:
            h = block(h, species, radial, speed, hood, edge_blocks, speed_blocks)
        out = h[1][..., : self.channels] @ self.compress() @ self.out()
        return out.transpose(1, 2)
