from pathlib import Path

import pytest
import torch
from torch.nn import functional

from spaces.networks.autocast import exact_products, products_in
from spaces.networks.compute_dtype import ComputeDtype, native_dtype

IMAGES, WEIGHTS = torch.rand(1, 3, 8, 8), torch.rand(4, 3, 3, 3)


@pytest.mark.parametrize(
    ("precision", "dtype"), [(ComputeDtype.BFLOAT16, torch.bfloat16), (ComputeDtype.FLOAT32, torch.float32)]
)
def test_convolutions_run_in_the_precision_that_is_asked_for(precision: ComputeDtype, dtype: torch.dtype) -> None:
    with products_in(precision):
        assert functional.conv2d(IMAGES, WEIGHTS).dtype == dtype
    assert functional.conv2d(IMAGES, WEIGHTS).dtype == torch.float32


def test_linear_algebra_inside_is_as_exact_as_outside() -> None:
    matrix = torch.rand(5, 5)
    with products_in(ComputeDtype.BFLOAT16), exact_products():
        assert torch.equal(matrix @ matrix, torch.mm(matrix, matrix).float())
        inside = matrix @ matrix
    assert inside.dtype == torch.float32
    assert torch.equal(inside, matrix @ matrix)


def test_the_native_dtype_is_bfloat16_where_torch_finds_its_instructions() -> None:
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # young in torch
    if known:
        has = bool(known.get("avx512_bf16") or known.get("amx_bf16"))
        assert (native_dtype() is ComputeDtype.BFLOAT16) == has


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("flags\t\t: fpu avx2 avx512_bf16 fma\n", ComputeDtype.BFLOAT16),
        ("flags\t\t: fpu avx2 fma\n", ComputeDtype.FLOAT32),  # most PCs before 2021
        ("Features\t: fp asimd bf16\n", ComputeDtype.FLOAT32),  # Arm says it otherwise
    ],
)
def test_the_native_dtype_is_read_from_what_the_kernel_says(tmp_path: Path, text: str, dtype: ComputeDtype) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert native_dtype(tmp_path / "cpuinfo") is dtype
    assert native_dtype(tmp_path / "nothing") is ComputeDtype.FLOAT32
