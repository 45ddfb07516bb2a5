"""Direct forecasters on disk: one checked .npz with the arrays, everything else as settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.common.files import PathLike, load_npz, refusing, save_npz
from koopman_control.features import describe_features, rebuild_features
from koopman_control.forecasting.blending import Blend, Scales
from koopman_control.forecasting.states import StateMap
from koopman_control.forecasting.trunk import Trunk

KIND = "direct-forecaster"
FORMAT_VERSION = 1
_SCALES = ("center", "scale", "input_center", "input_scale", "effect")
_MAP = ("past", "future", "center", "scale")


def write_forecaster(
    path: PathLike,
    scales: Scales,
    blend: Blend,
    further: Mapping[str, Array],
    settings: Mapping[str, Any],
) -> None:
    """Write a fitted forecaster, replacing what was there.

    Args:
        path: Where the file goes.
        scales: Units.
        blend: What predicts.
        further: Arrays to keep beside these.
        settings: What JSON can hold.
    """
    arrays: dict[str, Any] = {f"scales/{name}": getattr(scales, name) for name in _SCALES}
    arrays |= {"coefficients": blend.coefficients}
    maps = []
    for i, (one, gain, share) in enumerate(zip(blend.maps, blend.gains, blend.shares, strict=True)):
        arrays |= {f"maps/{i}/{name}": getattr(one, name) for name in _MAP}
        arrays |= {f"maps/{i}/gain": gain, f"maps/{i}/share": share}
        told: dict[str, Any] = {"trunk": [int(one.trunk.shared), one.trunk.lookback]}
        told["trunk"] += [one.trunk.level, one.trunk.period]
        if one.features is not None:
            told["features"], own = describe_features(one.features)
            arrays |= {f"maps/{i}/features/{name}": a for name, a in own.items()}
        maps.append(told)
    arrays |= {f"further/{name}": a for name, a in further.items()}
    save_npz(path, KIND, FORMAT_VERSION, arrays, {"maps": maps, "forecaster": dict(settings)})


def read_forecaster(
    path: PathLike,
) -> tuple[Scales, Blend, dict[str, Array], dict[str, Any]]:
    """Read what `write_forecaster` wrote.

    Raises:
        FileFormatError: The file is damaged, of another kind, or of another format.
    """
    arrays, settings = load_npz(path, KIND, FORMAT_VERSION)
    with refusing(f"{path} does not hold a whole forecaster; make it again"):
        known: Any = arrays
        scales = Scales(*(known[f"scales/{name}"] for name in _SCALES))
        maps, gains, shares = [], [], []
        for i, told in enumerate(settings["maps"]):
            prefix = f"maps/{i}/"
            features = None
            if "features" in told:
                start = f"{prefix}features/"
                own = {k.removeprefix(start): a for k, a in known.items() if k.startswith(start)}
                features = rebuild_features(told["features"], own)
            shared, lookback, level, period = (int(value) for value in told["trunk"])
            trunk = Trunk(bool(shared), lookback, level, period)
            past, future, center, scale = (known[prefix + name] for name in _MAP)
            maps.append(StateMap(trunk, past, future, features, center, scale))
            gains.append(known[f"{prefix}gain"])
            shares.append(known[f"{prefix}share"])
        blend = Blend(known["coefficients"], tuple(maps), tuple(gains), tuple(shares))
        _check(scales, blend)
        further = {
            name.removeprefix("further/"): np.asarray(a)
            for name, a in known.items()
            if name.startswith("further/")
        }
        return scales, blend, further, dict(settings["forecaster"])


def _check(scales: Scales, blend: Blend) -> None:
    """Raise a ValueError if shapes do not fit together."""
    p, L, H = blend.coefficients.shape
    if scales.center.shape != (p,) or scales.scale.shape != (p,):
        raise ValueError(f"scales of shape {scales.center.shape} for {p} outputs")
    if scales.effect.shape != (len(scales.input_center), p):
        raise ValueError(f"effect has shape {scales.effect.shape}")
    for one, gain, share in zip(blend.maps, blend.gains, blend.shares, strict=True):
        if gain.shape != (one.n_regressors, H * p) or share.shape != (H, p):
            raise ValueError(f"a gain of shape {gain.shape} for {one.n_regressors} regressors")
        if len(one.past) > L or len(one.future) != H or one.trunk.length > L:
            raise ValueError(f"states of {len(one.past)} rows in windows of {L}")
