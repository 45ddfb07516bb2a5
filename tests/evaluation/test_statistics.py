import numpy as np
import pytest

from koopman_control.evaluation import bootstrap_interval, interquartile_mean, paired_difference


def test_interquartile_mean_is_the_mean_of_the_middle_half() -> None:
    assert interquartile_mean([100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -100.0]) == 3.5
    assert interquartile_mean([[1.0, 2.0], [3.0, 1000.0]]) == 2.5
    assert interquartile_mean([7.0]) == 7.0


def test_interquartile_mean_works_along_an_axis() -> None:
    rows = np.array([[0.0, 1.0, 3.0, 9.0], [-9.0, 5.0, 7.0, 9.0]])
    np.testing.assert_array_equal(interquartile_mean(rows, axis=-1), [2.0, 6.0])


def test_the_interval_of_equal_numbers_is_a_point() -> None:
    assert bootstrap_interval(np.full(20, 1000.0)) == (1000.0, 1000.0)


def test_one_number_has_no_interval() -> None:
    assert np.isnan(bootstrap_interval([3.0])).all()


def test_the_same_seed_gives_the_same_interval_and_another_seed_a_near_one() -> None:
    x = np.random.default_rng(0).normal(size=50)
    assert bootstrap_interval(x) == bootstrap_interval(x)
    assert bootstrap_interval(x) != bootstrap_interval(x, seed=1)
    np.testing.assert_allclose(bootstrap_interval(x), bootstrap_interval(x, seed=1), atol=0.02)


def test_the_interval_of_a_normal_mean_agrees_with_theory() -> None:
    x = np.random.default_rng(1).normal(size=400)
    half = 1.96 * x.std() / np.sqrt(400)
    np.testing.assert_allclose(
        bootstrap_interval(x), [x.mean() - half, x.mean() + half], atol=0.05 * half
    )


def test_resampling_in_blocks_matches_the_requested_number() -> None:
    x = np.arange(300_000.0)  # three resamples fit into one block
    sizes: list[int] = []

    def counted(samples: np.ndarray, axis: int) -> np.ndarray:
        sizes.append(len(samples))
        return np.asarray(samples.mean(axis=axis))

    low, high = bootstrap_interval(x, counted, n_resamples=7)
    assert sizes == [3, 3, 1]
    assert low < high


def test_intervals_widen_with_the_level_and_serve_other_statistics() -> None:
    x = np.random.default_rng(2).normal(size=60)
    narrow, wide = bootstrap_interval(x, level=0.5), bootstrap_interval(x, level=0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    low, high = bootstrap_interval(x, interquartile_mean)
    assert low < interquartile_mean(x) < high


def test_paired_differences_cancel_what_the_seeds_share() -> None:
    starts = 1000.0 * np.random.default_rng(3).normal(size=30)
    result = paired_difference(starts + 1.0, starts)
    assert result.mean == pytest.approx(1.0)
    assert (result.low, result.high) == pytest.approx((1.0, 1.0))
    assert result.wins == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap_interval([]), "x is empty"),
        (lambda: bootstrap_interval([1.0, np.nan]), "x holds nan"),
        (lambda: bootstrap_interval([1.0, 2.0], level=95), "between 0 and 1, got 95"),
        (lambda: paired_difference([1.0, 2.0], [1.0]), "got 2 and 1"),
    ],
)
def test_bad_arguments_are_named(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=message):
        call()
