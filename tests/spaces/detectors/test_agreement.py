import pytest

from spaces.detectors.agreement import check_agreement
from spaces.detectors.departures import StoredLayer
from spaces.errors import BadInput
from tests.spaces.detectors.files import random_network


def test_what_the_layers_in_a_file_compute_is_run_beside_what_was_rebuilt() -> None:
    kind = "ultralytics.nn.modules.block.Bottleneck"
    model = random_network("small")
    check_agreement(model, {"model.2.m.0": StoredLayer(kind, {"add": True, "unknown": 7, "training": True})})
    with pytest.raises(BadInput, match="compute something else"):
        check_agreement(model, {"model.2.m.0": StoredLayer(kind, {"add": False})})
    with pytest.raises(BadInput, match="do not fit each other"):
        check_agreement(model, {"model.6": StoredLayer("ultralytics.nn.modules.conv.Concat", {"d": 9})})
    assert model.model[2].m[0].add
