"""What a caller may get wrong in one argument."""

from collections.abc import Iterator
from typing import Any

import numpy as np

STANDARD: dict[str, Any] = {
    "none": None,
    "text": "text",
    "texts": ["a", "b"],
    "nan": float("nan"),
    "inf": float("inf"),
    "zero": 0,
    "minus": -1,
    "fraction": 1.5,
    "true": True,
    "complex": 1j,
    "object": object(),
    "objects": np.array([object(), object()]),
    "empty": [],
    "deep": np.zeros((2, 1, 2, 1, 2)),
    "ragged": [[1.0], [1.0, 2.0]],
}


def bad_values(good: Any) -> Iterator[tuple[str, Any]]:
    """Yield a label and a value, the standard ones and, for arrays, damaged copies."""
    yield from STANDARD.items()
    if isinstance(good, np.ndarray) and good.dtype.kind == "f" and good.size:
        holed = good.copy()
        holed.flat[-1] = np.nan
        yield "holed", holed
        if good.ndim:
            yield "longer", np.concatenate([good, good[-1:]])
            yield "rowless", good[:0]
        if good.ndim > 1:
            yield "wider", np.concatenate([good, good[..., -1:]], axis=-1)
