import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("wandb", exc_type=ImportError)

from wandb.proto.wandb_internal_pb2 import Record

from tests.contracts import Kept, TrackerContract

BLOCK, FILE_HEADER, HEADER = 32768, 7, 7


def records(path: Path) -> Iterator[Record]:
    """Yield the records of an offline run: blocks of 32 KiB of chunks, each of a checksum, a length and a type."""
    content, at, whole = path.read_bytes(), FILE_HEADER, b""
    while at + HEADER <= len(content):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        if at + HEADER + length > len(content):
            return  # it is being written
        whole += content[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (1, 4):  # the whole record, or the last part of one
            record = Record()
            record.ParseFromString(whole)
            yield record
            whole = b""


def wait_until_whole(path: Path) -> None:
    """Wait for the process that writes the run: it has the last record a moment after it says that it is done."""
    until = time.monotonic() + 20.0
    while not any(record.WhichOneof("record_type") == "exit" for record in records(path)):
        assert time.monotonic() < until
        time.sleep(0.05)


class TestWandb(TrackerContract):
    name = "wandb"

    def read(self, folder: Path) -> Kept:
        paths = sorted((folder / "wandb").glob("offline-run-*/run-*.wandb"))
        assert len(paths) == 2  # one of each call
        assert len({path.name for path in paths}) == 1  # of the same run
        wait_until_whole(paths[-1])
        settings, numbers, texts, files = {}, dict[str, list[tuple[int, float]]](), dict[str, str](), set[str]()
        for record in (record for path in paths for record in records(path)):
            for item in (*record.run.config.update, *record.config.update):
                value = json.loads(item.value_json)
                settings[item.key] = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            row = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            for item in record.summary.update:
                value = json.loads(item.value_json)
                name = item.key or "/".join(item.nested_key)
                if isinstance(value, str):
                    texts[name] = value
                elif name.startswith(("rows/", "best/")):
                    numbers[name] = [(0, value)]
            for name, value in row.items():
                group = name.rpartition("/")[0]
                if f"{group}/step" in row and name != f"{group}/step":
                    numbers.setdefault(name, []).append((row[f"{group}/step"], value))
            files |= {entry.path for entry in record.artifact.manifest.contents}
            files |= {entry.path for entry in record.request.log_artifact.artifact.manifest.contents}
        return Kept(settings, numbers, texts, frozenset(files))
