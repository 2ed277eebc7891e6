from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from evaluators.devices.device_file import DeviceFile, Rates, write_device_file
from evaluators.devices.predictor import N_SHARED
from evaluators.latency.machine import this_machine
from leaderboards.recipes.parts import Parts
from leaderboards.recipes.recipe import Recipe
from leaderboards.runs.inputs import load_inputs
from leaderboards.runs.prepare import analyse, prepare
from leaderboards.runs.problem import Problem
from spaces.errors import BadInput, OutOfReach
from tests.spaces.detectors.files import activate, changed_network


def test_percentages_are_of_the_parent_and_gflops_become_macs(problem: Problem) -> None:
    costs = problem.space.costs(problem.space.parent)
    assert problem.limits == pytest.approx({"macs_g": 0.6 * costs["macs_g"], "params_m": 0.8 * costs["params_m"]})
    assert problem.budget.limits == problem.limits
    assert problem.parent_costs == costs


def test_the_notes_say_how_much_data_there_is_and_what_stays_whole(problem: Problem) -> None:
    data, blocks, reach = problem.notes()
    assert data == "4 images to train, 1 of which rank the candidates; 2 in the sealed val split; 2 classes."
    assert blocks.startswith(f"{len(problem.graph.blocks)} blocks can be cut.")
    assert all(name in blocks for name in problem.graph.kept_whole)
    assert "size_mb" in reach


def test_what_keeps_a_network_whole_is_named(recipe: Recipe, problem: Problem) -> None:
    inputs = problem.inputs
    whole = recipe.model_copy(update={"keep_min": 1.0, "gflops": None, "params_m": None}).parts()
    with pytest.raises(BadInput, match="nothing can be cut: keep_min and align leave every block one width"):
        analyse(whole, inputs)
    mixed = changed_network("small", activate(Mixing))  # reads all channels at once, whatever is cut
    parts = recipe.model_copy(update={"gflops": None, "params_m": None}).parts()
    with pytest.raises(BadInput, match=r"cut: no layer of the network can, \d+ because of this: read by"):
        analyse(parts, replace(inputs, parent=mixed))


class Mixing(nn.Module):
    """An activation that reads all channels at once."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.softmax(1)


@pytest.mark.parametrize("device", ["99", "cuda:99"])
def test_a_device_that_is_not_there_is_refused_and_those_that_are_get_named(device: str) -> None:
    there = ", ".join(["cpu", *map(str, range(torch.cuda.device_count()))])
    with pytest.raises(BadInput, match=f"device 99 is not there; this machine has {there}$"):
        prepare(Recipe.model_validate({"device": device}).parts())


def device_file(problem: Problem, *, machine: str) -> DeviceFile:
    """Return one that predicts 7 ms for every candidate."""
    n_rates = N_SHARED + 2 * len(problem.graph.layers)
    rates = Rates(blocks=(1, 1), rates=(7.0, *[0.0] * (n_rates - 1)), parent_ms=7.0)
    return DeviceFile(
        machine=machine, threads=1, cpus=(), parent=problem.inputs.fingerprint, imgsz=64, n_networks=20, minutes=1.0,
        drift=0.03, blocks=tuple((block.name, block.size) for block in problem.graph.blocks), fp32=rates, int8=rates,
    )  # fmt: skip


def with_device(recipe: Recipe, path: Path, **changes: object) -> Parts:
    return recipe.model_copy(update={"device_file": str(path), "latency_ms": "150%", **changes}).parts()


def test_percentages_of_latency_are_of_what_the_device_file_predicts(
    recipe: Recipe, problem: Problem, tmp_path: Path
) -> None:
    path = tmp_path / "device.json"
    write_device_file(device_file(problem, machine=this_machine()), path)
    asked = with_device(recipe, path)
    found = analyse(asked, load_inputs(asked))
    assert found.limits["latency_ms"] == pytest.approx(10.5)
    assert any("20 sub-networks timed on" in note and "drifted by 3%" in note for note in found.notes())


def test_a_limit_that_no_network_is_predicted_to_meet_is_out_of_reach(
    recipe: Recipe, problem: Problem, tmp_path: Path
) -> None:
    path = tmp_path / "device.json"
    write_device_file(device_file(problem, machine=this_machine()), path)
    asked = with_device(recipe, path, latency_ms="50%")
    with pytest.raises(OutOfReach, match=r"latency_ms=50% is out of reach: the narrowest .* take 7, the parent 7"):
        analyse(asked, load_inputs(asked))


def test_a_foreign_device_file_is_refused_for_budgets_unless_allowed(
    recipe: Recipe, problem: Problem, tmp_path: Path
) -> None:
    path = tmp_path / "device.json"
    write_device_file(device_file(problem, machine="a toaster"), path)
    with pytest.raises(BadInput, match=r"\[a toaster\], this machine is .*allow_foreign_device=true"):
        load_inputs(with_device(recipe, path))
    for changes in ({"allow_foreign_device": True}, {"latency_ms": None}):
        asked = with_device(recipe, path, **changes)
        notes = analyse(asked, load_inputs(asked)).notes()
        assert any("a toaster" in note and this_machine() in note for note in notes)


def test_a_device_file_of_another_image_size_is_refused(recipe: Recipe, problem: Problem, tmp_path: Path) -> None:
    path = tmp_path / "device.json"
    write_device_file(device_file(problem, machine=this_machine()), path)
    with pytest.raises(BadInput, match="imgsz 64, not 96"):
        load_inputs(with_device(recipe, path, imgsz=96))


def test_files_of_backbones_are_checked_before_anything_is_made(recipe: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"stem.weight": torch.zeros(3)}, path)
    words = {"backbones": ("same", "ghostnet"), "backbone_weights": f"ghostnet:{path}"}
    with pytest.raises(BadInput, match=r"backbone_weights: .*other\.pth' is not of ghostnet"):
        load_inputs(recipe.model_copy(update=words).parts())
    with pytest.raises(BadInput, match="backbone_weights: ghostnet is not among backbones=same"):
        load_inputs(recipe.model_copy(update={**words, "backbones": ("same",)}).parts())
