"""What a simulation is: the settings of a reference run, with their units."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MDRecipe:
    """Settings of reference molecular dynamics, for pairs (`sampling.nve_pairs`) and for trajectories (`sampling.nvt_trajectory`).

    Attributes:
        system: what is simulated, a name of `trajlab.sources.TABLE`.
        potential: with which forces.
        temperature: K.
        dt: step of the integrator, fs.
        stride: spacing of recorded frames, fs, a multiple of ``dt``.
        frames: frames in an NVE segment, 2 for pairs, more for losses over several steps.
        pairs: number of NVE segments in all replicas together.
        replicas: independent runs, simulated at once.
        friction: of the Langevin dynamics between segments, 1/fs.
        decorrelate: Langevin time between segments, fs.
        equilibrate: Langevin time before the first segment, fs.
        seed: of the random numbers.

    Raises:
        ValueError: a setting is out of range, or the stride is not a multiple of the step.
    """

    system: str = ""
    potential: str = ""
    temperature: float = 300.0
    dt: float = 0.5
    stride: float = 7.0
    frames: int = 2
    pairs: int = 8320
    replicas: int = 64
    friction: float = 0.02
    decorrelate: float = 200.0
    equilibrate: float = 3000.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("temperature", "dt", "stride", "friction"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)} of a recipe must be positive")
        for name, least in (("frames", 2), ("pairs", 1), ("replicas", 1), ("decorrelate", 0), ("equilibrate", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} = {getattr(self, name)} of a recipe must be at least {least}")
        if abs(self.stride / self.dt - self.steps) > 1e-9 or self.steps < 1:
            raise ValueError(f"stride = {self.stride:g} fs is not a multiple of dt = {self.dt:g} fs; try dt = {self.stride / max(self.steps, 1):g}")

    @property
    def steps(self) -> int:
        """Integrator steps in one stride."""
        return round(self.stride / self.dt)
