"""Roll-outs: many systems at once, far into the future, with a thermostat, watchdogs, writers and restart files."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

import trajlab
from trajlab.dynamics import kinetics, thermostats
from trajlab.dynamics.particles import Particles, Propagator
from trajlab.dynamics.streams import Streams
from trajlab.dynamics.thermostats import Ramp, Thermostat
from trajlab.models import restart
from trajlab.models.interrupt import Bar, Interrupt
from trajlab.models.recorder import Recorder
from trajlab.models.starts import build_thermostat, check_start, first_temperature, start_of, tiled
from trajlab.models.stepper import Rules, Stepper
from trajlab.models.watchdogs import Watch
from trajlab.models.writers import Header, Writer, writer_for
from trajlab.types import Forecast, Trajectories
from trajlab.units import Units

Observer = Callable[[Stepper], Mapping[int, str] | None]


@dataclass(frozen=True)
class RolloutConfig:
    """How a roll-out is done.

    Attributes:
        thermostat: ``"langevin"`` (default: it works on every degree of freedom), ``"csvr"``, ``"nve"``, or a thermostat object.
        temperature_K: a number, a `Ramp`, or one number a scene; by default ``context["temperature"]`` of the start, else the mean
            temperature of the model's training data.
        tau_fs: relaxation time of the thermostat; 50 strides by default.
        seed: of the noise. Each system has a stream of its own, so that replica k of a batch equals a single run with
            ``first_stream=k``.
        first_stream: number of the first system's stream.
        draws: independent continuations of every scene.
        velocities: ``"given"``, or ``"maxwell_boltzmann"`` to draw them at the temperature.
        zero_every: strides between two removals of total momentum and (isolated systems) angular momentum; 0 for never.
        record_every: strides between recorded frames; 0 records the last alone.
        write: files to write as it goes, by their endings (`trajlab.models.writers`), or writer objects.
        write_every: strides between written frames; ``record_every`` by default.
        restart: file to write every ``restart_every`` strides and at the end.
        watch: the watchdogs, or None for none but that of non-finite values.
        observers: pairs of a function of the `Stepper` and the number of strides between its calls. A function that returns
            ``{system: reason}`` stops those systems.
        progress: show a progress bar.

    Raises:
        ValueError: a number is out of range.
    """

    thermostat: str | Thermostat = "langevin"
    temperature_K: float | Ramp | tuple[float, ...] | None = None
    tau_fs: float | None = None
    seed: int = 0
    first_stream: int = 0
    draws: int = 1
    velocities: str = "given"
    zero_every: int = 0
    record_every: int = 1
    write: str | Path | Writer | tuple[Any, ...] = ()
    write_every: int | None = None
    restart: str | Path | None = None
    restart_every: int = 1000
    watch: Watch | None = field(default_factory=Watch)
    observers: tuple[tuple[Observer, int], ...] = ()
    progress: bool = True

    def __post_init__(self) -> None:
        for name, low in (("draws", 1), ("zero_every", 0), ("record_every", 0), ("restart_every", 1), ("first_stream", 0)):
            if getattr(self, name) < low:
                raise ValueError(f"RolloutConfig got {name}={getattr(self, name)}; at least {low} was wanted")
        if self.write_every is not None and self.write_every < 1:
            raise ValueError(f"RolloutConfig got write_every={self.write_every}; at least 1 was wanted")
        if self.velocities not in ("given", "maxwell_boltzmann"):
            raise ValueError(f"RolloutConfig got velocities={self.velocities!r}; 'given' or 'maxwell_boltzmann' was wanted")


class RolloutError(RuntimeError):
    """A roll-out ended by an error of a propagator, a writer or an observer; ``forecast`` holds what was computed until then."""

    forecast: Forecast | None = None


def rollout(propagator: Propagator, start: Particles | Trajectories, steps: int, config: RolloutConfig | None = None) -> Forecast:
    """Continue ``start`` (its last frame) for ``steps`` strides.

    A system that a watchdog stops ends alone, with its reason in ``Forecast.stopped`` and ``mask`` False (values NaN) afterwards. An
    interrupt by the keyboard ends the run; the forecast holds the frames until then. State is float64, positions stay unwrapped.

    Raises:
        TypeError: the start is neither `Particles` nor `Trajectories`.
        ValueError: no steps, no temperature for a thermostat, velocities that are missing, not finite or all zero.
        RolloutError: the propagator failed for the whole batch, or a file could not be written; it holds the forecast so far.
    """
    config = config or RolloutConfig()
    if steps < 1:
        raise ValueError(f"a roll-out of {steps} strides was asked for; at least 1 was wanted")
    past, p = start_of(start, config.velocities == "given")
    thermostat = build_thermostat(config.thermostat, config.temperature_K, config.tau_fs, propagator, past)
    p = tiled(p, config.draws)
    streams = Streams.seeded(config.seed, p.n_scenes, config.first_stream)
    if config.velocities == "maxwell_boltzmann":
        p = kinetics.maxwell_boltzmann(p, first_temperature(thermostat, config.temperature_K, propagator, past, config.draws), streams)
    check_start(p)
    if config.draws > 1 and isinstance(getattr(thermostat, "temperature_K", None), tuple):
        thermostat = type(thermostat)(thermostat.temperature_K * config.draws, thermostat.tau_fs)
    run = Stepper(propagator, p, Rules(thermostat, config.watch, config.zero_every), streams)
    base = start_of(p)[0].replace(time=past.time[:, -1:].repeat(config.draws, 1))
    return _Run(run, past, base, config).to(steps)


def resume(path: str | Path, propagator: Propagator, steps: int, config: RolloutConfig | None = None) -> Forecast:
    """Go on from a restart file up to stride ``steps`` of the whole run; the forecast continues the frame of the restart file.

    With the same model and settings the numbers are, to the bit, those of a run that was never interrupted. Files being written
    are extended.

    Raises:
        FileNotFoundError, ValueError: no or a damaged restart file, a model of another stride, or nothing left to do.
    """
    config = config or RolloutConfig()
    tensors, about = restart.read(path)
    if steps <= about["step"]:
        raise ValueError(f"{path} is at stride {about['step']} already; steps counts from the very start, so give more than that")
    rules = Rules(thermostats.described(about["thermostat"]), config.watch, about["zero_every"])
    run = Stepper.resumed(propagator, rules, tensors, about)
    if not run.p.n_scenes:
        raise ValueError(f"all systems of {path} had stopped: {'; '.join(r for r in run.stopped if r)}")
    whole = {name: tensors.get(f"all/{name}") for name in ("time", "scene", "kind", "mass", "cell", "pbc")}
    x = run.p.x.new_full((len(whole["kind"]), 1, 3), torch.nan)
    v, mask = x.clone(), torch.zeros_like(x[..., 0], dtype=torch.bool)
    x[run.nodes, 0], v[run.nodes, 0], mask[run.nodes] = run.p.x, run.p.v, True
    base = Trajectories(x, whole["time"], whole["scene"], mask, whole["kind"], {"velocity": v}, {"mass": whole["mass"]}, {}, whole["cell"],
                        whole["pbc"], Units.md())
    past = base.replace(time=base.time + run.time)
    return _Run(run, past, base, replace(config, draws=1), first=run.step).to(steps)


class _Run:
    """The loop around a `Stepper`: frames kept, files written, observers called, errors turned into what can be kept."""

    def __init__(self, run: Stepper, past: Trajectories, base: Trajectories, config: RolloutConfig, first: int = 0) -> None:
        self.run, self.past, self.base, self.config, self.first = run, past, base, config, first
        self.write_every = config.write_every or config.record_every or 1
        given = config.write if isinstance(config.write, tuple) else (config.write,)
        self.writers = [writer_for(w) if isinstance(w, str | Path) else w for w in given]
        self.about = self._provenance()
        self.began = time.process_time()

    def to(self, steps: int) -> Forecast:
        """Run up to stride ``steps``."""
        run, config = self.run, self.config
        self.recorder = Recorder(run, config.record_every, steps, len(self.base.kind))
        failure: BaseException | None = None
        with Interrupt() as interrupt, Bar(steps, run.stride, config.progress) as bar:
            try:
                self._begin()
                while run.step < steps and not interrupt.asked and run.advance():
                    self._after_step()
                    bar.update(run.step, run.p.n_scenes)
                self._save_restart()
                self._end()
            except KeyboardInterrupt as error:
                failure = error
            except Exception as error:  # whatever it is, what was computed until now is handed over with it
                failure = error
            if failure is not None:
                with contextlib.suppress(OSError, ValueError, RuntimeError):  # the failure itself is what will be told
                    self._end()
        return self._answer(failure, interrupt.asked)

    def _begin(self) -> None:
        header = Header(self.base.time[:, 0], self.about, self.base)
        for writer in self.writers:
            writer.begin(self.run, header, self.first > 0)
            if not self.first:
                writer.frame(self.run)

    def _after_step(self) -> None:
        run, config = self.run, self.config
        for function, every in config.observers:
            if run.step % every == 0:
                run.stop(function(run) or {})
        self.recorder.note(run)
        if self.writers and run.step % self.write_every == 0:
            for writer in self.writers:
                writer.frame(run)
        if config.restart is not None and run.step % config.restart_every == 0:
            self._save_restart()

    def _save_restart(self) -> None:
        if self.config.restart is None:
            return
        for writer in self.writers:
            writer.flush()
        tensors, about = self.run.state()
        base = {"time": self.base.time, "scene": self.base.scene, "kind": self.base.kind, "mass": self.base.mass, "cell": self.base.cell,
                "pbc": self.base.pbc}
        whole = {f"all/{k}": v for k, v in base.items() if v is not None}
        about |= {"thermostat": thermostats.describe(self.run.thermostat), "zero_every": self.config.zero_every, "provenance": self.about}
        restart.write(self.config.restart, {**tensors, **whole}, about)

    def _end(self) -> None:
        for writer in self.writers:
            writer.end()

    def _answer(self, failure: BaseException | None, asked: bool) -> Forecast:
        run = self.run
        if asked or isinstance(failure, KeyboardInterrupt):
            run.stopped = [reason or f"interrupted after {run.time / 1000:.4g} ps" for reason in run.stopped]
        self.recorder.finish(run)
        about = {**self.about, "steps": run.step, "cpu_s": round(time.process_time() - self.began, 3)}
        forecast = self.recorder.forecast(run, self.past, self.config.draws, about, self.first)
        if forecast is None:
            if failure is not None:
                raise failure
            if asked:
                raise KeyboardInterrupt
            raise RolloutError(f"no frame was reached: {'; '.join(r for r in run.stopped if r)}")
        if failure is None or isinstance(failure, KeyboardInterrupt):
            return forecast
        error = RolloutError(f"the roll-out ended after {run.time / 1000:.4g} ps ({type(failure).__name__}: {failure}); what was computed until "
                             "then is in the attribute forecast of this error")
        error.forecast = forecast
        raise error from failure

    def _provenance(self) -> dict[str, Any]:
        run, config = self.run, self.config
        return {
            "method": type(run.propagator).__name__, "model": restart.fingerprint(run.propagator), "version": trajlab.__version__,
            "stride_fs": run.stride, "thermostat": thermostats.describe(run.thermostat), "seed": config.seed, "first_stream": config.first_stream,
            "zero_every": config.zero_every, "record_every": config.record_every, "write_every": self.write_every,
            "data": getattr(run.propagator, "about", {}).get("data"), "source": dict(self.past.source),
        }
