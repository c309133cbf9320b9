"""Text that came from elsewhere: engine logs, model names, image names, answers.

It may hold escape sequences that repaint a terminal, or characters that reorder a line. Nothing
of the kind reaches a terminal, a table or a file of ours.
"""

import json
import re
import unicodedata
from typing import Final

_ESCAPE_SEQUENCE: Final = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movement (ECMA-48)
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC: window titles, links
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"  # DCS, SOS, PM, APC strings
    r"|\x1b[@-_]"
)
# Cc control, Cf format (bidirectional overrides, zero-width), Cs lone surrogates, Zl and Zp breaks.
_UNWANTED: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def clean(text: str) -> str:
    """Without escape sequences, control and reordering characters; newlines and tabs stay."""
    if text.isprintable():  # nothing of the categories C and Z but the blank
        return text
    text = _ESCAPE_SEQUENCE.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(
        char if char in "\n\t" or unicodedata.category(char) not in _UNWANTED else "\ufffd"
        for char in text
    )


def plain_json(text: str) -> str:
    r"""JSON whose unwanted characters are written as \uXXXX: the same values, safe to print."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char
        if char in "\n\t" or unicodedata.category(char) not in _UNWANTED
        else json.dumps(char)[1:-1]
        if char != "\x7f"
        else "\\u007f"
        for char in text
    )


def one_line(text: str) -> str:
    """Cleaned, with every run of white space a single blank."""
    return " ".join(clean(text).split())


def shorten(text: str, width: int) -> str:
    """One line of at most `width` characters; what is cut off shows as an ellipsis."""
    line = one_line(text)
    return line if len(line) <= width else line[: max(0, width - 1)] + "…"


def log_tail(log: str, *, lines: int = 40, width: int = 400) -> str:
    """The last lines of a log, cleaned, each cut to a width."""
    tail = [line.rstrip() for line in clean(log).splitlines() if line.strip()][-lines:]
    return "\n".join(line if len(line) <= width else line[: width - 1] + "…" for line in tail)
