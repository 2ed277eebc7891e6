from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from evaluators.data.dataset import load_dataset
from evaluators.data.images import Images, load_images
from leaderboards.benchmarks.ranking.eagleeye import CALIBRATION_BATCH, EagleEye, _endless, _is_drawn, detect, forward
from leaderboards.benchmarks.ranking.evaluation import compare
from leaderboards.benchmarks.ranking.fidelity import Setting, cheapest
from leaderboards.benchmarks.ranking.testbed import make_testbed
from leaderboards.recipes.parts import Parts
from leaderboards.runs.problem import Problem
from spaces.channels.trace import trace_channels
from spaces.detectors.detector import load_detector
from spaces.detectors.embedded import EMBEDDED_PARENT
from spaces.networks.threads import one_thread


@pytest.fixture(scope="module")
def images(parts: Parts) -> Images:
    """Return the 4 images of train."""
    dataset = load_dataset(Path(parts.sources.data))
    return load_images(dataset.train, imgsz=parts.bases.imgsz)


def ratio(problem: Problem, keep: np.ndarray) -> float:
    return float(problem.space.population_costs(keep[None])["macs_g"][0] / problem.parent_costs["macs_g"])


def test_as_many_widths_are_drawn_as_in_the_port() -> None:
    parent, _ = load_detector(EMBEDDED_PARENT)
    graph = trace_channels(parent, imgsz=64)
    drawn = [block.name for block in graph.blocks if _is_drawn(parent, block)]
    assert len(drawn) == 37  # of yolov5n, reference/seed_algorithms.md 1.5
    assert {"0", "2.cv2", "2.m.0.cv1", "9.cv1"} <= set(drawn)
    assert not {"2.cv1", "13.m.0.cv2", "9.cv2", "24.cv2.0.0"} & set(drawn)


def test_drawn_widths_are_multiples_of_eight_from_a_fifth_up(problem: Problem, images: Images) -> None:
    port = EagleEye(problem, images, share=0.6, seed=0)
    sizes = np.array([block.size for block in problem.graph.blocks])
    for _ in range(20):
        keep = port.draw()
        assert ((keep % 8 == 0) | (keep == sizes)).all()
        assert (keep >= np.minimum(0.2 * sizes - 1, sizes)).all()
        assert (keep <= sizes).all()


def test_a_proposal_is_the_first_draw_on_the_target(problem: Problem, images: Images) -> None:
    draws = [EagleEye(problem, images, share=0.6, seed=0).draw()]
    share = ratio(problem, draws[0])
    proposal = EagleEye(problem, images, share=share, seed=0).propose()
    assert proposal.n_drawn == 1
    np.testing.assert_array_equal(proposal.keep, draws[0])


def test_draws_within_two_percent_of_the_parents_macs_are_accepted_and_no_others(
    problem: Problem, images: Images
) -> None:
    keep = EagleEye(problem, images, share=0.6, seed=0).draw()
    share = ratio(problem, keep)
    # in the port: delta = 0.02, abs(macs / parent - share) <= delta, on both sides
    asked = {share - 0.0201: False, share - 0.0199: True, share: True, share + 0.0199: True, share + 0.0201: False}
    for target, is_accepted in asked.items():
        assert EagleEye(problem, images, share=target, seed=0).is_on_target(keep) is is_accepted


def test_calibration_leaves_most_of_the_parents_statistics(problem: Problem, images: Images) -> None:
    port = EagleEye(problem, images, share=0.6, seed=0)
    model = port.inherit(np.array([block.size for block in problem.graph.blocks]))
    conv, bn = model.get_submodule("model.0.conv"), model.get_submodule("model.0.bn")
    assert isinstance(bn, nn.BatchNorm2d)
    assert bn.running_mean is not None
    before, batch = bn.running_mean.clone(), next(_endless(images))
    port.calibrate_(model, n_batches=3)
    with torch.no_grad():
        seen = conv(batch).mean((0, 2, 3))
    # 32 images are the 4 of train eight times, so each of the three batches has the same mean
    expected = 0.97**3 * before + (1 - 0.97**3) * seen
    torch.testing.assert_close(bn.running_mean, expected, rtol=1e-4, atol=1e-5)
    assert not model.training


def test_calibration_goes_on_where_the_last_batch_ended(images: Images) -> None:
    numbered = replace(
        images, pixels=np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None, None], (40, 3, 2, 2))
    )
    batches = _endless(numbered)
    seen = torch.cat([next(batches), next(batches)])[:, 0, 0, 0] * 255
    assert seen.round().int().tolist() == [number % 40 for number in range(2 * CALIBRATION_BATCH)]


def test_validation_finds_boxes_in_every_image_of_the_parent(problem: Problem, images: Images) -> None:
    found = detect(forward(problem.inputs.parent, images), images)
    assert [boxes.shape[1] for boxes in found] == [6] * len(images)


def test_the_cheapest_faithful_setting_wins_and_else_the_full_one() -> None:
    full, cheap, fickle = Setting("full", 9, 1.0), Setting("cheap", 2, 0.95), Setting("fickle", 1, 0.94)
    assert cheapest([full, cheap, fickle]) == cheap
    assert cheapest([full, fickle]) == full


@pytest.mark.slow
@pytest.mark.usefixtures("threads")
def test_both_sides_are_timed_on_the_same_images(parts: Parts, problem: Problem, images: Images) -> None:
    first = EagleEye(problem, images, share=0.6, seed=parts.ranking.seed).draw()
    share = ratio(problem, first)  # so the first draw is taken
    torch.set_num_threads(2)
    with one_thread():
        outcome = compare(make_testbed("tiny", parts, share=share), n=1, n_images=32)
    assert torch.get_num_threads() == 2
    rows = {(row["side"], row["what"]): row["value"] for row in outcome.rows}
    assert outcome.ratio > 0
    assert rows["both", "equal work: times as fast"] == outcome.ratio
    assert rows["port", "proposals a candidate"] == 1
    assert 0 < outcome.map_share < 1
    assert all(set(row) == {"data", "side", "what", "value"} for row in outcome.rows)
