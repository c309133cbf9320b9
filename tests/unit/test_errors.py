"""The tree of errors is the one that its module draws, with an exit code for each."""

import re
from collections.abc import Iterator

import pytest

from autotune import errors
from autotune.errors import EXIT_INTERRUPTED, AutotuneError, DockerUnavailableError


def drawn() -> Iterator[tuple[str, str | None, int]]:
    """Name, parent and exit code of each line of the drawing in the module's docstring."""
    path: list[str] = []
    for line in str(errors.__doc__).splitlines():
        found = re.match(r"    ([│├└─ ]*)(\w+)\s+(\d+)\s\s", line)
        if found is None:
            continue
        depth = len(found[1]) // 4
        path = [*path[:depth], found[2]]
        yield found[2], path[-2] if depth else None, int(found[3])


def subclasses(root: type[AutotuneError]) -> Iterator[type[AutotuneError]]:
    """An error class and all under it, of this module."""
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from subclasses(child)


def test_the_tree_is_as_drawn() -> None:
    """Every class stands in the drawing, under its parent, with its exit code."""
    actual = {
        (cls.__name__, None if cls is AutotuneError else cls.__bases__[0].__name__, cls.exit_code)
        for cls in subclasses(AutotuneError)
    }
    assert actual == set(drawn())
    assert len(actual) >= 10


def test_exit_codes_are_unique_and_mean_nothing_else() -> None:
    """No two kinds share a code, none is success, and none is what a shell or a signal uses."""
    codes = [cls.exit_code for cls in subclasses(AutotuneError)]
    assert len(set(codes)) == len(codes)
    assert all(0 < code < 126 for code in codes)
    assert EXIT_INTERRUPTED == 128 + 2


@pytest.mark.parametrize("cls", list(subclasses(AutotuneError)))
def test_an_error_carries_its_message_and_hint(cls: type[AutotuneError]) -> None:
    """Message and hint are kept apart, and the text of the exception is the message."""
    error = cls("the port is taken", hint="Choose another.")
    assert (str(error), error.message, error.hint) == (
        "the port is taken",
        "the port is taken",
        "Choose another.",
    )


def test_a_hint_is_optional_and_every_error_an_exception() -> None:
    """Optuna leaves a trial RUNNING for ever after what is no `Exception`."""
    assert DockerUnavailableError("no socket").hint == ""
    assert issubclass(AutotuneError, Exception)
