"""Where the layers of a file are not those that its description builds: carried over, or refused by name.

A description says nothing of what was changed in code: another activation, another way to upsample, another padding.
Layer by layer, what is stored is compared with what was built. Numbers, flags and the words that layers of torch take
are set on the built layer; an activation takes the place of another one; all else is refused. What is set stands in
the description under KEY, so it goes wherever the description goes.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeGuard

from torch import nn
from ultralytics.nn.modules.block import C2f

from spaces.detectors.description import ACTIVATIONS, MAX_NUMBER, WORDS
from spaces.errors import BadInput

Value = bool | int | float | str | None | list[int | float]
Departures = Mapping[str, Mapping[str, Value]]  # by the layer's name, its attributes; CLASS if it is another activation

KEY = "departures"  # of a description
CLASS = "class"
_MOST = 5000  # layers that depart
_MOST_ATTRIBUTES = 20
_ALIASES = {  # names of the same computation
    "Silence": "Identity",
    "DWConv": "Conv",
    "AnchorDetect": "Detect",
    "SyncBatchNorm": "BatchNorm2d",  # of a training on several GPUs
}
_DERIVED = frozenset(  # from the tensors or the place, or without effect on what is computed
    {
        *("training", "inplace", "type", "np", "name", "init", "groups", "num_features", "num_parameters", "c1", "c2"),
        *("dim", "in_channels", "out_channels", "in_features", "out_features"),
    }
)
_FIXED = frozenset({"i", "f", "nc", "nl", "no", "na", "reg_max", "transposed", "affine", "track_running_stats"})


class StoredLayer(NamedTuple):
    """What is written on a layer in a file.

    Attributes:
        kind: the full name of its class.
        attributes: all that it holds.
    """

    kind: str
    attributes: Mapping[str, object]

    @property
    def name(self) -> str:
        """The name of its class."""
        return self.kind.rpartition(".")[2]


def find_departures(stored: Mapping[str, StoredLayer], built: nn.Module, /) -> Departures:
    """Return what must be set on the layers of `built` so that they compute what those `stored` under the names do.

    Raises:
        BadInput: something else than an activation, a number, a flag or a known word differs.
    """
    own = {name: layer for name, layer in built.named_modules(remove_duplicate=False) if name.startswith("model.")}
    theirs = {name: layer for name, layer in stored.items() if name.startswith("model.")}
    if odd := next((name for name in (*theirs, *own) if (name in own) != (name in theirs)), None):
        kind, where = (theirs[odd].name, "file") if odd in theirs else (type(own[odd]).__name__, "yaml")
        raise BadInput(f"layer {odd:.60} ({kind:.40}) is only in the {where}: changed in code; refused")
    found = {name: _departures_of(layer, own[name], name) for name, layer in theirs.items()}
    return {name: differing for name, differing in found.items() if differing}


def common_activation(departures: Departures, /) -> str | None:
    """Return the call of torch.nn that makes the activation which `departures` name, None if it is not a single one."""
    calls = {_call(attributes) for attributes in departures.values() if CLASS in attributes}
    return calls.pop() if len(calls) == 1 else None


def apply_departures_(built: nn.Module, departures: Departures, /) -> None:
    """Set `departures` on the layers of `built`.

    Raises:
        BadInput: a layer or an attribute is not there, or a value is none that it may have.
    """
    for name, attributes in departures.items():
        home, _, last = name.rpartition(".")
        try:
            parent, layer = built.get_submodule(home), built.get_submodule(name)
        except AttributeError as error:
            raise BadInput(f"departures: there is no layer {name!r:.60}") from error
        if CLASS in attributes:
            layer = _activation(attributes[CLASS], layer)
            parent._modules[last] = layer
        for attribute, value in attributes.items():
            if attribute != CLASS:
                _set_(layer, attribute, value)


def check_departures(record: object, /) -> Departures:
    """Return `record`, from a description, if it has the form of departures.

    Raises:
        BadInput: it has not.
    """
    if not isinstance(record, dict) or len(record) > _MOST:
        raise BadInput(f"departures must be a mapping of at most {_MOST} layers, got {record!r:.60}")
    for name, attributes in record.items():
        is_named = isinstance(attributes, dict) and len(attributes) <= _MOST_ATTRIBUTES and name.startswith("model.")
        if not is_named or not all(map(is_value, attributes.values())):
            raise BadInput(f"departures of a layer must be a few numbers, flags and words, got {attributes!r:.60}")
    return record


def renamed(departures: Departures, rename: Callable[[str], str | None], /) -> Departures:
    """Return `departures` with the names of layers that `rename` gives; where it gives None they are gone."""
    new = {rename(name): attributes for name, attributes in departures.items()}
    return {name: attributes for name, attributes in new.items() if name is not None}


def check_code(stored: StoredLayer, kind: type[nn.Module], told: str, /) -> None:
    """Make sure that a layer, called `told`, computes what its class `kind` does.

    Raises:
        BadInput: it has hooks or functions of its own.
    """
    for name, value in stored.attributes.items():
        is_hook = str(name).endswith("_hooks") and bool(value)
        is_method = inspect.isfunction(inspect.getattr_static(kind, str(name), None)) and name not in _DERIVED
        if is_hook or is_method:
            raise BadInput(f"{told} has its own {name!s:.40}, which is code; refused")


def _departures_of(stored: StoredLayer, own: nn.Module, name: str) -> dict[str, Value]:
    ours, told = type(own).__name__, f"layer {name} ({stored.name:.40})"
    check_code(stored, type(own), told)
    if _ALIASES.get(stored.name, stored.name) == _ALIASES.get(ours, ours):
        found = _attributes_of(stored, own, told)
        return {key: value for key, value in found.items() if value != _unified(vars(own)[key])}
    if not (stored.name in ACTIVATIONS and ours in ACTIVATIONS and stored.kind.startswith("torch.nn.modules.")):
        raise BadInput(f"layer {name} is a {stored.name:.40} in the file and a {ours} by its yaml; refused")
    return {CLASS: stored.name, **_attributes_of(stored, getattr(nn, stored.name)(), told)}


def _attributes_of(stored: StoredLayer, own: nn.Module, told: str) -> dict[str, Value]:
    """Return the stored values of what may be set on `own`."""
    found: dict[str, Value] = {}
    for name, value in vars(own).items():
        ours, theirs = _unified(value), _unified(stored.attributes.get(name, value))
        if not _is_settable(own, name) and (name not in _FIXED or ours == theirs):
            continue
        if name in _FIXED or not is_value(theirs):
            raise BadInput(f"{told} has {name} {theirs!r:.40} in the file and {ours!r:.40} by its yaml; refused")
        found[name] = theirs
    if isinstance(own, nn.Conv2d):
        n_out = stored.attributes.get("out_channels")
        groups = n_out // (own.out_channels // own.groups) if own.groups > 1 and isinstance(n_out, int) else 1
        if stored.attributes.get("groups") != groups:
            raise BadInput(
                f"{told} has {stored.attributes.get('groups')!r:.40} groups and by its yaml {groups}; refused"
            )
    return found


def _activation(name: object, old: nn.Module) -> nn.Module:
    if name not in ACTIVATIONS or type(old).__name__ not in ACTIVATIONS:
        raise BadInput(f"departures: {name!r:.60} cannot be in the place of a {type(old).__name__}")
    made = getattr(nn, str(name))()
    assert isinstance(made, nn.Module)
    return made


def _set_(layer: nn.Module, name: str, value: Value) -> None:
    if not _is_settable(layer, name):
        raise BadInput(f"departures: a {type(layer).__name__} has no {name!r:.60} that can be set")
    setattr(layer, name, tuple(value) if isinstance(value, list) and not isinstance(vars(layer)[name], list) else value)


def _call(attributes: Mapping[str, Value]) -> str:
    kind = str(attributes[CLASS])
    known = inspect.signature(getattr(nn, kind)).parameters
    given = ", ".join(f"{name}={value!r}" for name, value in attributes.items() if name in known)
    return f"nn.{kind}({given})"


def _is_settable(layer: nn.Module, name: str) -> bool:
    """Return whether `name` is of a number, flag or word that says what `layer` computes."""
    if name.startswith("_") or name in _DERIVED | _FIXED or (name == "c" and isinstance(layer, C2f)):
        return False
    return name in vars(layer) and is_value(_unified(vars(layer)[name]))


def _unified(value: object) -> object:
    return list(value) if isinstance(value, tuple | list) else value


def is_value(value: object, /) -> TypeGuard[Value]:
    """Return whether `value` is a small number, a flag, a word that layers take, none, or a few numbers."""
    if isinstance(value, list):
        return len(value) <= _MOST_ATTRIBUTES and all(isinstance(one, int | float) and is_value(one) for one in value)
    if isinstance(value, str):
        return value in WORDS or value in ACTIVATIONS or value == "zeros"
    return value is None or (isinstance(value, int | float) and abs(value) <= MAX_NUMBER)
