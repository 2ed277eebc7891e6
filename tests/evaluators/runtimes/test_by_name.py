import pytest

from evaluators.runtimes.by_name import DEFAULT, RUNTIMES, RuntimeRecord, check_installed
from evaluators.runtimes.runtime import load_runtime
from spaces.errors import BadInput


@pytest.mark.parametrize("name", RUNTIMES)
def test_each_row_is_a_runtime_of_that_name(name: str) -> None:
    row = RUNTIMES[name]
    assert row.name == name
    for package in row.packages:
        pytest.importorskip(package)
    runtime = load_runtime(name)
    assert runtime.name == name
    assert runtime.precisions


def test_the_default_one_comes_with_the_project() -> None:
    assert RUNTIMES[DEFAULT].extra == ""
    check_installed(DEFAULT)


def test_what_is_not_installed_is_bad_input_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = RuntimeRecord("absent", "Absent", "no_such_module:ABSENT", ("onnx", "no_such_package"), "absent-extra")
    monkeypatch.setitem(RUNTIMES, "absent", absent)
    for ask in (check_installed, load_runtime):
        with pytest.raises(BadInput, match=r"absent needs the package no_such_package: .*\[absent-extra\]") as caught:
            ask("absent")
        assert "\n" not in str(caught.value)
