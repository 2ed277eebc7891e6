"""A network's modules anew around the same tensors: what a deep copy does, without its time.

A deep copy of a nano detector without its tensors takes 30 to 40 ms, a twin a third of that; each candidate needs one.
"""

import copy
from types import MethodType
from typing import TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)
_CONTAINERS = (dict, list, set)


def twin(network: Network, /) -> Network:
    """Return a copy of `network` that shares its tensors and nothing else that changes.

    Layers, parameters, buffers and hooks may be replaced in the twin and the original stays as it is; what changes a
    tensor in place changes both.
    """
    copied = _twin(network, {})
    for name, value in vars(network).items():
        if isinstance(value, dict | list) and not name.startswith("_"):  # a detector's yaml and names
            setattr(copied, name, copy.deepcopy(value))
    return copied


def _twin(module: Network, done: dict[int, nn.Module]) -> Network:
    copied = object.__new__(type(module))
    done[id(module)] = copied
    own = {name: _own(value, module, copied) for name, value in vars(module).items()}
    vars(copied).update(own)  # no module's own __setattr__, which looks for parameters in everything
    for name, child in module._modules.items():
        if child is not None:
            copied._modules[name] = done.get(id(child)) or _twin(child, done)
    return copied


def _own(value: object, module: nn.Module, copied: nn.Module) -> object:
    """Return an attribute of `module` as `copied` has it: containers anew, a method as its own."""
    if isinstance(value, _CONTAINERS):
        return copy.copy(value)
    if isinstance(value, MethodType) and value.__self__ is module:  # as Ultralytics sets when it fuses
        return MethodType(value.__func__, copied)
    return value
