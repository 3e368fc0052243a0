"""Quick execution of a table: every stage, with the conversions of predictions that it needs, in one compiled pass over memory.

Between two calls of the denoiser all that happens is linear: a raw prediction m = (value - B x)/A is turned into the reading of the stage, and states
and readings are combined. `Program` folds the coefficients of both once for a table and for what a denoiser returns; `execute` runs it. A
corrected state that only the next prediction step needs (UniPC) is folded into that step and never written.

This serves runs where nothing looks in on the way: no hooks, mask, watcher or gradients, plain numbers as weights, and a contiguous
float32 or float64 state on the CPU of some size. Others take the loop of `tables.execute`, to whose results these are equal up to rounding. What a
user may hold (start, states handed to the net, outputs of the net, the result) is never written to. As there, a net may return the
same tensor every time, but must not overwrite what it returned for earlier calls.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _get_current_dispatch_mode

from trajlab.paths.gaussian import Level
from trajlab.paths.prediction import Prediction, Reading, conversion
from trajlab.samplers.tables import Run, Table

#: Numbers in a state times stages, from which on a run goes here. Smaller runs never load the compiler (a third of a second, once a process). The
#: rule knows nothing but the run: the same run gives the same numbers whatever ran before it.
SMALLEST = 1 << 17
#: Numbers in a state above which the plain loop, where it has several threads, may be as quick as one thread here.
LARGEST = 1 << 20
#: Weights of a state relative to the state before it, between which one is written by the other without loss of digits.
ALIKE = (0.5, 2.0)


@dataclass(frozen=True)
class Group:
    """A call, and what follows it before the next.

    Attributes:
        level: where the denoiser is called.
        state, value: slots of the state that it is called on, and of what it returns.
        draws: slots of fresh noise.
        fresh: slots of states that are made.
        dead: slots that nothing reads afterwards.
        at: where the group begins in `Program.code`.
    """

    level: Level
    state: int
    value: int
    draws: tuple[int, ...]
    fresh: tuple[int, ...]
    dead: tuple[int, ...]
    at: int


@dataclass(frozen=True)
class Program:
    """A table for one reading of raw predictions. Slots are states (0 the start), then raw predictions, then readings of them, then noise.

    Attributes:
        reading: what the denoiser returns.
        groups: in order.
        code, weights: as `fused_kernels.blend` reads them; weights by dtype.
        slots: how many there are.
        inner: slots of readings, and which buffer each has.
        last: slot of the sample.
    """

    reading: str | Reading
    groups: tuple[Group, ...]
    code: NDArray[np.int64]
    weights: dict[torch.dtype, NDArray[Any]]
    slots: int
    inner: tuple[tuple[int, int], ...]
    last: int

    @classmethod
    def of(cls, table: Table, reading: str | Reading) -> Self:
        """Compile a table whose weights and levels are numbers, and that begins with a call.

        Raises:
            ValueError: a stage reads predictions in a way that is not determined at their level.
        """
        return cls(**_Compiler(table, reading).program())


@dataclass
class _Linear:
    """A stage as a sum over absolute indices: states, (call, kind) and a draw of noise."""

    states: dict[int, float]
    predictions: dict[tuple[int, str], float]
    noise: float


class _Compiler:
    """Makes a `Program`."""

    def __init__(self, table: Table, reading: str | Reading) -> None:
        self.table, self.reading, self.stages = table, reading, table.stages
        self.calls = [k for k, stage in enumerate(self.stages) if stage.level is not None]  # a call's stage, whose newest state has its number
        self.group = np.cumsum([stage.level is not None for stage in self.stages]).tolist()  # of a stage, from 1; call j belongs to group j + 1
        plain = [self._linear(k) for k in range(len(self.stages))]
        self.sums = [_relative(plain[k - 1], now, k) if k and now.states else now for k, now in enumerate(plain)]
        self.used = self._used()
        self.kept = self._kept()
        self.read = {read: len(self.stages) + 1 + len(self.calls) + i for i, read in enumerate(sorted(self._readings()))}
        self.made: list[list[int]] = [[] for _ in range(len(self.calls) + 1)]  # stages by group
        for k, g in enumerate(self.group):
            self.made[g].append(k)

    def _linear(self, k: int) -> _Linear:
        stage, newest = self.stages[k], self.group[k] - 1
        states = {k - i: w for i, w in enumerate(stage.states[: k + 1]) if w != 0}
        predictions = {(newest - j, stage.kind): w for j, w in enumerate(stage.predictions[: newest + 1]) if w != 0}
        return _Linear(states or ({} if predictions else {k: 0.0}), predictions, stage.noise)

    def _used(self) -> dict[tuple[int, str], set[int]]:
        """Groups in which a reading of a call is wanted."""
        used: dict[tuple[int, str], set[int]] = {}
        for k, now in enumerate(self.sums):
            for read in now.predictions:
                used.setdefault(read, set()).add(self.group[k])
        return used

    def _readings(self) -> set[tuple[int, str]]:
        """Readings that are written, because they are wanted after their call's own group and are not the raw value itself."""
        return {(j, kind) for (j, kind), groups in self.used.items() if max(groups) > j + 1 and self._weights(j, kind)[1] != 0}

    def _weights(self, call: int, kind: str) -> tuple[float, float]:
        return conversion(self.stages[self.calls[call]].level, self.reading, kind)

    def _kept(self) -> set[int]:
        """States that are written: those that are called on, the last, and those that more than their own group, or more than one stage, needs."""
        seen: dict[int, int] = {}
        kept = {0, len(self.stages), *self.calls}
        for k, now in enumerate(self.sums):
            for state in now.states:
                seen[state] = seen.get(state, 0) + 1
                if seen[state] > 1 or (state and self.group[state - 1] != self.group[k]):
                    kept.add(state)
        return kept

    # Slots.

    def _value(self, call: int) -> int:
        return len(self.stages) + 1 + call

    def _draw(self, stage: int) -> int:
        return len(self.stages) + 1 + len(self.calls) + len(self.read) + stage

    # Code.

    def _terms(self, k: int, weight: float = 1.0) -> dict[int, float]:
        """The state that stage k makes, as weights of slots."""
        found: dict[int, float] = {}
        now = self.sums[k]
        for state, w in now.states.items():
            _add(found, {state: w} if state in self.kept else self._terms(state - 1, w))
        for (call, kind), w in now.predictions.items():
            _add(found, {self.read[call, kind]: w} if (call, kind) in self.read else self._raw(call, kind, w))
        if now.noise:
            _add(found, {self._draw(k): now.noise})
        return {slot: weight * w for slot, w in found.items()}

    def _raw(self, call: int, kind: str, weight: float) -> dict[int, float]:
        on_value, on_x = self._weights(call, kind)
        return {self._value(call): weight * on_value} | ({self.calls[call]: weight * on_x} if on_x != 0 else {})

    def program(self) -> dict[str, Any]:
        """The fields of a `Program`."""
        outputs = [self._outputs(g) for g in range(1, len(self.calls) + 1)]
        last: dict[int, int] = {}
        for g, made in enumerate(outputs):
            last |= dict.fromkeys((self.calls[g], self._value(g), *(slot for out, terms in made for slot in (out, *terms))), g)
        dead: dict[int, tuple[int, ...]] = {}
        for slot, g in last.items():
            dead[g] = (*dead.get(g, ()), slot) if slot != len(self.stages) else dead.get(g, ())
        code, weights, groups = [], [], []
        for g, made in enumerate(outputs):
            draws = tuple(self._draw(k) for k in self.made[g + 1] if self.stages[k].noise)
            fresh = tuple(out for out, _ in made if out <= len(self.stages))
            groups.append(Group(self.stages[self.calls[g]].level, self.calls[g], self._value(g), draws, fresh, dead.get(g, ()), len(code)))
            for slots, values in _encoded(made):
                code += slots
                weights += values
        inner = _buffers([(slot, call, last[slot]) for (call, _), slot in self.read.items()])
        exact = np.array(weights, dtype=np.float64)
        return {"reading": self.reading, "groups": tuple(groups), "code": np.array(code, dtype=np.int64), "inner": inner,
                "weights": {torch.float64: exact, torch.float32: exact.astype(np.float32)}, "slots": self._draw(len(self.stages)),
                "last": len(self.stages)}

    def _outputs(self, group: int) -> list[tuple[int, dict[int, float]]]:
        """What a group writes, in order: slot, and weights of slots."""
        kinds = sorted(kind for call, kind in self.used if call == group - 1)
        made = [(self.read[group - 1, kind], self._raw(group - 1, kind, 1.0)) for kind in kinds if (group - 1, kind) in self.read]
        return made + [(k + 1, self._terms(k)) for k in self.made[group] if k + 1 in self.kept]


def _relative(before: _Linear, now: _Linear, newest: int) -> _Linear:
    """A sum that starts from the state before the newest, written from the newest: a corrector from what its predictor made.

    The newest state must be read for the call anyway; the older one need then not be kept.
    """
    base = newest - 1
    if set(now.states) != {base} or set(before.states) != {base} or before.noise or not set(before.predictions) <= set(now.predictions):
        return now
    ratio = now.states[base] / before.states[base] if before.states[base] else 0.0
    if not ALIKE[0] <= ratio <= ALIKE[1]:
        return now
    changed = {read: w - ratio * before.predictions.get(read, 0.0) for read, w in now.predictions.items()}
    return _Linear({newest: ratio}, changed, now.noise)


def _add(found: dict[int, float], more: dict[int, float]) -> None:
    for slot, w in more.items():
        found[slot] = found.get(slot, 0.0) + w


def _encoded(made: list[tuple[int, dict[int, float]]]) -> Iterable[tuple[list[int], list[float]]]:
    yield [len(made)], [0.0]
    for out, terms in made:
        yield [out, len(terms), *terms], [0.0, 0.0, *terms.values()]


def _buffers(lives: list[tuple[int, int, int]]) -> tuple[tuple[int, int], ...]:
    """A buffer for every (slot, first group, last group), shared by those that do not live at once."""
    until: list[int] = []
    found = []
    for slot, first, last in sorted(lives, key=lambda life: life[1]):
        free = next((b for b, end in enumerate(until) if end < first), len(until))
        until[free : free + 1] = [last]
        found.append((slot, free))
    return tuple(found)


def serves(table: Table, run: Run, x: Tensor) -> bool:
    """Whether a run can be, and is worth being, executed here."""
    return (not run.hooks and run.mask is None and run.watch is None and type(run) is Run and type(x) is Tensor and x.is_cpu
            and x.dtype in (torch.float32, torch.float64) and not x.requires_grad and x.layout is torch.strided and x.is_contiguous()
            and x.numel() * len(table.stages) >= SMALLEST and (x.numel() <= LARGEST or torch.get_num_threads() == 1)
            and table.plain and not _transformed(x) and kernel() is not None)


def _transformed(x: Tensor) -> bool:
    """Whether there may be more to a tensor than its numbers: tangents, batches of `torch.vmap`, a pending negation, a trace."""
    try:
        inside = forward_ad._current_level >= 0 or torch._C._functorch.peek_interpreter_stack() is not None
    except AttributeError:  # a torch that keeps this elsewhere: nothing is known
        return True
    return inside or _get_current_dispatch_mode() is not None or x.is_neg() or torch.compiler.is_compiling() or torch.jit.is_tracing()


@cache
def kernel() -> Any:
    """The compiled combination, or None where there is no compiler."""
    if importlib.util.find_spec("numba") is None:
        return None
    from trajlab.samplers import fused_kernels

    return fused_kernels.compiled()


def execute(table: Table, run: Run, x: Tensor) -> Tensor:
    """As `tables.execute`, for runs that this `serves`, after `Run.begin`."""
    first, denoiser, condition = table.stages[0].level, run.denoiser, run.condition
    with torch.no_grad():
        run.nfe += 1
        found = denoiser(x, first, **condition)
        program = _program(table, found.reading)
        held, address, _inner = _memory(program, x)
        blend, code, weights, size = kernel(), program.code, program.weights[x.dtype], x.numel()
        for group in program.groups:
            if found is None:
                run.nfe += 1
                found = denoiser(held[group.state], group.level, **condition)
            held[group.value] = value = _like(found.raw, x) if found.reading is program.reading else _raw(program, found, x)
            address[group.value] = value.data_ptr()
            for slot in group.draws:
                held[slot] = z = _like(run.noise.normal(x), x)
                address[slot] = z.data_ptr()
            for slot in group.fresh:
                held[slot] = new = torch.empty_like(x)
                address[slot] = new.data_ptr()
            blend(address, code, weights, group.at, size)
            for slot in group.dead:
                held[slot] = None
            found = None
        run.nodes += table.nodes
        return held[program.last]


def _program(table: Table, reading: str | Reading) -> Program:
    found = table.programs.get(reading)
    if found is None:
        found = table.programs[reading] = Program.of(table, reading)
    return found


def _memory(program: Program, x: Tensor) -> tuple[list[Tensor | None], NDArray[np.int64], Tensor]:
    """Tensors by slot, their addresses, and the buffer of readings, which must be held on to."""
    held: list[Tensor | None] = [None] * program.slots
    address = np.zeros(program.slots, dtype=np.int64)
    held[0], address[0] = x, x.data_ptr()
    inner = x.new_empty(x.numel() * (1 + max((b for _, b in program.inner), default=-1)))
    begin, length = inner.data_ptr(), x.numel() * x.element_size()
    for slot, number in program.inner:
        address[slot] = begin + number * length
    return held, address, inner


def _raw(program: Program, found: Prediction, x: Tensor) -> Tensor:
    """The raw value of a prediction, in the reading of the program and in the layout of x."""
    if found.reading == program.reading:
        return _like(found.raw, x)
    if isinstance(program.reading, str):
        return _like(found.view(program.reading), x)
    _, skip, out = program.reading.weights(found.level)
    return _like((found.x0 - found.x * skip) / out, x)


def _like(value: Tensor, x: Tensor) -> Tensor:
    """A value in the layout and dtype of x; itself where it has them."""
    if value.shape != x.shape:
        raise ValueError(f"the denoiser gave a prediction of shape {tuple(value.shape)} for a state of shape {tuple(x.shape)}; they must be the same")
    if type(value) is Tensor and value.dtype is x.dtype and value.is_cpu and value.is_contiguous() and not value.is_neg():
        return value
    return value.detach().as_subclass(Tensor).to(x).resolve_neg().contiguous()
