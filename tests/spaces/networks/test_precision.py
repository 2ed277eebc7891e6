import pytest
import torch
from torch.nn import functional

from spaces.networks.precision import Precision, exact_products, native_precision, products_in

IMAGES, WEIGHTS = torch.rand(1, 3, 8, 8), torch.rand(4, 3, 3, 3)


@pytest.mark.parametrize(
    ("precision", "dtype"), [(Precision.BFLOAT16, torch.bfloat16), (Precision.FLOAT32, torch.float32)]
)
def test_convolutions_run_in_the_precision_that_is_asked_for(precision: Precision, dtype: torch.dtype) -> None:
    with products_in(precision):
        assert functional.conv2d(IMAGES, WEIGHTS).dtype == dtype
    assert functional.conv2d(IMAGES, WEIGHTS).dtype == torch.float32


def test_linear_algebra_inside_is_as_exact_as_outside() -> None:
    matrix = torch.rand(5, 5)
    with products_in(Precision.BFLOAT16), exact_products():
        assert torch.equal(matrix @ matrix, torch.mm(matrix, matrix).float())
        inside = matrix @ matrix
    assert inside.dtype == torch.float32
    assert torch.equal(inside, matrix @ matrix)


def test_a_machine_has_one_precision_of_its_own() -> None:
    assert native_precision() is native_precision()
