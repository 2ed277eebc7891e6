import pytest
import torch
from ultralytics.nn.tasks import DetectionModel

from leaderboards.tuning.best_between import ENDS, SHARES, best_between, between
from spaces.networks.twin import twin
from tests.spaces.untrained import detector


def weight(network: DetectionModel) -> float:
    return float(network.state_dict()["model.0.conv.weight"].flatten()[0])


@pytest.fixture
def pair() -> tuple[DetectionModel, DetectionModel]:
    """Return two networks of one shape; the first weight of the one is 0, of the other 1."""
    start, end = (twin(detector()) for _ in range(2))
    for network, value in ((start, 0.0), (end, 1.0)):
        network.load_state_dict({name: tensor.clone() for name, tensor in network.state_dict().items()}, assign=True)
        network.state_dict()["model.0.conv.weight"].flatten()[0] = value
    return start, end


def test_the_ends_are_themselves_and_the_middle_lies_between(pair: tuple[DetectionModel, DetectionModel]) -> None:
    start, end = pair
    for share, network in ((0.0, start), (1.0, end)):
        mixed = between(start, end, share).state_dict()
        assert all(torch.equal(mixed[name], tensor) for name, tensor in network.state_dict().items())
    assert weight(between(start, end, 0.25)) == 0.25
    assert (weight(start), weight(end)) == (0.0, 1.0)


@pytest.mark.parametrize("wanted", SHARES)
def test_what_scores_highest_is_kept_with_its_place(pair: tuple[DetectionModel, DetectionModel], wanted: float) -> None:
    best = best_between(*pair, lambda network: -abs(weight(network) - wanted))
    assert (best.share, best.score) == (wanted, 0.0)
    assert weight(best.network) == wanted
    assert (best.before, best.after) == (-wanted, wanted - 1)


def test_a_training_that_changed_nothing_in_score_is_kept_whole(pair: tuple[DetectionModel, DetectionModel]) -> None:
    assert best_between(*pair, lambda _: 0.5).share == 1.0


def test_where_only_the_ends_are_asked_for_nothing_else_is_looked_at(
    pair: tuple[DetectionModel, DetectionModel],
) -> None:
    seen: list[float] = []

    def score(network: DetectionModel) -> float:
        seen.append(weight(network))
        return -seen[-1]

    assert best_between(*pair, score, shares=ENDS).share == 0.0
    assert seen == [0.0, 1.0]
