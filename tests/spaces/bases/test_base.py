import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces.bases.names import BaseName
from spaces.errors import BadInput

names = st.builds(
    BaseName,
    st.sampled_from(["same", "ghostnet", "mobilenetv3_small"]),
    st.integers(0, 20),
    st.none() | st.integers(1, 128).map(lambda step: 32 * step),
    st.integers(0, 20),
)


@given(names)
def test_a_name_is_read_as_it_was_written(name: BaseName) -> None:
    assert BaseName.parse(str(name)) == name


def test_the_users_own_network_is_called_same() -> None:
    assert str(BaseName()) == "same"
    assert str(BaseName("ghostnet", 2, 128)) == "ghostnet-2@128"
    assert str(BaseName("same", 1, stage=2)) == "same-1+s2"


@pytest.mark.parametrize(
    "text", ["", "Same", "same-0", "same@", "same@128-2", "same+s0", "same+s1@64", "../same", "same-2@128 "]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="base must be"):
        BaseName.parse(text)
