from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces.channels.graph import Axis, ChannelGraph
from spaces.cutting.probe import cut_error, probe
from tests.spaces.chain import chain, chain_graph


def probed(graph: ChannelGraph, seed: int = 0) -> ChannelGraph:
    return probe(chain(), graph, rng=np.random.default_rng(seed))


def shifted(graph: ChannelGraph, name: str) -> ChannelGraph:
    """Return `graph` with an error: the bias of layer `name` is cut one place too far."""
    axis = graph.axes[f"{name}.bias", 0]
    return replace(graph, axes={**graph.axes, (f"{name}.bias", 0): Axis(axis.blocks, np.roll(axis.atoms, 1))})


def test_a_sound_graph_is_returned_as_it_was() -> None:
    graph = probed(chain_graph())
    assert graph.blocks == chain_graph().blocks
    assert graph.kept_whole == chain_graph().kept_whole


@settings(deadline=None, max_examples=12)
@given(st.integers(1, 6), st.integers(1, 5))
def test_cutting_equals_masking_at_every_width(first: int, second: int) -> None:
    assert cut_error(chain(), chain_graph(), np.array([first, second])) < 1e-5


def test_a_block_whose_cutting_changes_the_output_is_kept_whole_and_the_other_is_not() -> None:
    for wrong, right in (("first", "second"), ("second", "first")):
        graph = probed(shifted(chain_graph(), wrong))
        assert [block.name for block in graph.blocks] == [right]
        assert graph.kept_whole[wrong].startswith("cutting changes the output by")


def test_a_block_whose_cut_network_does_not_run_is_kept_whole() -> None:
    graph = chain_graph()
    deaf = replace(graph, axes={use: axis for use, axis in graph.axes.items() if use != ("last.weight", 1)})
    left = probed(deaf)
    assert [block.name for block in left.blocks] == ["first"]
    assert left.kept_whole["second"].startswith("the cut network fails")


def test_a_graph_of_culprits_is_left_without_blocks() -> None:
    graph = probed(shifted(shifted(chain_graph(), "first"), "second"))
    assert graph.blocks == ()
    assert dict(graph.axes) == {}
