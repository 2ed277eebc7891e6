from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from spaces.activations.covariance import covariances, sample_places
from spaces.activations.fisher import fisher_information
from spaces.bits.layer_bits import BitTable, cross_bits
from spaces.bits.sensitivity import fisher
from spaces.bits.simulation import Simulator
from spaces.channels.graph import Block
from spaces.importance.by_name import Importance
from spaces.importance.elimination import eliminate
from spaces.importance.from_activations import contribution
from spaces.importance.from_weights import l1
from spaces.importance.scores import Subject
from spaces.networks.threads import one_thread
from spaces.study import Study, block_losses, load_study, save_study, study_parent
from tests.spaces.chain import chain, chain_graph, noise

IMAGES = noise(6, 3, 16, 16)


@cache
def study(importance: Importance = Importance.GREEDY, seed: int = 0) -> Study:
    return study_parent(chain(), chain_graph(), IMAGES, importance=importance, seed=seed)


def test_it_holds_what_its_parts_find() -> None:
    fisher = fisher_information(chain(), IMAGES, seed=0)
    places = sample_places(fisher.places, seed=0)
    found = covariances(chain(), IMAGES, places)
    order = eliminate(chain(), chain_graph(), found, fisher.channels)
    for name in ("first", "second", "last"):
        assert np.array_equal(study().places[name], places[name].numpy())
        assert np.array_equal(study().sensitivity[name], fisher.channels[name].numpy())
    for index, block in enumerate(order):
        assert np.array_equal(study().scores[index], block.scores)
        assert np.array_equal(study().losses[index], block.losses)


def test_scores_are_of_the_importance_that_was_asked_for() -> None:
    expected = {
        Importance.L1: l1(chain().state_dict(), chain_graph()),
        Importance.CONTRIBUTION: contribution(Subject(chain(), chain_graph(), IMAGES, 0)),
    }
    for importance, scores in expected.items():
        assert all(map(np.array_equal, study(importance).scores, scores))


def test_losses_are_of_the_order_that_channels_go_in() -> None:
    places = sample_places(fisher_information(chain(), IMAGES, seed=0).places, seed=0)
    found, weights = covariances(chain(), IMAGES, places), fisher_information(chain(), IMAGES, seed=0).channels
    order = eliminate(chain(), chain_graph(), found, weights, scores=study(Importance.L1).scores)
    for losses, block, greedy in zip(study(Importance.L1).losses, order, study().losses, strict=True):
        assert np.array_equal(losses, block.losses)
        assert losses[1] >= greedy[1] * (1 - 1e-6)  # no single channel is cheaper than the cheapest


def test_it_follows_the_seed() -> None:
    assert all(map(np.array_equal, study.__wrapped__().scores, study().scores))
    assert not np.array_equal(study(seed=1).sensitivity["first"], study().sensitivity["first"])


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "study.safetensors"
    save_study(study(), path)
    read = load_study(path, chain_graph())
    assert read is not None
    for name in ("scores", "losses"):
        assert all(map(np.array_equal, getattr(read, name), getattr(study(), name)))
    for name in ("places", "sensitivity"):
        ours, theirs = getattr(study(), name), getattr(read, name)
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[layer], theirs[layer]) for layer in ours)


def test_with_a_table_it_holds_what_each_option_of_bits_loses(tmp_path: Path) -> None:
    path, images = tmp_path / "study.safetensors", noise(8, 3, 16, 16)
    table = BitTable(chain_graph(), cross_bits([4, 8], [8]))
    found = study_parent(chain(), chain_graph(), images, importance=Importance.GREEDY, seed=0, table=table)
    with one_thread():
        expected = fisher(Simulator(chain(), images), table, images, seed=0)
    assert found.bit_losses is not None
    assert np.array_equal(found.bit_losses, expected)
    save_study(found, path)
    read = load_study(path, chain_graph(), table=table)
    assert read is not None
    assert read.bit_losses is not None
    assert np.array_equal(read.bit_losses, found.bit_losses)
    other = BitTable(chain_graph(), cross_bits([2, 4, 8], [8]))
    assert load_study(path, chain_graph(), table=other) is None
    save_study(study(), path)
    assert load_study(path, chain_graph(), table=table) is None


def test_a_missing_a_damaged_or_a_foreign_file_is_no_study(tmp_path: Path) -> None:
    path = tmp_path / "study.safetensors"
    assert load_study(path, chain_graph()) is None
    save_study(study(), path)
    other = replace(chain_graph(), blocks=(Block("first", 7, 1), Block("second", 5, 1)))
    assert load_study(path, other) is None
    path.write_bytes(path.read_bytes()[:-9])
    assert load_study(path, chain_graph()) is None


def test_the_losses_of_blocks_add_up() -> None:
    first, second = study().losses
    found = block_losses(study(), np.array([[6, 5], [4, 5], [6, 1], [3, 2]]))
    assert found.tolist() == pytest.approx([0, first[2], second[4], first[3] + second[3]])


def test_images_with_nan_are_said_to_be_so() -> None:
    images = IMAGES.clone()
    images[0] = torch.nan
    with pytest.raises(FloatingPointError, match="must be finite"):
        study_parent(chain(), chain_graph(), images, importance=Importance.GREEDY, seed=0)
