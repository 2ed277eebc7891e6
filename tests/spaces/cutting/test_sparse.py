import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces.cutting.sparse import decode, encode

DENSE, WEIGHTS, KERNELS, FILTERS, ROWS, N_M = range(6)


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@given(
    st.integers(1, 6), st.integers(1, 9), st.sampled_from([(), (1, 1), (3, 3), (2, 1)]),
    st.sampled_from([0.0, 0.3, 0.9, 1.0]), st.integers(0, 2**20),
)  # fmt: skip
def test_what_is_encoded_is_read_back(n_out: int, n_in: int, end: tuple[int, ...], zeros: float, seed: int) -> None:
    weights = random(n_out, n_in, *end, seed=seed)
    weights[np.random.default_rng(seed).random(weights.shape) < zeros] = 0
    np.testing.assert_array_equal(decode(encode(weights), weights.shape), weights)


def test_weights_without_zeros_take_four_bytes_each() -> None:
    assert len(encode(random(8, 8, 3, 3))) == 1 + 4 * 576


def test_three_in_ten_zeros_are_stored_by_a_bitmap_of_the_weights() -> None:
    weights = random(10, 10, 1, 1)
    weights.reshape(-1)[:30] = 0
    np.random.default_rng(0).shuffle(weights.reshape(-1))
    content = encode(weights)
    assert (content[0], len(content)) == (WEIGHTS, 1 + 13 + 4 * 70)  # ceil(100 / 8) bytes of bits


@pytest.mark.parametrize(("part", "kind", "n_bits"), [((0, slice(3)), KERNELS, 16), ((slice(2),), FILTERS, 4)])
def test_whole_units_are_stored_by_a_bit_each(part: tuple[int | slice, ...], kind: int, n_bits: int) -> None:
    weights = random(4, 4, 3, 3)
    weights[part] = 0
    content = encode(weights)
    assert (content[0], len(content)) == (kind, 1 + -(-n_bits // 8) + 4 * int(np.count_nonzero(weights)))


def test_few_weights_are_stored_by_their_columns() -> None:
    weights = np.zeros((4, 200), np.float32)
    weights[2, 7], weights[3, 199] = 1, 2
    content = encode(weights)
    assert (content[0], len(content)) == (ROWS, 1 + 4 + 2 + 2 * 4)  # counts, columns, values


def test_two_of_four_along_the_inputs_take_two_bits_each() -> None:
    weights = random(3, 8, 3, 3)
    weights[:, 1::2] = 0  # inputs 1, 3, 5, 7
    content = encode(weights)
    # 54 groups of 2 weights: 108 x 2 bits = 27 bytes and 108 x 4; a bitmap of the weights takes 27 too
    assert len(content) == 1 + min(27, 1 + 27, -(-24 // 8)) + 108 * 4
    weights[0, :4, 0, 0] = [1, 0, 0, 2]
    weights[0, 4:, 0, 0] = [0, 0, 3, 4]
    body = encode(weights)
    np.testing.assert_array_equal(decode(body, weights.shape), weights)


def test_one_of_four_is_shorter_by_places_than_by_a_bitmap() -> None:
    weights = np.zeros((16, 16, 1, 1), np.float32)
    weights[:, np.arange(4) * 4 + np.arange(4)] = 1  # inputs 0, 5, 10, 15
    content = encode(weights)
    assert (content[0], len(content)) == (N_M, 1 + 1 + 16 + 4 * 64)  # 64 x 2 bits = 16 bytes; a bitmap takes 32
