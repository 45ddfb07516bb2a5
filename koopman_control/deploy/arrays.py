"""Numbers as C arrays: written so that reading them gives the same bits, every array once."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp

Precision = Literal["double", "float"]
PER_LINE = 8
SHORT = 32_767  # the largest number that every C has a short for


class Arrays:
    """Constant arrays of a C program, in the order in which they were added.

    Args:
        precision: Of real numbers.
    """

    def __init__(self, precision: Precision) -> None:
        self.precision = precision
        self._named: dict[tuple[str, bytes], str] = {}
        self._texts: list[str] = []
        self._counts = {"real": 0, "ordinal": 0}
        self._largest = 0

    def add(self, name: str, values: np.ndarray) -> str:
        """Add an array, row after row, and return the name by which the program finds it.

        An array that is there already only gets a further name.
        """
        flat = np.ascontiguousarray(values).ravel()
        kind = "ordinal" if flat.dtype.kind in "iub" else "real"
        if not flat.size:  # C knows no empty arrays
            flat = np.zeros(1, dtype=flat.dtype)
        key = kind, flat.tobytes()
        known = self._named.setdefault(key, name)
        if known != name:
            self._texts.append(f"#define {name} {known}")
            return name
        self._texts.append(self._text(kind, name, flat))
        self._counts[kind] += flat.size
        if kind == "ordinal":
            self.count_to(int(np.abs(flat).max()))
        return name

    def add_sparse(self, name: str, matrix: Any) -> str:
        """Add a matrix row by row: where rows start, the columns of entries and their values."""
        matrix = sp.csr_array(matrix)
        matrix.eliminate_zeros()
        self.add(f"{name}_start", matrix.indptr.astype(np.int64))
        self.add(f"{name}_column", matrix.indices.astype(np.int64))
        self.add(f"{name}_value", np.asarray(matrix.data, dtype=np.float64))
        return name

    def add_entries(self, name: str, matrix: Any) -> dict[str, Any]:
        """Add the entries of a matrix that are not zero; return its name and how many there are."""
        matrix = sp.coo_array(sp.csr_array(matrix))
        matrix.eliminate_zeros()
        self.add(f"{name}_row", matrix.row.astype(np.int64))
        self.add(f"{name}_column", matrix.col.astype(np.int64))
        self.add(f"{name}_value", np.asarray(matrix.data, dtype=np.float64))
        return {"name": name, "count": matrix.nnz}

    def count_to(self, largest: int) -> None:
        """Say how far the program counts, so that its whole numbers are large enough."""
        self._largest = max(self._largest, largest)

    def _text(self, kind: str, name: str, flat: np.ndarray) -> str:
        if kind == "ordinal":
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
    def ordinal(self) -> str:
        """The type of whole numbers, as small as they allow."""
        return "short" if self._largest <= SHORT else "int"

    @property
    def size(self) -> int:
        """Bytes that they take."""
        reals, ordinals = self._counts["real"], self._counts["ordinal"]
        real, ordinal = (
            (8 if self.precision == "double" else 4),
            (2 if self.ordinal == "short" else 4),
        )
        return reals * real + ordinals * ordinal

    @property
    def text(self) -> str:
        """Definitions of all arrays."""
        return "\n\n".join(self._texts)
