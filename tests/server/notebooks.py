"""Running a notebook's cells in order without Jupyter: what is printed, and what a last line gives."""

from __future__ import annotations

import ast
import contextlib
import io
from typing import Any


def outputs(cells: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The outputs of each code cell, in the notebook format (nbformat 4)."""
    names: dict[str, Any] = {"__name__": "__main__"}
    found = []
    for number, cell in enumerate([cell for cell in cells if cell["cell_type"] == "code"], start=1):
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        printed = io.StringIO()
        value = None
        with contextlib.redirect_stdout(printed):
            exec(compile(tree, f"cell {number}", "exec"), names)
            if last is not None:
                value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
        parts = []
        if printed.getvalue():
            parts.append({"name": "stdout", "output_type": "stream", "text": printed.getvalue().splitlines(True)})
        if value is not None:
            data = {"text/plain": repr(value).splitlines(True)}
            parts.append({"data": data, "execution_count": number, "metadata": {}, "output_type": "execute_result"})
        found.append(parts)
    return found
