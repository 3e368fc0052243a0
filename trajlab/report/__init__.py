"""The report: one self-contained HTML page with playable structures, tables, figures and provenance. Imports no torch.

``trajlab.report(evaluation)`` is short for `trajlab.report.page.report`; the module itself can be called, because the front door
has one name for both.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from trajlab.report.page import Report, report

__all__ = ["Report", "report"]


class _Room(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Report:
        return report(*args, **options)


sys.modules[__name__].__class__ = _Room
