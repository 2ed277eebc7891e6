import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy
from torch import Tensor

from spaces.bits.ranges import N_BINS, Grid, Histogram, RangeMethod, Samples, fit_grid

METHODS = list(RangeMethod)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def histogram(*parts: Tensor) -> Histogram:
    found = Histogram()
    for part in parts:
        found.add(part)
    return found


def fitted(values: Tensor, method: RangeMethod, *, bits: int = 4, is_symmetric: bool = False) -> Grid:
    return fit_grid(histogram(values).samples(), bits=bits, is_symmetric=is_symmetric, method=method)


def test_a_grid_of_extremes_spans_them() -> None:
    grid = fit_grid(
        Samples.of(torch.tensor([[-1.0, 0.0, 2.0]])), bits=4, is_symmetric=False, method=RangeMethod.MIN_MAX
    )
    # 15 steps over 3: 0.2 each, and 0 is the fifth value
    torch.testing.assert_close(
        grid.round(torch.tensor([-5.0, -1.0, 0.09, 0.11, 2.0, 9.0])), torch.tensor([-1, -1, 0, 0.2, 2, 2])
    )


def test_a_symmetric_grid_of_two_bits_has_three_values() -> None:
    grid = fit_grid(Samples.of(torch.tensor([[-1.0, 2.0]])), bits=2, is_symmetric=True, method=RangeMethod.MIN_MAX)
    torch.testing.assert_close(grid.round(torch.tensor([-9.0, -0.9, 0.9, 1.1])), torch.tensor([-2.0, 0, 0, 2]))


def test_each_channel_has_its_own_scale() -> None:
    rows = torch.tensor([[-1.0, 1.0], [-100.0, 50.0]])
    grid = fit_grid(Samples.of(rows), bits=8, is_symmetric=True, method=RangeMethod.MIN_MAX)
    torch.testing.assert_close(grid.scale, torch.tensor([1 / 127, 100 / 127]))
    assert (grid.round(rows) - rows).abs().amax(1) == pytest.approx([0, 0.4], abs=0.01)


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8, 16])
@pytest.mark.parametrize("is_symmetric", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_zero_is_exact_and_nothing_has_more_values_than_its_bits_allow(
    method: RangeMethod, is_symmetric: bool, bits: int
) -> None:
    values = normal(3000).exp()  # all above 0
    grid = fitted(values, method, bits=bits, is_symmetric=is_symmetric)
    rounded = grid.round(values)
    assert float(grid.round(torch.zeros(1))) == 0
    assert len(rounded.unique()) <= 2**bits
    assert (rounded >= 0).all()


def test_percentiles_leave_out_what_is_rare() -> None:
    values = torch.cat([torch.linspace(0, 1, 100_000), torch.tensor([1000.0])])
    # 1 of 100,001 is beyond the percentile; a bin of the histogram is 0.5 wide
    assert float(fitted(values, RangeMethod.PERCENTILE).scale) == pytest.approx(1 / 15, rel=0.6)
    assert float(fitted(values, RangeMethod.MIN_MAX).scale) == pytest.approx(1000 / 15, rel=1e-3)


def test_mean_squared_error_is_nearly_the_least_of_all_clippings() -> None:
    values = normal(4000)
    grid = fit_grid(Samples.of(values[None]), bits=3, is_symmetric=True, method=RangeMethod.MSE)
    errors = []
    for clip in np.linspace(0.05, 1, 400):
        step = float(values.abs().max()) * clip / 3
        errors.append(float(((values / step).round().clamp(-3, 3) * step - values).square().mean()))
    # the optimum of a unit normal is known: clipping near 2, an error of about .037 for 7 values
    found = float((grid.round(values) - values).square().mean())
    assert min(errors) - 1e-6 <= found <= 1.01 * min(errors)


def test_each_end_of_an_asymmetric_range_is_clipped_on_its_own() -> None:
    values = torch.cat([normal(4000).abs(), torch.tensor([-20.0])])
    grid = fit_grid(Samples.of(values[None]), bits=4, is_symmetric=False, method=RangeMethod.MSE)
    low = -int(grid.zero_point) * float(grid.scale)
    high = (grid.highest - int(grid.zero_point)) * float(grid.scale)
    assert low > -20
    assert high > 2


def test_entropy_is_that_of_a_naive_computation() -> None:
    counts = np.array([50.0, 30, 10, 5, 3, 1, 0, 1])  # of 0.5, 1.5, ... 7.5
    samples = Samples(torch.arange(8.0)[None] + 0.5, torch.tensor(counts, dtype=torch.float32)[None])

    def divergence(clip: float) -> float:
        step = clip / 3  # 2 bits: 0, 1, 2 and 3 steps
        values = np.arange(8) + 0.5
        inside = values / step <= 3.5
        if inside.sum() < 4:
            return np.inf
        level = np.round(values / step).clip(0, 3)
        q = np.array(
            [
                counts[inside & (level == each)].sum() / max((counts[inside & (level == each)] > 0).sum(), 1)
                for each in level
            ]
        )
        p = counts * inside
        p[np.flatnonzero(inside)[-1]] += counts[~inside].sum()
        is_seen = p > 0
        return float(entropy(p[is_seen], (q * inside)[is_seen] + 1e-300))

    grid = fit_grid(samples, bits=2, is_symmetric=False, method=RangeMethod.ENTROPY)
    least = min(divergence(7.5 * step / 48) for step in range(1, 49))
    assert divergence(float(grid.scale) * 3) == pytest.approx(least, rel=1e-5)
    assert least < divergence(7.5)


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=40), st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_a_stream_in_parts_is_counted_as_all_at_once_would_be(values: list[float], n_parts: int) -> None:
    whole = torch.tensor(values)
    found = histogram(*whole.chunk(n_parts)).samples()
    assert int(found.counts.sum()) == len(values)
    reach = max(0.0, *values) - min(0.0, *values)
    ordered = found.values[0].repeat_interleave(found.counts[0].long())
    # at least a quarter of the bins are in use, so a value is off by no more than half a bin of reach / 1024
    assert (ordered - whole.sort().values).abs().max() <= 4 * reach / N_BINS + 1e-30
    assert (np.diff(found.values[0]) >= 0).all()


def test_bins_double_when_the_stream_leaves_them() -> None:
    found = histogram(torch.zeros(5), normal(1000), 1000 * normal(1000, seed=1), torch.tensor([-5000.0]))
    samples = found.samples()
    assert int(samples.counts.sum()) == 2006
    assert found.low == -5000
    assert float(samples.values[0, 0]) == pytest.approx(-5000, abs=5)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_but_zero_is_safe(method: RangeMethod) -> None:
    grid = fit_grid(Samples.of(torch.zeros(2, 5)), bits=4, is_symmetric=True, method=method)
    assert grid.scale.tolist() == [1, 1]
    assert not grid.round(torch.zeros(2, 5)).any()


@pytest.mark.parametrize("odd", [torch.inf, -torch.inf, torch.nan])
def test_values_that_are_not_finite_are_refused(odd: float) -> None:
    with pytest.raises(FloatingPointError, match="must be finite"):
        histogram(torch.tensor([1.0, odd]))
