"""Ways to damage a file by accident, and to forge one on purpose."""

from __future__ import annotations

import hashlib
import io
import json
import math
import operator
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

Members = dict[str, bytes]
Rng = np.random.Generator
Attack = Callable[[bytes, Rng], bytes]

STRANGE: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2, 10**6, 10**12, 2**63, 10**400, 0.5, 1e308, "", "x", "nan", "O", "|O8",
    "<f8", "<U100000", "F", "os.system", [], [0], [-1], [10**9, 10**9], [0, 10**12], {}, {"a": 1},
    [[[[]]]], "\ud800", "../../etc/passwd",
)  # fmt: skip


def damaged(data: bytes, rng: Rng) -> bytes:
    """Truncate, flip, overwrite, cut out, repeat or insert bytes, now and then several times."""
    for _ in range(int(rng.geometric(0.7))):
        if not data:
            return data
        a = int(rng.integers(len(data)))
        b = min(len(data), a + int(rng.integers(1, 64)))
        kind = rng.integers(7)
        if kind == 0:
            data = data[:a]
        elif kind in (1, 2):
            data = data[:a] + bytes([data[a] ^ 1 << int(rng.integers(8))]) + data[a + 1 :]
        elif kind == 3:
            data = data[:a] + rng.bytes(b - a) + data[b:]
        elif kind == 4:
            data = data[:a] + data[b:]
        elif kind == 5:
            data = data[:b] + data[a:]
        else:
            data = data[:a] + rng.bytes(b - a) + data[a:]
    return data


def repacked(data: bytes, rng: Rng) -> bytes:
    """Change the members of an archive, all its zip sums correct."""
    members, method, twice = unpacked(data), zipfile.ZIP_STORED, None
    name, other = (str(n) for n in rng.choice(list(members), 2))
    kind = rng.integers(7)
    if kind == 0:
        del members[name]
    elif kind == 1:
        members[name + "x"] = members.pop(name)
    elif kind == 2:
        members[name] = members[other]
    elif kind == 3:
        members[name] = damaged(members[name], rng)
    elif kind == 4:
        members["more.npy"] = members[name]
    elif kind == 5:
        method = zipfile.ZIP_DEFLATED
    else:
        twice = name
    return packed(members, method, twice)


def forged(data: bytes, rng: Rng) -> bytes:
    """Change header or arrays and sign anew: what only an enemy does, and no checksum tells."""
    members = unpacked(data)
    facts = json.loads(members["header.json"])
    for _ in range(int(rng.geometric(0.6))):
        if rng.random() < 0.8:
            _set_something(facts, rng)
        else:
            name = str(rng.choice([n for n in members if n.endswith(".npy")]))
            body = bytearray(members[name])
            for _ in range(8):
                body[int(rng.integers(len(body)))] = int(rng.integers(256))
            members[name] = bytes(body)
    members["header.json"] = json.dumps(facts).encode()
    return packed(signed(members, facts))


def signed(members: Members, facts: Any) -> Members:
    """Put the checksum in that fits the members, as far as the header still makes sense."""
    digest = hashlib.sha256(members["header.json"])
    try:
        for name in sorted(facts["arrays"]):
            form = facts["arrays"][name]
            size = math.prod(map(operator.index, form["shape"])) * np.dtype(form["type"]).itemsize
            digest.update(members[f"{name}.npy"][-size:] if size else b"")
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError):
        pass  # no reader gets as far as the checksum
    return members | {"sha256": digest.hexdigest().encode()}


def unpacked(data: bytes) -> Members:
    """Return the members of an archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(members: Members, method: int = zipfile.ZIP_STORED, twice: str | None = None) -> bytes:
    """Make an archive of members, one of them perhaps twice."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore")  # that a name is there twice is meant
        for name, body in members.items():
            archive.writestr(name, body)
        if twice is not None:
            archive.writestr(twice, members[twice])
    return buffer.getvalue()


def _set_something(facts: Any, rng: Rng) -> None:
    """Replace or remove a value somewhere in nested lists and mappings."""
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            places.append((node, key))
            if isinstance(value, dict | list):
                walk(value)

    walk(facts)
    node, key = places[int(rng.integers(len(places)))]
    if rng.random() < 0.15:
        del node[key]
    else:
        node[key] = STRANGE[int(rng.integers(len(STRANGE)))]
