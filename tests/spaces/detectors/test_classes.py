import pytest
import torch

from spaces.candidate import Candidate
from spaces.detectors.classes import NEVER, with_classes
from spaces.detectors.detector import Architecture
from spaces.errors import BadInput
from tests.spaces.untrained import detector

N_BOX = 4


@pytest.mark.parametrize("family", ["yolov8n", "yolov10n"])
def test_scores_are_those_of_the_same_classes_in_the_order_asked_for(family: str) -> None:
    model = detector(family, n_classes=3)
    architecture = Architecture(model.yaml, ("cat", "Dog", "bird"), Candidate("same", ()))
    told, missing = with_classes(model, architecture, ("dog", "cow", "cat"))
    assert (missing, told.names) == (("cow",), {0: "dog", 1: "cow", 2: "cat"})
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = (network(images)[1] for network in (model, told))
    before, after = (raw.get("one2one", raw) for raw in (before, after))
    torch.testing.assert_close(after["boxes"], before["boxes"])
    torch.testing.assert_close(after["scores"][:, [0, 2]], before["scores"][:, [1, 0]])
    assert (after["scores"][:, 1] == NEVER).all()


def test_the_same_classes_leave_it_as_it_is() -> None:
    model = detector("yolov8n", n_classes=2)
    architecture = Architecture(model.yaml, ("cat", "dog"), Candidate("same", ()))
    assert with_classes(model, architecture, ("cat", "dog")) == (model, ())


def test_one_that_knows_none_of_the_classes_is_refused() -> None:
    model = detector("yolov8n", n_classes=2)
    architecture = Architecture(model.yaml, ("cat", "dog"), Candidate("same", ()))
    with pytest.raises(BadInput, match=r"knows none of the classes \(cow, \.\.\.\), its own are cat, dog"):
        with_classes(model, architecture, ("cow",))
