"""The command of a trial taken apart: program, model, options."""

import re

from autotune.errors import UsageError


def split_command(
    argv: tuple[str, ...],
) -> tuple[tuple[str, ...], str, tuple[tuple[str, str | None], ...]]:
    """Program, model, and options with their values.

    Raises:
        UsageError: If no model can be found in it.
    """
    at = _model_at(argv)
    program, model = argv[:at], argv[at] if at >= 0 else ""
    options: list[tuple[str, str | None]] = []
    rest = list(argv[at + 1 :])
    while rest:
        flag = rest.pop(0)
        name, equals, value = flag.partition("=")
        if equals:
            options.append((name, value))
        elif rest and not re.match(r"^--?[A-Za-z]", rest[0]):
            options.append((flag, rest.pop(0)))
        else:
            options.append((flag, None))
    if at < 1:  # `python -m module --model M`
        message = "the trial's command names no model before its options"
        raise UsageError(
            message, hint="Export a trial of an engine whose command is `serve MODEL`."
        )
    return program, model, tuple(options)


def _model_at(argv: tuple[str, ...]) -> int:
    """Where the model stands: behind `serve`, else before the first option; -1 if nowhere.

    `python3 -m vllm.entrypoints.cli.main serve MODEL` has an option before its `serve`.
    """
    for index, part in enumerate(argv[:-1]):
        if part == "serve" and not argv[index + 1].startswith("-"):
            return index + 1
    first_flag = next((i for i, part in enumerate(argv) if part.startswith("-")), len(argv))
    return first_flag - 1 if first_flag >= 2 else -1
