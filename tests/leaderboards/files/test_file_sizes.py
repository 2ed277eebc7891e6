from pathlib import Path

import numpy as np
import pytest
from ultralytics.nn.tasks import DetectionModel

from evaluators.data.images import load_images
from evaluators.runtimes.onnx_bits import export_quantized
from evaluators.runtimes.onnx_export import export_onnx
from leaderboards.files.file_sizes import bits_overhead
from leaderboards.runs.problem import Problem
from spaces.bits.layer_bits import BitTable, cross_bits, to_picks
from spaces.bits.quantized import plain
from spaces.bits.simulation import MIN_IMAGES
from spaces.build import Builder
from spaces.candidate import Candidate
from spaces.recovery.recovery import Recovery
from tests.spaces.untrained import study_without_images


@pytest.fixture(scope="module")
def table(problem: Problem) -> BitTable:
    options = cross_bits([3, 4, 6, 8], [4, 8])
    images = load_images(problem.inputs.dataset.train * 2, imgsz=64)
    bare = BitTable(problem.graph, options, is_stored=True)
    overhead = bits_overhead(problem.inputs.parent, bare, images, imgsz=64)
    return BitTable(problem.graph, options, size_overhead=overhead, is_stored=True)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_cut_network_of_random_bits_has_a_file_just_below_what_its_table_says(
    problem: Problem, table: BitTable, tmp_path: Path, seed: int
) -> None:
    parent, rng = problem.inputs.parent, np.random.default_rng(seed)
    images = load_images(problem.inputs.dataset.train * 2, imgsz=64)
    macs = 0.6 * problem.parent_costs["macs_g"]
    widths = problem.space.sample(rng, limits={"macs_g": macs})
    bits = table.allocation(rng.integers(len(table.options), size=len(table.layers)))
    candidate = Candidate(widths.base, tuple(sorted((*widths.picks, *to_picks(bits).items()))))
    builder = Builder(
        parent,
        problem.graph,
        problem.space,
        images=images.tensor()[:MIN_IMAGES],
        study=study_without_images(parent, problem.graph),
    )
    network = builder(candidate, Recovery.NOTHING)
    assert isinstance(network, DetectionModel)
    onnx = export_onnx(plain(network), tmp_path / "float.onnx", imgsz=64)
    file = tmp_path / "bits.onnx"
    export_quantized(network, onnx, file, calibration=[images.tensor()[:MIN_IMAGES].numpy()])
    said = 1e6 * table.costs(bits, keep=problem.space.decode(candidate))["size_mb"]
    assert 0.9 * said < file.stat().st_size <= said
