"""Text that came from elsewhere."""

import json

from autotune.report.untrusted import clean, log_tail, one_line, plain_json, shorten


def test_escape_sequences_do_not_pass() -> None:
    """Colours, titles and cursor movement are taken out whole, not only their first byte."""
    assert clean("\x1b[31mred\x1b[0m \x1b]0;owned\x07title\x1b[2J") == "red title"


def test_control_and_reordering_characters_are_replaced() -> None:
    """A bell or a bidirectional override shows as a replacement, newline and tab stay."""
    assert clean("a\x07b\u202ec\nd\te") == "a\ufffdb\ufffdc\nd\te"


def test_a_lone_surrogate_can_be_written_as_utf_8() -> None:
    """File names with undecodable bytes do not break a report."""
    assert clean("x\udcff").encode() == b"x\xef\xbf\xbd"


def test_json_for_a_terminal_has_the_same_values() -> None:
    """C1 controls, DEL, overrides, line separators and tags are legal in JSON, and escaped here."""
    values = {"a": "x\x9b2J\u202e\x7f\u2028\U000e0041", "b": ["\u00e9 \u65e5\u672c", 1.5, None]}
    text = plain_json(json.dumps(values, ensure_ascii=False))
    assert json.loads(text) == values
    assert not set(text) & set("\x9b\u202e\x7f\u2028\U000e0041")
    assert "\u00e9 \u65e5\u672c" in text


def test_one_line_is_one_line() -> None:
    """Line breaks of every kind become blanks."""
    assert one_line("a\r\nb\u2028c\vd") == "a b\ufffdc\ufffdd"


def test_shortening_says_so() -> None:
    """What is cut off shows as an ellipsis within the width."""
    assert shorten("abcdef", 4) == "abc\u2026"
    assert shorten("abc", 4) == "abc"


def test_a_log_tail_is_short_in_both_directions() -> None:
    """The last lines, empty ones left out, each cut."""
    log = "\n".join(f"line {n}" for n in range(100)) + "\n\n" + "x" * 1000
    tail = log_tail(log, lines=3, width=10).splitlines()
    assert tail == ["line 98", "line 99", "x" * 9 + "\u2026"]
