import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spaces.channels.graph import Axis, Block, ChannelGraph, Use


@st.composite
def graphs(draw: st.DrawFn) -> ChannelGraph:
    """Return a graph of up to 6 blocks whose axes hold channels of any of them, or of none (-1)."""
    sizes = draw(st.lists(st.integers(1, 8), min_size=1, max_size=6))
    rows = draw(st.lists(st.lists(st.integers(-1, len(sizes) - 1), min_size=1, max_size=8), max_size=5))
    used = [np.array(row) for row in rows if max(row) >= 0]
    axes = {(f"t{number}", 0): Axis(row, np.arange(len(row))) for number, row in enumerate(used)}
    blocks = tuple(Block(f"b{number}", size, 1) for number, size in enumerate(sizes))
    return ChannelGraph(blocks, axes, (), frozenset(), {}, (), 0, {"stem": "no reason"})


def owners(graph: ChannelGraph) -> dict[Use, list[str]]:
    """Return by use the name of the block that each index belongs to, "" for none."""
    names = [*(block.name for block in graph.blocks), ""]
    return {use: [names[index] for index in axis.blocks] for use, axis in graph.axes.items()}


@given(graphs(), st.data())
def test_a_refused_block_owns_nothing_and_the_others_own_what_they_did(
    graph: ChannelGraph, data: st.DataObject
) -> None:
    names = [block.name for block in graph.blocks]
    refused = dict.fromkeys(data.draw(st.sets(st.sampled_from(names))), "odd")
    left = graph.without(refused)
    assert [block.name for block in left.blocks] == [name for name in names if name not in refused]
    expected = {use: ["" if name in refused else name for name in row] for use, row in owners(graph).items()}
    assert owners(left) == {use: row for use, row in expected.items() if any(row)}
    assert left.kept_whole == {"stem": "no reason", **refused}


@given(graphs())
def test_refusing_one_after_the_other_is_refusing_both(graph: ChannelGraph) -> None:
    first, last = graph.blocks[0].name, graph.blocks[-1].name
    apart = graph.without({first: "odd"}).without({last: "odd"})
    together = graph.without({first: "odd", last: "odd"})
    assert apart.blocks == together.blocks
    assert owners(apart) == owners(together)
