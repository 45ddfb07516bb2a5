"""Numbers as C arrays: written so that reading them gives the same bits, every array once."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp

Precision = Literal["double", "float"]
PER_LINE = 8


class Arrays:
    """Constant arrays of a C program, in the order in which they were added.

    Args:
        precision: Of real numbers.
    """

    def __init__(self, precision: Precision) -> None:
        self.precision = precision
        self._named: dict[tuple[str, bytes], str] = {}
        self._texts: list[str] = []
        self.size = 0  # in bytes

    def add(self, name: str, values: np.ndarray) -> str:
        """Add an array, row after row, and return the name by which the program finds it.

        An array that is there already only gets a further name.
        """
        flat = np.ascontiguousarray(values).ravel()
        kind = "int" if flat.dtype.kind in "iub" else "real"
        if not flat.size:  # C knows no empty arrays
            flat = np.zeros(1, dtype=flat.dtype)
        key = kind, flat.tobytes()
        known = self._named.setdefault(key, name)
        if known != name:
            self._texts.append(f"#define {name} {known}")
            return name
        self._texts.append(self._text(kind, name, flat))
        self.size += flat.size * (8 if kind == "real" and self.precision == "double" else 4)
        return name

    def add_sparse(self, name: str, matrix: Any) -> str:
        """Add a matrix row by row: where rows start, the columns of entries and their values."""
        matrix = sp.csr_array(matrix)
        matrix.eliminate_zeros()
        self.add(f"{name}_start", matrix.indptr.astype(np.int64))
        self.add(f"{name}_column", matrix.indices.astype(np.int64))
        self.add(f"{name}_value", np.asarray(matrix.data, dtype=np.float64))
        return name

    def _text(self, kind: str, name: str, flat: np.ndarray) -> str:
        if kind == "int":
            words = [str(int(value)) for value in flat.tolist()]
        else:
            words = [self.number(value) for value in flat.tolist()]
        lines = [", ".join(words[i : i + PER_LINE]) for i in range(0, len(words), PER_LINE)]
        body = ",\n    ".join(lines)
        return f"static const {kind} {name}[{flat.size}] = {{\n    {body}\n}};"

    def number(self, value: float) -> str:
        """Write a real number in C."""
        if not math.isfinite(value):
            return "NAN" if math.isnan(value) else "-INFINITY" if value < 0.0 else "INFINITY"
        if self.precision == "double":
            return repr(float(value))
        text = f"{float(np.float32(value)):.9g}"
        return text + ("f" if set(text) & set(".e") else ".0f")

    @property
    def text(self) -> str:
        """Definitions of all arrays."""
        return "\n\n".join(self._texts)
