"""Code of the user's own, named as package.module:function and run only when it is trusted."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

from studio.core.errors import PlanError, StudioError

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def names_code(source: Any) -> bool:
    """True for the text "package.module:function", unless a file has that name."""
    return isinstance(source, str) and _NAME.fullmatch(source) is not None and not Path(source).exists()


def call(name: str, what: str, *, trust: bool, error: type[StudioError]) -> Any:
    """Return what a function that takes nothing returns; `what`: the part that it plays, in words.

    Raises PlanError without `trust` and for what is no such name, `error` where the code fails.
    """
    if not trust:
        refused = f"'{name}' is code, and code is run only when it is trusted."
        raise PlanError(refused, where=what, remedy="Say trust=True (--trust) if you know what it does.")
    module, colon, function = name.partition(":")
    if not colon:
        raise PlanError(f"{what} '{name}' is no function.", remedy="Write package.module:function.")
    try:
        return getattr(importlib.import_module(module), function)()
    except (Exception, SystemExit) as fault:
        failed = f"the {what} failed ({type(fault).__name__}: {(str(fault).splitlines() or [''])[0]})."
        raise error(failed, where=name, remedy="Correct it, or check the name.") from None


def source_file(name: str) -> str | None:
    """File of a function that was called already; None where it is not known."""
    return getattr(sys.modules.get(name.partition(":")[0]), "__file__", None)
