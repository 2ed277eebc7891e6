"""Every method that trains between cuts: one row each, with what its authors published.

Its arithmetic and the scores that it reads are named as "module:function" and imported when a run asks for them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from spaces.importance.by_name import Importance
from spaces.recovery.recovery import Recovery


@dataclass(frozen=True)
class MethodRecord:
    """One method, and what it does where the user does not say otherwise.

    Attributes:
        summary: what it does, as `--help` says it.
        decide: its arithmetic, the `Decide` of `search.methods.rounds`.
        scores: what each layer says of its channels, a function of a network and its graph.
        joined: how the layers of a chain are heard together.
        importance: what orders the channels of a block; a part of the method, so not to be chosen.
        rounds: of training and cutting.
        trains_first: whether the user's own network is trained before the first cut.
        sparsity: the coefficient of the absolute BatchNorm scales in that training's loss, 0 for none.
        is_eased: whether that coefficient falls and weak channels fade on the way.
        drops_repeats: whether it leaves out repeats before its first cut.
    """

    name: str
    summary: str
    decide: str
    scores: str
    importance: Importance
    joined: str = "spaces.importance.by_layer:added"
    recovery: Recovery = Recovery.NOTHING
    rounds: int = 1
    trains_first: bool = False
    sparsity: float = 0.0
    is_eased: bool = False
    drops_repeats: bool = False


_ROWS = (
    MethodRecord(
        "slimming",
        "network slimming: trains BatchNorm scales sparse, one threshold cuts",
        "search.methods.slimming:slim",
        "spaces.importance.by_layer:gammas",
        Importance.GAMMA,
        joined="spaces.importance.by_layer:wanted",
        trains_first=True,
        sparsity=1e-3,
    ),
    MethodRecord(
        "pruned_yolo",
        "sparsity that eases off, scales weighted by their kernels",
        "search.methods.pruned_yolo:prune",
        "spaces.importance.by_layer:kernel_gammas",
        Importance.KERNEL_GAMMA,
        rounds=2,
        trains_first=True,
        sparsity=1e-3,
        is_eased=True,
        drops_repeats=True,
    ),
    MethodRecord(
        "pagcp",
        "cuts layer by layer while no task's loss grows too much",
        "search.methods.pagcp:compress",
        "spaces.importance.by_layer:filter_means",
        Importance.L1,
    ),
    MethodRecord(
        "netadapt",
        "cuts the block that costs least accuracy, step by step",
        "search.methods.netadapt:adapt",
        "spaces.importance.by_layer:filter_norms",
        Importance.L2,
        recovery=Recovery.ADAPTIVE_BN,  # stands for the short training of each proposal
        rounds=3,
    ),
)
METHODS: Mapping[str, MethodRecord] = {row.name: row for row in _ROWS}
