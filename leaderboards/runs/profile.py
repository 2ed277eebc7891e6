"""What a space holds and which budgets it can reach, before anything is searched."""

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from evaluators.data.dataset import Sample
from leaderboards.runs.problem import Problem, searched
from spaces.bases.names import SAME
from spaces.bits.layer_bits import PROTECTED_BITS

Facts = dict[str, object]


def profile(problem: Problem, /) -> Facts:
    """Return the facts of `problem` as JSON values: classes, costs, reach, limits, blocks, and what is kept whole."""
    parts = {block.name: block.parts for block in problem.graph.blocks}
    dataset = problem.inputs.dataset
    return {
        "classes": len(dataset.names),
        "train": len(dataset.train),
        "val": len(dataset.val),
        "boxes": {"train": _n_boxes(dataset.train), "val": _n_boxes(dataset.val)},
        "parent": dict(problem.parent_costs),
        "reach": {name: list(ends) for name, ends in problem.reach().items()},
        "limits": dict(problem.limits),
        "bases": list(problem.bases),
        "n_candidates_log10": round(log10_size(problem), 1),
        "blocks": [
            {"name": gene.name, "channels": gene.size, "parts": parts[gene.name], "options": list(gene.options)}
            for gene in problem.space.genes
        ],
        "bits": _bits(problem),
        "kept_whole": dict(problem.graph.kept_whole),
        "warnings": list(dataset.warnings),
    }


def write_terminal(problem: Problem, console: Console, /) -> None:
    """Print the profile of `problem` for a reader."""
    space, dataset = problem.space, problem.inputs.dataset
    images = (
        f"{len(dataset.train)} train and {len(dataset.val)} val images with {_n_boxes(dataset.train)} and "
        f"{_n_boxes(dataset.val)} boxes, "
    )
    console.print(
        f"{images if dataset.val else ''}{len(dataset.names)} classes; {len(space.genes)} blocks, "
        f"about 10^{log10_size(problem):.0f} candidates",
        soft_wrap=True,
    )
    reach = Table("cost", "smallest", "parent", "smallest / parent", "limit", title="budgets in reach")
    for name, (low, high) in problem.reach().items():
        limit = problem.limits.get(name)
        reach.add_row(name, f"{low:.4g}", f"{high:.4g}", f"{low / high:.0%}", "" if limit is None else f"{limit:.4g}")
    console.print(reach)
    if (table := problem.bases[SAME].table) is not None:
        options = ", ".join(map(str, table.options))
        console.print(f"{len(table.layers)} layers may have bits: {options}; ends at least {PROTECTED_BITS}")
    if len(problem.bases) > 1:
        console.print(f"{len(problem.bases)} bases: {', '.join(problem.bases)}", markup=False)
    blocks = Table("block", "channels", "may keep", title="what can be cut")
    for gene, block in zip(space.genes, problem.graph.blocks, strict=True):
        halves = f" x {block.parts}" if block.parts > 1 else ""
        blocks.add_row(gene.name, f"{gene.size}{halves}", f"{gene.options[0]} to {gene.size}, {len(gene.options)} ways")
    console.print(blocks)
    for name, why in problem.graph.kept_whole.items():
        console.print(f"kept whole: {name}, {why}", markup=False, soft_wrap=True)
    for warning in dataset.warnings:
        console.print(f"warning: {warning}", markup=False, soft_wrap=True)


def log10_size(problem: Problem, /) -> float:
    """Return the decimal logarithm of the number of candidates of all bases."""
    sizes = [searched(base.space, base.table).log10_size() for base in problem.bases.values()]
    return max(sizes) + math.log10(sum(10 ** (size - max(sizes)) for size in sizes))


def _n_boxes(samples: Sequence[Sample]) -> int:
    return sum(len(sample.labels) for sample in samples)


def _bits(problem: Problem) -> Facts:
    """Return how many layers may have bits, and which; nothing where all stay in float32."""
    table = problem.bases[SAME].table
    return {} if table is None else {"n_layers": len(table.layers), "options": [str(bits) for bits in table.options]}
