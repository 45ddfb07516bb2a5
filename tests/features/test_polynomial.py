from math import comb

import numpy as np
import pytest
from sklearn.preprocessing import PolynomialFeatures as Reference

from koopman_control.features import PolynomialFeatures


@pytest.mark.parametrize("interaction_only", [False, True])
@pytest.mark.parametrize("degree", [2, 3, 5])
def test_they_are_the_monomials_of_scikit_learn_on_standardised_inputs(
    degree: int, interaction_only: bool
) -> None:
    X = np.random.default_rng(0).normal(size=(50, 3)) * [1.0, 10.0, 0.1] + 2.0
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    reference = Reference(degree, interaction_only=interaction_only).fit(Z)
    ours = PolynomialFeatures(degree, interaction_only=interaction_only).fit(X)
    np.testing.assert_allclose(ours.transform(X), reference.transform(Z)[:, 4:], atol=1e-12)
    assert list(ours.get_feature_names_out()) == list(reference.get_feature_names_out()[4:])
    np.testing.assert_array_equal(ours.exponents_, reference.powers_[4:])
    if not interaction_only:
        assert len(ours.exponents_) == comb(3 + degree, degree) - 4


def test_degree_one_has_no_features() -> None:
    X = np.random.default_rng(0).normal(size=(50, 3))
    assert PolynomialFeatures(1).fit(X).transform(X).shape == (50, 0)
    assert PolynomialFeatures(1).fit(X).jacobian(X).shape == (50, 0, 3)


def test_a_degree_nobody_can_fit_is_refused_before_it_takes_the_memory() -> None:
    with pytest.raises(ValueError, match="degree is 12, which makes"):
        PolynomialFeatures(12).fit(np.random.default_rng(0).normal(size=(50, 30)))
    with pytest.raises(ValueError, match="degree is 0"):
        PolynomialFeatures(0).fit(np.eye(3))
    with pytest.raises(ValueError, match="input_features holds 1 names; expected 3"):
        PolynomialFeatures(2).fit(np.eye(3)).get_feature_names_out(["a"])


def test_ignored_inputs_occur_in_no_monomial_and_the_others_are_as_without_them() -> None:
    X = np.random.default_rng(0).normal(size=(50, 4)) * [1.0, 10.0, 0.1, 1.0] + 2.0
    ours = PolynomialFeatures(3, ignored=(1, 3)).fit(X)
    alone = PolynomialFeatures(3).fit(X[:, [0, 2]])
    np.testing.assert_allclose(ours.transform(X), alone.transform(X[:, [0, 2]]), rtol=1e-12)
    J = ours.jacobian(X)
    np.testing.assert_allclose(J[:, :, [0, 2]], alone.jacobian(X[:, [0, 2]]), rtol=1e-12)
    assert not J[:, :, [1, 3]].any() and not ours.exponents_[:, [1, 3]].any()


def test_ignoring_every_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ignored is .* some but not all of the 2 inputs"):
        PolynomialFeatures(2, ignored=(0, 1)).fit(np.ones((5, 2)))
