"""Do draws land on the budget, as diverse as rejection sampling's, and is the arithmetic what torch counts?

The peer is the sampler of the YOLOv5 EagleEye port: every block's keep fraction uniform, draws off the target thrown
away. Both sides have the same legal widths.
"""

import time

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch.utils.flop_counter import FlopCounterMode
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.torch_utils import get_flops

from leaderboards.benchmarks.cuts.networks import ALL, read_networks, untrained
from leaderboards.benchmarks.record import Cell, Record
from leaderboards.environment import environment
from spaces.channels.graph import ChannelGraph
from spaces.channels.trace import trace_channels
from spaces.cutting.probe import probe
from spaces.cutting.subnet import choose_channels, install, slice_tensors
from spaces.importance.from_weights import l1
from spaces.space import TOLERANCE, Floats, Keep, Space

SHARES = (0.3, 0.4, 0.5, 0.7, 0.9)
N_DRAWS = 4000
N_REJECTED = 400_000  # proposals of the peer at most
N_COMPARED = 300  # accepted proposals below which spreads are not compared (0 in the table)
NOT_NARROWER = 0.95
"""The spread of 4,000 draws is itself known to about 1 %, that of 300 to 4 %; this is the least of up to 137."""
N_COUNTED = 4
N_COSTED, CHUNK = 102_400, 4096  # candidates; in chunks that stay in the cache
COSTED_A_SECOND = 100_000
IMGSZ = 320


def sampler(*, networks: str = ALL) -> Record:
    """Return the share of draws that are within 0.5 % below their target, over all networks and targets.

    Args:
        networks: names of Ultralytics' detectors.
    """
    rows: list[dict[str, Cell]] = []
    for name in read_networks(networks):
        model = untrained(name)
        graph = probe(model, trace_channels(model, imgsz=IMGSZ), rng=np.random.default_rng(0))
        space = Space(graph)
        whole = space.reach()["macs_g"][1]
        counted = _counted_exactly(model, graph, space)
        theirs, speed = get_flops(model, imgsz=IMGSZ), _costed_a_second(space)
        for share in SHARES:
            rows.append({"network": name, "share": share, **_row(space, share * whole)})
            rows[-1] |= {"counts_exactly": counted, "ultralytics_ratio": theirs / (2 * whole)}
            rows[-1]["costed_a_second"] = speed
    accepted = float(np.mean([row["on_budget"] for row in rows]))
    narrowest = min(float(row["narrowest_block"]) for row in rows if row["share"] == 0.5)
    slowest = min(float(row["costed_a_second"]) for row in rows)
    agree = all(abs(float(row["ultralytics_ratio"]) - 1) <= 0.03 and row["counts_exactly"] for row in rows)
    return Record(
        "sampler",
        f"share of {N_DRAWS} draws within 0.5 % of the target, over all networks and targets",
        accepted,
        f"1.0, with the spread of every block's keep counts at 50 % at least {NOT_NARROWER} of rejection's, MACs and "
        "parameters exactly those that torch counts, Ultralytics' figure within 3 %, and at least "
        f"{COSTED_A_SECOND:,} candidates costed a second on one thread",
        accepted == 1.0 and narrowest >= NOT_NARROWER and agree and slowest >= COSTED_A_SECOND,
        rows,
        environment(),
        f"python run_search.py bench sampler networks={networks} --json",
    )


def _row(space: Space, target: float) -> dict[str, Cell]:
    started = time.perf_counter()
    drawn = [space.sample(np.random.default_rng([1, index]), limits={"macs_g": target}) for index in range(N_DRAWS)]
    ours_ms = (time.perf_counter() - started) / N_DRAWS * 1e3
    keep = np.stack([space.decode(candidate) for candidate in drawn])
    use = space.population_costs(keep)["macs_g"] / target
    started = time.perf_counter()
    rejection = _rejection(space, target)
    rejection_ms = (time.perf_counter() - started) / max(len(rejection), 1) * 1e3
    ratios = _spread(space, keep) / _spread(space, rejection) if len(rejection) >= N_COMPARED else np.zeros(1)
    return {
        "on_budget": float(np.mean((use <= 1) & (use >= 1 - TOLERANCE))),
        "lowest_use": float(use.min()),
        "distinct": len({candidate.id for candidate in drawn}),
        "ms_a_draw": ours_ms,
        "rejection_accepts": len(rejection) / N_REJECTED,
        "rejection_ms_a_draw": rejection_ms,
        "mean_spread": float(ratios.mean()),
        "narrowest_block": float(ratios.min()),
    }


def _costed_a_second(space: Space) -> float:
    """Return how many candidates' MACs, parameters and size are known in a second of one thread."""
    rng = np.random.default_rng(3)
    keep = np.stack([rng.choice(gene.options, N_COSTED) for gene in space.genes], 1)
    with threadpool_limits(1):
        started = time.perf_counter()
        for start in range(0, N_COSTED, CHUNK):
            space.population_costs(keep[start : start + CHUNK])
        return N_COSTED / (time.perf_counter() - started)


def _rejection(space: Space, target: float) -> Keep:
    """Return the proposals with independent uniform widths that are within 0.5 % of `target`, (n, n_genes)."""
    rng = np.random.default_rng(2)
    accepted = []
    for _ in range(N_REJECTED // 20_000):
        proposed = np.stack([rng.choice(gene.options, 20_000) for gene in space.genes], 1)
        use = space.population_costs(proposed)["macs_g"] / target
        accepted.append(proposed[np.abs(use - 1) <= TOLERANCE])
    return np.concatenate(accepted)


def _spread(space: Space, keep: Keep) -> Floats:
    """Return the standard deviation of each block's keep fraction, where there is a choice."""
    sizes = np.array([gene.size for gene in space.genes])
    has_choice = np.array([len(gene.options) > 1 for gene in space.genes])
    return (keep / sizes).std(0)[has_choice] if len(keep) else np.zeros(int(has_choice.sum()))


def _counted_exactly(model: DetectionModel, graph: ChannelGraph, space: Space) -> bool:
    """Return whether MACs and parameters of some cut networks are exactly those that torch counts."""
    tensors = model.state_dict()
    whole = space.reach()["macs_g"][1]
    for index in range(N_COUNTED):
        candidate = space.sample(np.random.default_rng(index), limits={"macs_g": whole * (0.3 + 0.2 * index)})
        chosen = choose_channels(graph, l1(tensors, graph), space.decode(candidate))
        subnet = install(model, slice_tensors(tensors, graph, chosen))
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            subnet(torch.zeros(1, 3, IMGSZ, IMGSZ))
        costs = space.costs(candidate)
        n_parameters = sum(parameter.numel() for parameter in subnet.parameters())
        if round(costs["macs_g"] * 2e9) != counter.get_total_flops() or round(costs["params_m"] * 1e6) != n_parameters:
            return False
    return True
