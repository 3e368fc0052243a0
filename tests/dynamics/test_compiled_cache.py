"""A driver kept on disk by a program whose right-hand side is gone can still be had by another."""

import os
import subprocess
import sys

DRIVER = """
import numba as nb

RHS = nb.float64(nb.float64)


@nb.njit(cache=True)
def drive(rhs, x):
    return rhs(x) + 1.0
"""
LEFT = """
import numba as nb
from kept_driver import drive


def twice(x):
    return 2.0 * x


def made(function):
    inner = nb.njit(function)

    @nb.njit(nb.float64(nb.float64))
    def filled(x):
        return inner(x)

    return filled


double = made(twice)
"""
FIRST = "from gone_program import double, drive; assert drive(double, 1.0) == 3.0"  # specialised to the function of that module
SECOND = """
import numba as nb
from kept_driver import RHS, drive
from trajlab.dynamics.compiled import only


@nb.njit(RHS)
def treble(x):
    return 3.0 * x


assert only(drive, nb.types.FunctionType(RHS), nb.float64)(treble, 1.0) == 4.0
"""


def test_an_index_that_names_a_program_that_is_gone_is_started_anew(tmp_path):
    (tmp_path / "kept_driver.py").write_text(DRIVER)
    (tmp_path / "gone_program.py").write_text(LEFT)
    room = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]), "NUMBA_CACHE_DIR": str(tmp_path / "kept")}
    subprocess.run([sys.executable, "-c", FIRST], env=room, check=True)
    (tmp_path / "gone_program.py").unlink()
    subprocess.run([sys.executable, "-c", SECOND], env=room, check=True)
