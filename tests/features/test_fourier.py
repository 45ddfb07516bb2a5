import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.features import FourierFeatures


def standard_points(n_points: int = 60, n_columns: int = 4) -> Array:
    X = np.random.default_rng(0).normal(size=(n_points, n_columns))
    return np.asarray((X - X.mean(axis=0)) / X.std(axis=0))


def kernel_error(orthogonal: bool, n_features: int, n_draws: int = 20) -> float:
    """Return the root mean square error of the kernel over draws."""
    X, errors = standard_points(), []
    r = np.linalg.norm(X[:, None] - X, axis=-1)
    for seed in range(n_draws):
        features = FourierFeatures(
            n_features, length_scale=1.5, orthogonal=orthogonal, random_state=seed
        )
        H = features.fit_transform(X)
        errors.append(2 / n_features * H @ H.T - np.exp(-(r**2) / (2 * 1.5**2)))
    return float(np.sqrt(np.mean(np.square(errors))))


@pytest.mark.parametrize("orthogonal", [False, True])
def test_inner_products_approach_the_gaussian_kernel(orthogonal: bool) -> None:
    few, many = kernel_error(orthogonal, 40), kernel_error(orthogonal, 40 * 16)
    assert few < 0.2
    assert many < few / 3


def test_orthogonal_frequencies_approach_it_faster() -> None:
    assert kernel_error(True, 80) < 0.8 * kernel_error(False, 80)


def test_orthogonal_frequencies_are_orthogonal_in_blocks() -> None:
    X = standard_points()
    W = FourierFeatures(20, orthogonal=True, random_state=0).fit(X).frequencies_ * X.std(axis=0)
    for block in (W[:4], W[4:8]):
        gram = block @ block.T
        np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-12)


def test_the_features_are_cosines_and_sines_of_the_same_frequencies() -> None:
    H = FourierFeatures(9, random_state=0).fit_transform(standard_points())
    assert H.shape == (60, 9)
    np.testing.assert_allclose(H[:, :4] ** 2 + H[:, 5:] ** 2, 1.0, atol=1e-12)


def test_a_length_scale_stretches_the_waves() -> None:
    X = standard_points()
    short, long = (
        FourierFeatures(8, length_scale=s, random_state=0).fit(X).frequencies_ for s in (1.0, 4.0)
    )
    np.testing.assert_allclose(short, 4.0 * long)


def test_settings_out_of_range_are_named() -> None:
    with pytest.raises(ValueError, match="length_scale is 0"):
        FourierFeatures(length_scale=0).fit(standard_points())
    with pytest.raises(ValueError, match="n_features is 0"):
        FourierFeatures(0).fit(standard_points())
