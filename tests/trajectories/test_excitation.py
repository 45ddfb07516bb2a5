import numpy as np
import pytest

from koopman_control.trajectories import PRBS, HeldUniform, Multisine, OrnsteinUhlenbeck, Signal

LOW, HIGH = np.array([-2.0, 0.0]), np.array([2.0, 1.0])
SIGNALS = [
    HeldUniform(),
    HeldUniform(hold=(2, 9)),
    Multisine(),
    PRBS(hold=3),
    OrnsteinUhlenbeck(scale=2.0),
]


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("n_steps", [1, 7, 500])
def test_every_signal_fills_the_shape_and_stays_in_the_box(signal: Signal, n_steps: int) -> None:
    u = signal.sample(n_steps, LOW, HIGH, np.random.default_rng(0))
    assert u.shape == (n_steps, 2)
    assert (u >= LOW).all()
    assert (u <= HIGH).all()


@pytest.mark.parametrize("signal", SIGNALS)
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(signal: Signal) -> None:
    a, b, c = (signal.sample(100, LOW, HIGH, np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_box_without_width_gives_its_only_value(signal: Signal) -> None:
    u = signal.sample(20, [0.5], [0.5], np.random.default_rng(0))
    np.testing.assert_array_equal(u, 0.5)


def test_held_uniform_has_the_moments_of_the_uniform_distribution() -> None:
    u = HeldUniform().sample(100_000, LOW, HIGH, np.random.default_rng(0))
    np.testing.assert_allclose(u.mean(axis=0), [0.0, 0.5], atol=0.02)
    np.testing.assert_allclose(u.var(axis=0), (HIGH - LOW) ** 2 / 12, rtol=0.02)


def test_held_values_last_as_long_as_asked() -> None:
    u = HeldUniform(hold=(2, 5)).sample(10_000, [-1.0], [1.0], np.random.default_rng(0))[:, 0]
    changes = np.flatnonzero(np.diff(u)) + 1
    lengths = np.diff(changes)  # whole pieces only
    assert set(lengths) == {2, 3, 4, 5}


def test_multisine_holds_equal_energy_in_its_harmonics_and_none_elsewhere() -> None:
    signal = Multisine(n_harmonics=5, period=64)
    u = signal.sample(128, [-1.0, -3.0], [1.0, 3.0], np.random.default_rng(0))
    np.testing.assert_allclose(u[64:], u[:64], atol=1e-14)
    amplitude = np.abs(np.fft.rfft(u[:64], axis=0))
    np.testing.assert_allclose(amplitude[1:6], np.tile(amplitude[1], (5, 1)))
    np.testing.assert_allclose(amplitude[[0, *range(6, 33)]], 0.0, atol=1e-12)
    np.testing.assert_allclose(np.abs(u).max(axis=0), [1.0, 3.0])


def test_prbs_of_full_length_is_balanced_and_white() -> None:
    u = PRBS().sample(31, [-1.0], [1.0], np.random.default_rng(0))[:, 0]
    assert set(u) == {-1.0, 1.0}
    assert abs(u.sum()) == 1.0
    for shift in range(1, 31):  # the autocorrelation of a maximum-length sequence is -1
        assert u @ np.roll(u, shift) == -1.0


def test_prbs_gives_every_input_a_sequence_of_its_own() -> None:
    u = PRBS().sample(31, -np.ones(20), np.ones(20), np.random.default_rng(0))
    gram = u.T @ u
    np.testing.assert_array_equal(gram, 32.0 * np.eye(20) - 1.0)


def test_prbs_holds_its_bits() -> None:
    u = PRBS(hold=4).sample(40, [-1.0], [1.0], np.random.default_rng(0)).reshape(10, 4)
    assert (u == u[:, :1]).all()


def test_ornstein_uhlenbeck_has_the_deviation_and_correlation_asked_for() -> None:
    signal = OrnsteinUhlenbeck(correlation_steps=5, scale=0.1)
    u = signal.sample(200_000, [-2.0], [4.0], np.random.default_rng(0))[:, 0] - 1.0
    assert u.std() == pytest.approx(0.3, rel=0.02)
    correlation = (u[:-5] @ u[5:]) / (u @ u)
    assert correlation == pytest.approx(np.exp(-1.0), abs=0.02)


def test_the_first_value_of_ornstein_uhlenbeck_has_the_same_deviation() -> None:
    rng = np.random.default_rng(0)
    first = [OrnsteinUhlenbeck(scale=0.1).sample(1, [-1.0], [1.0], rng)[0, 0] for _ in range(5000)]
    assert np.std(first) == pytest.approx(0.1, rel=0.05)


def test_settings_out_of_range_are_refused() -> None:
    for hold in (0, (3, 2), (0, 2)):
        with pytest.raises(ValueError, match="hold"):
            HeldUniform(hold=hold)
    with pytest.raises(TypeError, match="hold"):
        PRBS(hold=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="period is 20; expected at least 21"):
        Multisine(n_harmonics=10, period=20)
    with pytest.raises(ValueError, match="scale"):
        OrnsteinUhlenbeck(scale=0.0)


def test_a_crossed_or_infinite_box_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="low at most high"):
        HeldUniform().sample(3, [1.0], [-1.0], rng)
    with pytest.raises(ValueError, match="finite"):
        PRBS().sample(3, [-np.inf], [1.0], rng)
