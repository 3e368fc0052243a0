"""The compiled linear combination behind `trajlab.samplers.fused`. Imported where it is used, because the compiler takes a while to load.

A checker of annotations must not wrap what is compiled: hence `no_type_check`.
"""

from typing import no_type_check

import numba
from numba import types
from numba.extending import intrinsic

#: Numbers worked on at a time, so that what one output of a group leaves is still in the nearest cache for the next.
BLOCK = 1024


@intrinsic
@no_type_check
def pointer(_typing, address, like):
    """An address as a pointer to numbers of the type of the array ``like``."""

    def build(context, builder, signature, given):
        return builder.inttoptr(given[0], context.get_value_type(signature.return_type))

    return types.CPointer(like.dtype)(address, like), build


@no_type_check
def blend(address, code, weights, at, size):
    """Carry out one group: ``code[at]`` outputs; for each its slot, a number of terms, and their slots, with ``weights`` alongside.

    ``address[slot]`` is where ``size`` contiguous numbers of the type of ``weights`` are. An output may read outputs before it.
    """
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        k = at + 1
        for _ in range(code[at]):
            out, terms = pointer(address[code[k]], weights), code[k + 1]
            k += 2
            first = True
            # Four terms a pass, and fewer in the last; each case is a loop of its own, which the compiler vectorises.
            while terms > 0:
                a, u = pointer(address[code[k]], weights), weights[k]
                if terms >= 3:
                    b, v = pointer(address[code[k + 1]], weights), weights[k + 1]
                    c, w = pointer(address[code[k + 2]], weights), weights[k + 2]
                    if terms >= 4:
                        d, z = pointer(address[code[k + 3]], weights), weights[k + 3]
                        if first:
                            for i in range(start, stop):
                                out[i] = a[i] * u + b[i] * v + c[i] * w + d[i] * z
                        else:
                            for i in range(start, stop):
                                out[i] += a[i] * u + b[i] * v + c[i] * w + d[i] * z
                    elif first:
                        for i in range(start, stop):
                            out[i] = a[i] * u + b[i] * v + c[i] * w
                    else:
                        for i in range(start, stop):
                            out[i] += a[i] * u + b[i] * v + c[i] * w
                elif terms == 2:
                    b, v = pointer(address[code[k + 1]], weights), weights[k + 1]
                    if first:
                        for i in range(start, stop):
                            out[i] = a[i] * u + b[i] * v
                    else:
                        for i in range(start, stop):
                            out[i] += a[i] * u + b[i] * v
                elif first:
                    for i in range(start, stop):
                        out[i] = a[i] * u
                else:
                    for i in range(start, stop):
                        out[i] += a[i] * u
                done = min(terms, 4)
                k += done
                terms -= done
                first = False


#: What `blend` is compiled for: weights and states of float32 and of float64.
SIGNATURES = [types.void(types.int64[::1], types.int64[::1], numbers[::1], types.int64, types.int64) for numbers in (types.float32, types.float64)]


def compiled():
    """`blend`, compiled; what the compiler made is kept on disk, where a folder for it can be written to."""
    options = {"nogil": True, "fastmath": {"contract"}}
    try:
        return numba.njit(SIGNATURES, cache=True, **options)(blend)
    except (RuntimeError, OSError):  # no such folder, or no room in it
        return numba.njit(SIGNATURES, **options)(blend)
