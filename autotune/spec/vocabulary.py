"""The parameters that engines have, and what their values can be in any release.

Whoever writes a file learns at once of a name or a value that no release has. What a certain
release lacks is another matter: that leaves the space with a reason, or is left out.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from autotune.errors import SpecError
from autotune.records import Scalar
from autotune.spec.parameters import DEFAULT


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Names and values that can be meant.

    Attributes:
        never: Parameter to a function that says why a value can be none of it; None if it can.
    """

    never: Mapping[str, Callable[[Scalar], str | None]]

    def check(self, values: Mapping[str, Scalar], *, where: str) -> None:
        """Hold a configuration against it.

        Raises:
            SpecError: Naming the parameter, with the nearest name where there is one.
        """
        for name, value in values.items():
            self.check_name(name, where=where)
            self.check_value(name, value, where=f"{where} -> {name}")

    def check_name(self, name: str, *, where: str) -> None:
        """Refuse a parameter that no engine has.

        Raises:
            SpecError: With the nearest name where there is one.
        """
        if name not in self.never:
            message = f"{where} -> {name}: no engine has this parameter{nearest(name, self.never)}"
            raise SpecError(message, hint=f"Known ones: {', '.join(sorted(self.never))}.")

    def check_value(self, name: str, value: Scalar, *, where: str) -> None:
        """Refuse a value that a parameter has in no release.

        Raises:
            SpecError: With what is wrong.
        """
        wrong = None if value == DEFAULT else self.never[name](value)
        if wrong is not None:
            hint = "Mend that value; `default`, or leaving it out, is the engine's own choice."
            message = f"{where}: {wrong}"
            raise SpecError(message, hint=hint)


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like another, as the end of a message; empty if none is."""
    spelt = {one.lower(): one for one in known}
    found = get_close_matches(name.lower(), list(spelt), n=1)
    return f"; did you mean {spelt[found[0]]}?" if found else ""
