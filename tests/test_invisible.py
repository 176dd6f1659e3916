"""What cannot be seen is found and spelled out; what people write stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubench.invisible import hidden, replaced, shown


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("\x1b[2J", "<U+001B>[2J"),
        ("abc\u202edef", "abc<U+202E>def"),
        ("\u200bzero width", "<U+200B>zero width"),
        ("soft\u00adhyphen", "soft<U+00AD>hyphen"),
        ("\udcff.yaml", "<U+DCFF>.yaml"),
        ("over\rwritten", "over<U+000D>written"),
    ],
)
def test_what_cannot_be_seen_is_spelled_out(text: str, spelled: str) -> None:
    assert shown(text) == spelled
    assert len(list(hidden(text))) == 1
    assert len(replaced(text)) == len(text)


@pytest.mark.parametrize(
    "text", ["two\nlines\tand a tab", "芯片", "👩\u200d💻", "نم\u200cدار", "é"]
)
def test_what_people_write_stays(text: str) -> None:
    assert shown(text) == replaced(text) == text
    assert not list(hidden(text))


@given(st.text())
def test_nothing_hidden_is_left(text: str) -> None:
    assert not list(hidden(shown(text)))
    assert not list(hidden(replaced(text)))
