import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spaces.bits.ranges import Grid, Samples
from spaces.integers.arithmetic import Multiplier, decode, encode, is_same, power_of_two, rounded_shift, unsigned
from tests.spaces.chain import noise


def grid_of(scale: float, zero: int = 0, *, ends: tuple[int, int] = (0, 255)) -> Grid:
    return Grid(torch.tensor([scale]), torch.tensor([zero], dtype=torch.int32), *ends)


@given(st.integers(-(2**31), 2**31 - 1), st.floats(1e-9, 1e3))
def test_a_multiplier_rounds_the_exact_product_by_its_own_fraction_half_up(x: int, factor: float) -> None:
    multiplier = Multiplier.of(torch.tensor([factor], dtype=torch.float64))
    fraction = Fraction(int(multiplier.mantissa), 2 ** int(multiplier.shift))
    assert abs(fraction / Fraction(factor) - 1) <= Fraction(1, 2**30)
    assert int(multiplier(torch.tensor([[x]]))) == math.floor(x * fraction + Fraction(1, 2))


def test_a_factor_that_is_a_power_of_two_is_a_shift_alone() -> None:
    multiplier = Multiplier.of(torch.tensor([0.125, 1.0, 4.0]))
    assert multiplier.mantissa.tolist() == [1, 1, 4]
    assert multiplier.shift.tolist() == [3, 0, 0]
    # 12 / 8 = 1.5 and -12 / 8 = -1.5, halves up
    assert multiplier(torch.tensor([[12, 7, 3], [-12, -7, -3]])).tolist() == [[2, 7, 12], [-1, -7, -12]]


def test_a_factor_too_small_for_any_sum_makes_zero() -> None:
    assert int(Multiplier.of(torch.tensor([2.0**-90], dtype=torch.float64))(torch.tensor([[2**31 - 1]]))) == 0


def test_shifts_round_halves_up() -> None:
    assert rounded_shift(torch.tensor([-3, -2, -1, 0, 1, 2, 3]), torch.tensor(1)).tolist() == [-1, -1, 0, 0, 1, 1, 2]


def test_codes_stand_for_the_nearest_numbers_of_the_grid() -> None:
    grid = grid_of(0.5, 10, ends=(0, 15))
    # -5.0 is code 0, 2.5 is code 15, -0.25 is half way between -0.5 and 0
    codes = encode(grid, torch.tensor([-9.0, -5.0, -0.25, 0.0, 0.7, 9.0]))
    assert codes.tolist() == [0, 0, 10, 10, 11, 15]
    assert decode(grid, codes).tolist() == [-5.0, -5.0, 0.0, 0.0, 0.5, 2.5]


def test_a_symmetric_grid_without_a_sign_has_the_same_numbers() -> None:
    grid, x = grid_of(0.3, ends=(-7, 7)), noise(50) * 6 - 3
    assert torch.allclose(decode(unsigned(grid), encode(unsigned(grid), x)).float(), grid.round(x))
    assert not is_same(grid, unsigned(grid))
    assert is_same(grid, grid_of(0.3, ends=(-7, 7)))


@pytest.mark.parametrize(("values", "expected"), [([0.2, 0.3, 0.7], 0.25), ([0.0, 0.5, 1.0], 0.5)])
def test_the_closer_power_of_two_is_chosen(values: list[float], expected: float) -> None:
    # the first three err by 0.05 each on steps of 0.25, by 0.2 on steps of 0.5; of the others the last is beyond 0.75
    found = power_of_two(grid_of(0.4, ends=(0, 3)), Samples.of(torch.tensor([values])))
    assert float(found.scale) == expected
