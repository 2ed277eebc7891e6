"""A row of a finished run in another format."""

import difflib
from pathlib import Path

from leaderboards.files.export import export_other
from leaderboards.run_folder import MODELS, NO_PT, lacks_pt, read_board, read_run
from spaces.errors import BadInput


def export_row(folder: Path, row: str | None, file_format: str, /) -> Path:
    """Return the file of one row of the run in `folder` in `file_format`, written if it is not there yet.

    Raises:
        BadInput: no such row, a row that failed or whose files are gone, or a format that cannot be written here.
    """
    journal, _ = read_run(folder)
    rows = {entry.id: entry for entry in read_board(journal, folder).entries}
    if row not in rows or rows[row].quality is None:
        close = difflib.get_close_matches(row or "", rows, n=1, cutoff=0.3)
        done = [name for name, entry in rows.items() if entry.quality is not None]
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise BadInput(f"id must be a finished row of this run ({', '.join(done)}), got {row!r:.60}{hint}")
    models = folder / MODELS / row
    ready = {"onnx": models / "model.onnx", "int8": models / "model_int8.onnx", "pt": models / "model.pt"}
    source = ready.get(file_format, models / "model.pt")
    if not source.exists() and lacks_pt(models):
        raise BadInput(f"format={file_format} needs model.pt, and this row has {NO_PT}; there are onnx and int8")
    if not source.exists():
        raise BadInput(f"{str(source)!r} is not there; a report made from a journal alone has no models")
    return source if file_format in ready else export_other(source, file_format, models)
