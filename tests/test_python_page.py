"""The page on use from Python: its lines run as they stand there, on a small detector and few candidates."""

import re
from pathlib import Path

import pytest

from leaderboards.recipes.recipe import Recipe
from tests.docs import ROOT

GIVEN = '"weights=best.pt", "data=data.yaml", "imgsz=320", "gflops=60%", "out=runs/mine"'
SMALL = ("imgsz=64", "gflops=60%", "candidates=2", "front=1", "finetune_epochs=0", "search_images=2",
         "calibration_images=4", "workers=1")  # fmt: skip


@pytest.mark.slow
@pytest.mark.ray
def test_the_lines_of_the_page_load_profile_search_select_and_export(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert GIVEN in lines
    own = [f"weights={recipe.weights}", f"data={recipe.data}", *SMALL, f"out={tmp_path / 'mine'}"]
    exec(compile(lines.replace(GIVEN, ", ".join(map(repr, own))), "docs/python.md", "exec"), {})
    said = capsys.readouterr().out.splitlines()
    assert "macs_g" in said[-3]
    assert "model.onnx" in said[-2] or "model_int8.onnx" in said[-2]
    assert Path(said[-1]).is_file()
