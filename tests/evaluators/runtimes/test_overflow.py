"""INT8 files on processors without VNNI: their kernels add pairs of products in 16 bits, emulated here bit by bit.

Such a kernel (vpmaddubsw of AVX2) multiplies bytes without sign by bytes with one and adds two neighbours with
saturation; which two meet depends on how it packs them, so what holds must hold for any two.
"""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from evaluators.runtimes.onnx_bits import export_quantized
from evaluators.runtimes.onnx_export import INT8_KIND, export_int8, export_onnx
from evaluators.runtimes.precision import Int8
from spaces.bits.layer_bits import LayerBits
from spaces.bits.quantized import layers_by_name, plain
from spaces.bits.simulation import simulate
from tests.spaces.untrained import detector

SIZE, WORD = 64, 2**15
Ints = NDArray[np.int64]


def images(n: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).random((n, 3, SIZE, SIZE), dtype=np.float32)


def written(folder: Path, kind: Int8, *, has_bits: bool) -> onnx.ModelProto:
    """Return the INT8 file of the tiny detector, or of one whose layers have bits of their own."""
    if not has_bits:
        onnx_path = export_onnx(detector(), folder / "model.onnx", imgsz=SIZE)
        return onnx.load(export_int8(onnx_path, folder / "int8.onnx", [images(4)], kind=kind))
    choices = [LayerBits(weight, activation) for weight in (2, 3, 4, 6, 8) for activation in (3, 6, 8)]
    allocation = {name: choices[at % len(choices)] for at, name in enumerate(layers_by_name(detector()))}
    network = simulate(detector(), allocation, torch.from_numpy(images(8)))
    onnx_path = export_onnx(plain(network), folder / "model.onnx", imgsz=SIZE)
    export_quantized(network, onnx_path, folder / "int8.onnx", calibration=[images(4)], kind=kind)
    return onnx.load(folder / "int8.onnx")


def convolutions(model: onnx.ModelProto) -> dict[str, tuple[NDArray[np.generic], int]]:
    """Return by convolution its weights (C, d) as stored, spread to bytes, and the highest byte that it reads."""
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    found = {}
    for node in model.graph.node:
        unpacked = makers.get(node.input[1]) if node.op_type == "Conv" else None
        if unpacked is None or unpacked.op_type != "DequantizeLinear":
            continue
        name = unpacked.input[0]
        weights = constants.get(name)
        if weights is None:
            weights = (constants[f"{name}.packed"].astype(np.int32) * constants[f"{name}.factor"]).astype(np.int8)
        found[node.name] = weights.reshape(len(weights), -1), _highest(node, makers, constants)
    return found


def _highest(node: onnx.NodeProto, makers: dict[str, onnx.NodeProto], constants: dict[str, NDArray[np.generic]]) -> int:
    """Return the highest byte that `node` reads: what the clip before it lets through, or 255."""
    quantize = makers[makers[node.input[0]].input[0]]
    clip = makers.get(quantize.input[0])
    if clip is None or clip.op_type != "Clip" or clip.input[2] not in constants:
        return 255
    step, zero = (constants[name].astype(np.float64) for name in quantize.input[1:])
    return min(255, round(float(constants[clip.input[2]].astype(np.float64) / step + zero)))


def saturating(inputs: Ints, weights: Ints) -> Ints:
    """Return the products (n, C) of bytes `inputs` (n, d) and `weights` (C, d) as AVX2's kernel adds them."""
    n, d = inputs.shape
    even = d + d % 2
    padded = [np.pad(each, ((0, 0), (0, even - d))) for each in (inputs, weights)]
    pairs = padded[0].reshape(n, 1, -1, 2) * padded[1].reshape(1, len(weights), -1, 2)
    return np.asarray(np.clip(pairs.sum(3), -WORD, WORD - 1).sum(2))


@pytest.mark.parametrize("has_bits", [False, True])
def test_no_two_products_of_a_portable_file_overflow(tmp_path: Path, *, has_bits: bool) -> None:
    layers = convolutions(written(tmp_path, Int8.PORTABLE, has_bits=has_bits))
    assert len(layers) > 20
    signed = {name: layer for name, layer in layers.items() if layer[0].dtype == np.int8}
    assert len(signed) > 20
    assert all(
        weights.dtype in (np.int8, np.uint8) for weights, _ in layers.values()
    )  # bytes by bytes have no such kernel
    for name, (weights, highest) in signed.items():
        largest = np.sort(np.abs(weights.astype(np.int64)), axis=1)[:, -2:].sum(1)
        assert highest * largest.max() < WORD, name


@pytest.mark.parametrize("has_bits", [False, True])
def test_the_emulated_kernel_is_exact_on_portable_files_and_not_on_others(tmp_path: Path, *, has_bits: bool) -> None:
    rng, errors = np.random.default_rng(0), {}
    for kind in Int8:
        layers = convolutions(written(tmp_path, kind, has_bits=has_bits))
        errors[kind] = 0
        for weights, highest in layers.values():
            if weights.dtype == np.int8:
                order = rng.permutation(weights.shape[1])  # which two meet is the kernel's own business
                own = weights.astype(np.int64)[:, order]
                drawn = rng.integers(0, highest + 1, (8, len(order)))
                inputs = np.where(rng.random(drawn.shape) < 0.5, highest, drawn)
                errors[kind] += int((saturating(inputs, own) != inputs @ own.T).sum())
    assert errors[Int8.PORTABLE] == 0
    assert errors[Int8.VNNI] > 0


def test_weights_of_eight_bits_stay_on_their_grid_as_bytes_around_the_middle(tmp_path: Path) -> None:
    allocation = {"2.cv1": LayerBits(8, 8), "2.cv2": LayerBits(8, 6)}
    network = simulate(detector(), allocation, torch.from_numpy(images(8)))
    onnx_path = export_onnx(plain(network), tmp_path / "model.onnx", imgsz=SIZE)
    stored = {}
    for kind in Int8:
        execution = export_quantized(network, onnx_path, tmp_path / "int8.onnx", calibration=[images(4)], kind=kind)
        assert set(execution.integer) == set(allocation)
        found = convolutions(onnx.load(tmp_path / "int8.onnx"))
        stored[kind] = [next(each for name, (each, _) in found.items() if part in name) for part in ("cv1", "cv2")]
    (portable, narrow), (signed, same) = stored[Int8.PORTABLE], stored[Int8.VNNI]
    assert [str(each.dtype) for each in (portable, narrow, signed)] == ["uint8", "int8", "int8"]
    assert np.array_equal(portable.astype(int) - 128, signed.astype(int))
    assert np.array_equal(narrow, same)


def test_a_file_says_for_which_processors_it_is_made(tmp_path: Path) -> None:
    for kind in Int8:
        metadata = {entry.key: entry.value for entry in written(tmp_path, kind, has_bits=False).metadata_props}
        assert metadata[INT8_KIND] == kind.value
