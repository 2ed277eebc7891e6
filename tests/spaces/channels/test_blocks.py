import numpy as np
import pytest

from spaces.channels.blocks import Blocks, Labelling, Labels
from spaces.channels.graph import Layer


def joined(labelling: Labelling, labels: Labels) -> Blocks:
    """Return the blocks when "maker" makes the channels `labels` and "reader" reads them."""
    labelling.use("maker.weight", 0, labels)
    labelling.use("reader.weight", 1, labels)
    return labelling.blocks([Layer("maker.weight", 1, is_depthwise=False)])


def test_labels_with_the_same_uses_are_a_block_named_after_its_maker() -> None:
    labelling = Labelling()
    found = joined(labelling, labelling.fresh(4))
    assert [(block.name, block.size, block.parts) for block in found.blocks] == [("maker", 4, 1)]
    assert found.axes["reader.weight", 1].atoms.tolist() == [0, 1, 2, 3]
    assert found.kept_whole == {}


def test_what_no_convolution_reads_is_kept_whole() -> None:
    labelling = Labelling()
    labelling.use("maker.weight", 0, labelling.fresh(4))
    found = labelling.blocks([Layer("maker.weight", 1, is_depthwise=False)])
    assert found.blocks == ()
    assert found.kept_whole == {"maker": "read by no convolution"}


def test_one_frozen_label_keeps_its_whole_block_and_the_first_reason_is_told() -> None:
    labelling = Labelling()
    labels = labelling.fresh(4)
    labelling.freeze(labels[1:2], "read by softmax")
    labelling.freeze(labels[1:2], "read by view")
    assert joined(labelling, labels).kept_whole == {"maker": "read by softmax"}


def test_united_labels_are_cut_together() -> None:
    labelling = Labelling()
    first, second = labelling.fresh(3), labelling.fresh(3)
    labelling.unite(first, second)
    found = joined(labelling, np.concatenate([first, second]))
    assert found.blocks[0].size == 3
    assert found.axes["maker.weight", 0].atoms.tolist() == [0, 1, 2, 0, 1, 2]


def test_parts_that_are_whole_are_free_to_keep_different_channels() -> None:
    labelling = Labelling()
    labels = labelling.fresh(6)
    labelling.tie([labels[:3], labels[3:]])
    found = joined(labelling, labels)
    assert [(block.size, block.parts) for block in found.blocks] == [(3, 2)]
    assert found.axes["maker.weight", 0].atoms.tolist() == [0, 1, 2, 3, 4, 5]


def test_shuffled_channels_that_are_chunked_again_are_cut_in_mirrored_pairs_and_the_middle_one_stays() -> None:
    """Five channels, each twice, in two halves: a a b b c | c d d e e. So a goes with e, and b with d."""
    labelling = Labelling()
    labels = labelling.fresh(5).repeat(2)
    labelling.tie([labels[:5], labels[5:]])
    found = joined(labelling, labels)
    assert [(block.size, block.parts) for block in found.blocks] == [(2, 1)]
    axis = found.axes["maker.weight", 0]
    assert axis.blocks.tolist() == [0, 0, 0, 0, -1, -1, 0, 0, 0, 0]
    assert axis.atoms[axis.blocks == 0].tolist() == [0, 0, 1, 1, 1, 1, 0, 0]


def test_parts_of_different_lengths_are_kept_whole() -> None:
    labelling = Labelling()
    labels = labelling.fresh(5)
    labelling.tie([labels[:2], labels[2:]])
    assert joined(labelling, labels).kept_whole == {"maker": "chunked unevenly"}


@pytest.mark.parametrize("n_parts", [2, 3])
def test_all_parts_keep_equally_many_however_labels_overlap(n_parts: int) -> None:
    rng = np.random.default_rng(0)
    n_cut = 0
    for _ in range(40):
        labelling = Labelling()
        labels = np.sort(rng.choice(labelling.fresh(9), 4 * n_parts))
        labelling.tie(np.split(labels, n_parts))
        found = joined(labelling, labels)
        axis = found.axes.get(("maker.weight", 0))
        if axis is None:
            continue
        stays = axis.blocks < 0
        for index, block in enumerate(found.blocks):
            chosen = [rng.permutation(block.size) < block.size // 2 for _ in range(block.parts)]
            stays |= (axis.blocks == index) & np.concatenate(chosen)[axis.atoms.clip(max=block.size * block.parts - 1)]
        assert len({int(part.sum()) for part in np.split(stays, n_parts)}) == 1
        n_cut += not stays.all()
    assert n_cut >= 5


def test_one_channel_alone_is_no_block() -> None:
    labelling = Labelling()
    assert joined(labelling, labelling.fresh(1)).kept_whole == {"maker": "a single channel"}
