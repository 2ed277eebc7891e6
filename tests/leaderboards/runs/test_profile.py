import json

from rich.console import Console

from leaderboards.runs.problem import Problem
from leaderboards.runs.profile import profile, write_terminal


def test_the_facts_survive_json_and_name_every_block_with_what_it_may_keep(problem: Problem) -> None:
    facts = json.loads(json.dumps(profile(problem), allow_nan=False))
    assert (facts["classes"], facts["train"], facts["val"]) == (2, 4, 2)
    assert [block["name"] for block in facts["blocks"]] == [block.name for block in problem.graph.blocks]
    for fact, gene in zip(facts["blocks"], problem.space.genes, strict=True):
        assert (fact["channels"], fact["options"]) == (gene.size, list(gene.options))
    assert {block["parts"] for block in facts["blocks"]} == {1, 2}  # the halves of a C2f
    assert facts["kept_whole"] == problem.graph.kept_whole


def test_the_parent_is_the_upper_end_of_the_reach(problem: Problem) -> None:
    facts = profile(problem)
    assert facts["parent"] == {name: high for name, (_, high) in problem.space.reach().items()}
    assert facts["limits"] == problem.limits


def test_a_reader_sees_every_block_budget_and_layer_kept_whole(problem: Problem) -> None:
    console = Console(width=160)
    with console.capture() as capture:
        write_terminal(problem, console)
    text = capture.get()
    assert "4 train and 2 val images with 4 and 2 boxes, 2 classes" in text
    for name in (*problem.space.reach(), *(gene.name for gene in problem.space.genes)):
        assert f" {name} " in text
    for name, why in problem.graph.kept_whole.items():
        assert f"kept whole: {name}, {why}"[:100] in text
