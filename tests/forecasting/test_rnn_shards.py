"""Networks fitted to shards: forecasts of a fit to all series in memory."""

from collections.abc import Sequence
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from koopman_control.common.arrays import Array
from koopman_control.features import SampledFeatures
from koopman_control.forecasting import SampledRNN
from koopman_control.identification import snapshots
from koopman_control.trajectories import Trajectory


def wave(n_steps: int, seed: int) -> Trajectory:
    """Simulate a damped, driven oscillation."""
    rng = np.random.default_rng(seed)
    U, X = rng.uniform(-1.0, 1.0, (n_steps, 1)), [rng.uniform(-1.0, 1.0, 2)]
    for u in U[:, 0]:
        x, v = X[-1]
        X.append(X[-1] + 0.1 * np.array([v, -np.sin(x) - 0.1 * v + u]))
    return Trajectory(np.array(X), U, dt=0.1)


DATA = [wave(n, seed) for seed, n in enumerate((120, 60, 2, 150, 90))]
SHARDS = [DATA[:2], [], DATA[2:4], DATA[4:]]


def network(**settings: Any) -> SampledRNN:
    features = SampledFeatures(15, random_state=0)
    return SampledRNN(features, **({"horizon": 8, "memory": 1} | settings))


def forecasts(network: SampledRNN) -> Array:
    found = network.forecast_with_intervals(DATA[0], 8, np.zeros((8, 1)))
    return np.concatenate([found.mean, *found.interval(0.9)])


def lazily(shards: Sequence[Sequence[Trajectory]]) -> list[Any]:
    return [lambda shard=shard: shard for shard in shards]


@pytest.mark.parametrize("plenty", [snapshots.PLENTY, 150])
@pytest.mark.parametrize(
    "settings",
    [{}, {"n_draws": 2}, {"n_recurrent": 4, "memory": 3}, {"increments": False}],
    ids=str,
)
def test_shards_give_the_network_of_all_series_in_memory(
    monkeypatch: pytest.MonkeyPatch, plenty: int, settings: dict[str, Any]
) -> None:
    monkeypatch.setattr(snapshots, "PLENTY", plenty)
    one, two = network(**settings).fit(lazily(SHARDS)), network(**settings).fit(DATA)
    np.testing.assert_allclose(one.cv_error_, two.cv_error_, rtol=1e-6)
    np.testing.assert_allclose(forecasts(one), forecasts(two), rtol=0.0, atol=1e-8)


def test_few_series_are_cut_in_time_as_in_memory() -> None:
    one, two = network().fit_shards([DATA[:1], DATA[3:4]]), network().fit(DATA[:4:3])
    np.testing.assert_allclose(forecasts(one), forecasts(two), rtol=0.0, atol=1e-8)


def test_threads_give_the_same_bits() -> None:
    once = forecasts(network().fit_shards(SHARDS))
    with joblib.parallel_config("threading", n_jobs=2):
        np.testing.assert_array_equal(forecasts(network().fit_shards(SHARDS)), once)


def test_a_pilot_keeps_its_scales_and_features() -> None:
    pilot = network(n_draws=2).fit(DATA[:2])
    weights = [member.lift.features.weights_ for member in pilot._ensemble.members]
    parts = [pilot.sums(shard) for shard in SHARDS]
    at_once = network(n_draws=2).fit_shards(SHARDS, pilot=DATA[:2])
    np.testing.assert_array_equal(forecasts(pilot.merge(parts)), forecasts(at_once))
    for member, drawn in zip(pilot._ensemble.members, weights, strict=True):
        np.testing.assert_array_equal(member.lift.features.weights_, drawn)
        assert member.total.factor().n_samples == sum(max(0, len(t) - 1) for t in DATA)
    given = {"n_folds": 0, "regularization": 1e-6}
    np.testing.assert_allclose(
        network(**given).fit_shards(SHARDS, pilot=DATA).forecast(DATA[0], 8, np.zeros((8, 1))),
        network(**given).fit(DATA).forecast(DATA[0], 8, np.zeros((8, 1))),
        rtol=0.0,
        atol=1e-8,
    )


def test_what_cannot_be_fitted_to_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="noise is 'smooth', which needs all data at once"):
        network(noise="smooth").fit_shards(SHARDS)
    with pytest.raises(TypeError, match="inputs are given beside shards; their actions"):
        network().fit(lazily(SHARDS), inputs=np.ones((5, 1)))
    with pytest.raises(ValueError, match="no series in 1 shards has more than 4 rows"):
        network(memory=3).fit_shards([DATA[2:3]])
    with pytest.raises(NotFittedError, match="sums needs a pilot: first fit this SampledRNN"):
        network().sums(DATA)
    still = Trajectory(np.ones((5, 2)), np.ones((4, 1)))
    with pytest.raises(ValueError, match=r"never moves|constant"):
        network().fit_shards([[still]])
    wide = Trajectory(np.ones((5, 3)), np.ones((4, 1)))
    with pytest.raises(ValueError, match="shard 1: series 0 has the columns"):
        network().fit_shards([DATA[:1], [wide]])
    one, two = network().fit(DATA[:2]), network().fit(DATA[3:])
    with pytest.raises(ValueError, match=r"parts\[0\] was summed with .* another pilot"):
        one.merge([two.sums(DATA)])
