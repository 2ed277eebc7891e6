"""Detectors in and out of files, without ever running what a file says.

A `.pt` is read as plain data by checkpoint.py and yolov5/legacy.py; a folder of ours holds `model.safetensors` and
`architecture.json`. Either way the network is built here, from a checked description and tensors: the description
gives the layers, the tensors give the widths. A description with anchors is a specification of the original YOLOv5.
"""

import copy
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as tensor_bytes
from torch import Tensor, nn
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel

from spaces.bits.layer_bits import LayerBits, from_picks, to_picks
from spaces.bits.quantized import allocation_of, layers_by_name, quantized_blank
from spaces.candidate import Candidate
from spaces.cutting.subnet import install
from spaces.detectors.agreement import PROBE, check_agreement
from spaces.detectors.backbones.swap import BACKBONE_NAME, swap_backbone
from spaces.detectors.checkpoint import Checkpoint, read_ultralytics
from spaces.detectors.departures import KEY, apply_departures_, check_departures, common_activation, find_departures
from spaces.detectors.description import MAX_JSON, check_description, find_strides, hollow, untrained
from spaces.detectors.stored import open_network
from spaces.detectors.weights_file import check_weights_file, is_folder_of_ours
from spaces.detectors.yolov5.detector import LAYERS, AnchorDetector
from spaces.detectors.yolov5.legacy import is_legacy, read_legacy
from spaces.detectors.yolov5.spec import read_spec
from spaces.errors import BadInput
from spaces.files import write_atomic
from spaces.networks.folding import fold_bn

FORMAT = "yolo-budget-search/1"


@dataclass(frozen=True)
class Architecture:
    """What a network is apart from its tensors.

    Attributes:
        yaml: the Ultralytics model description: backbone, head, scale; or with anchors, one of `yolov5.spec`.
        names: the classes in the order of their ids.
        candidate: which sub-network of its parent it is.
        bits: of its layers, by name; a network that has any has no BatchNorm.
    """

    yaml: Mapping[str, object]
    names: tuple[str, ...]
    candidate: Candidate
    bits: Mapping[str, LayerBits] = field(default_factory=dict)

    @classmethod
    def of(cls, model: DetectionModel, candidate: Candidate, /) -> Self:
        """Return the architecture of `model`."""
        names = model.names if isinstance(model.names, dict) else dict(enumerate(model.names))
        return cls(model.yaml, tuple(str(names[index]) for index in range(len(names))), candidate, allocation_of(model))

    def to_json(self) -> dict[str, object]:
        """Return the JSON form."""
        record: dict[str, object] = {
            "yaml": dict(self.yaml),
            "names": list(self.names),
            "candidate": self.candidate.to_json(),
        }
        return record | ({"bits": to_picks(self.bits)} if self.bits else {})

    @classmethod
    def from_json(cls, record: Mapping[str, object]) -> Self:
        """Return the architecture that `to_json` described.

        Raises:
            BadInput: the record has another shape or names a layer that is not a plain network layer.
        """
        yaml, names, candidate = record.get("yaml"), record.get("names"), record.get("candidate")
        if not isinstance(yaml, dict) or not isinstance(candidate, dict) or not isinstance(names, list):
            raise BadInput("an architecture must have yaml, names and candidate")
        bits = Candidate.from_json({"base": "", "picks": record.get("bits", {})})
        if "anchors" in yaml:
            read_spec(yaml, tuple(LAYERS))
        else:
            check_description(yaml)
        check_departures(yaml.get(KEY, {}))
        return cls(yaml, tuple(map(str, names)), Candidate.from_json(candidate), from_picks(bits.picks))


def build_detector(architecture: Architecture, tensors: Mapping[str, Tensor], /) -> DetectionModel:
    """Return the network in float32 and eval mode, with the widths of `tensors`.

    Raises:
        BadInput: the tensors are not those of the architecture.
    """
    n_classes = len(architecture.names)
    if odd := next((name for name, tensor in tensors.items() if not tensor.isfinite().all()), None):
        raise BadInput(f"the weights hold NaN or infinity, first in {odd}")
    plain = _untrained({**architecture.yaml, "nc": n_classes})
    _depart_(plain)
    if BACKBONE_NAME in architecture.yaml:
        plain = swap_backbone(plain, str(architecture.yaml[BACKBONE_NAME]))
    if architecture.bits:
        plain = _rounded(plain, architecture.bits)
    plain.names = dict(enumerate(architecture.names))
    plain.args = get_cfg()  # the gains of the training loss
    _unshare_(plain, tensors)
    side = max(PROBE, int(plain.stride.max()))
    try:
        model = install(plain, {name: _float32(tensor) for name, tensor in tensors.items()})
        with torch.no_grad():
            model(torch.zeros(1, 3, side, side))  # wrong shapes show here
    except (ValueError, RuntimeError, IndexError) as error:
        raise BadInput(f"the weights do not fit their architecture: {error}") from error
    assert isinstance(model, DetectionModel)
    return model


def load_detector(path: Path, /) -> tuple[DetectionModel, Architecture]:
    """Return the detector in `path`, in float32 and eval mode.

    It is a `.pt` of Ultralytics or of the original YOLOv5, or a folder of ours.

    Raises:
        BadInput: missing, damaged, of another kind or task, or not loadable without running foreign code.
    """
    check_weights_file(path)
    if is_folder_of_ours(path):
        return _load_folder(path if path.is_dir() else path.parent)
    with open_network(path) as stored:
        checkpoint = read_legacy(stored) if is_legacy(stored) else read_ultralytics(stored)
    try:
        return _built(checkpoint)
    except BadInput as error:
        raise BadInput(f"weights: {str(path)!r}: {error}") from error


def save_detector(model: DetectionModel, folder: Path, /, *, candidate: Candidate, is_half: bool = False) -> None:
    """Write model.safetensors and architecture.json into `folder`, each in one step.

    With `is_half` the convolutions are stored in float16, which halves the file; vectors stay in float32.
    """
    tensors = {
        name: tensor.half() if is_half and tensor.is_floating_point() and tensor.dim() > 1 else tensor
        for name, tensor in model.state_dict().items()
    }
    n_places = Counter(tensor.data_ptr() for tensor in tensors.values())  # one activation may stand in many
    tensors = {
        name: tensor.clone() if n_places[tensor.data_ptr()] > 1 else tensor.contiguous()
        for name, tensor in tensors.items()
    }
    payload = tensor_bytes(tensors)
    record = {"format": FORMAT, **Architecture.of(model, candidate).to_json()}
    record["sha256"] = hashlib.sha256(payload).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "model.safetensors", payload)
    write_atomic(folder / "architecture.json", json.dumps(record, indent=1))


def _load_folder(folder: Path) -> tuple[DetectionModel, Architecture]:
    description, weights = folder / "architecture.json", folder / "model.safetensors"
    for path in (description, weights):
        if not path.is_file():
            raise BadInput(f"weights: {str(path)!r} not found")
    if description.stat().st_size > MAX_JSON:
        raise BadInput(f"weights: {str(description)!r} is larger than {MAX_JSON} bytes")
    try:
        record = json.loads(description.read_text(encoding="utf-8"))
        payload = weights.read_bytes()
        tensors = load_tensors(payload)
    except (ValueError, SafetensorError) as error:
        raise BadInput(f"weights: {str(folder)!r} is damaged: {error!s:.100}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise BadInput(f"weights: {str(description)!r} must have the format {FORMAT!r}")
    if record.get("sha256") != hashlib.sha256(payload).hexdigest():
        raise BadInput(f"weights: {str(weights)!r} is not the file that {description.name} describes (sha256 differs)")
    architecture = Architecture.from_json(record)
    return build_detector(architecture, tensors), architecture


def _built(checkpoint: Checkpoint) -> tuple[DetectionModel, Architecture]:
    """Return the network of a file, whose layers are what they are there, whatever its description says of them."""
    record = {"yaml": checkpoint.yaml, "names": list(checkpoint.names), "candidate": Candidate("same", ()).to_json()}
    architecture = Architecture.from_json(record)
    yaml = {**checkpoint.yaml, "nc": len(checkpoint.names)}
    departures = find_departures(checkpoint.layers, _hollow(yaml))
    activation = None if "anchors" in yaml else common_activation(departures)
    if activation is not None:
        other = find_departures(checkpoint.layers, _hollow({**yaml, "activation": activation}))
        if len(other) < len(departures):
            yaml["activation"], departures = activation, other
    architecture = replace(architecture, yaml=yaml | ({KEY: departures} if departures else {}))
    model = build_detector(architecture, checkpoint.tensors)
    if tuple(model.stride.tolist()) != checkpoint.strides:
        raise BadInput(f"its head holds the strides {checkpoint.strides}, and its layers make {model.stride.tolist()}")
    check_agreement(model, checkpoint.layers)
    return model, architecture


def _hollow(yaml: Mapping[str, object]) -> DetectionModel:
    return AnchorDetector(yaml) if "anchors" in yaml else hollow(yaml, int(str(yaml["nc"])))


def _untrained(yaml: Mapping[str, object]) -> DetectionModel:
    return AnchorDetector(yaml) if "anchors" in yaml else untrained(yaml, int(str(yaml["nc"])))


def _depart_(plain: DetectionModel) -> None:
    """Set on the layers of `plain` what its description says beside them."""
    departures = check_departures(plain.yaml.get(KEY, {}))
    apply_departures_(plain, departures)
    if departures and find_strides(plain) != plain.stride.tolist():
        raise BadInput(f"departures: they change the strides {plain.stride.tolist()} of the network")


def _unshare_(plain: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give each place of `plain` a layer of its own where one stands in several and they have not the same tensors.

    One activation for all layers is one object, and with a slope that is learned one for all; those of a file need not
    be.
    """
    places: dict[int, list[str]] = defaultdict(list)
    for name, layer in plain.named_modules(remove_duplicate=False):
        if any(True for _ in layer.parameters(recurse=False)):
            places[id(layer)].append(name)
    for first, *others in places.values():
        layer = plain.get_submodule(first)
        own = [name for name, _ in layer.named_parameters(recurse=False)]
        for place in others:
            pairs = [(tensors.get(f"{first}.{name}"), tensors.get(f"{place}.{name}")) for name in own]
            if any(a is not None and b is not None and not torch.equal(a, b) for a, b in pairs):
                home, _, last = place.rpartition(".")
                plain.get_submodule(home)._modules[last] = copy.deepcopy(layer)


def _rounded(plain: DetectionModel, bits: Mapping[str, LayerBits]) -> DetectionModel:
    """Return `plain` without BatchNorm and with layers of these bits, their grids still to be read."""
    folded = fold_bn(plain)
    layers = layers_by_name(folded)
    if odd := next((name for name in bits if name not in layers), None):
        raise BadInput(f"the architecture gives bits to layer {odd!r:.60}, which it does not have")
    blank = quantized_blank(folded, bits)
    assert isinstance(blank, DetectionModel)
    return blank


def _float32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float32) if tensor.is_floating_point() else tensor
