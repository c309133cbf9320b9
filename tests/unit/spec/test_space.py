"""Search spaces: what a file may say, and what a configuration means in one."""

from typing import Any

import pytest

from autotune.errors import SpecError
from autotune.records import Configuration, Scalar
from autotune.spec.space import (
    AtLeast,
    Choice,
    Range,
    SearchSpace,
    space_from,
    space_to_raw,
)
from autotune.spec.vocabulary import Vocabulary

WHERE = "space.yaml"


def space(parameters: dict[str, Any], **rest: Any) -> SearchSpace:
    """A space as a file would give it."""
    return space_from({"parameters": parameters, **rest}, where=WHERE)


def error_of(parameters: Any, vocabulary: Vocabulary | None = None, **rest: Any) -> SpecError:
    """What reading such a file raises."""
    with pytest.raises(SpecError) as caught:
        space_from({"parameters": parameters, **rest}, where=WHERE, vocabulary=vocabulary)
    return caught.value


def no_text(value: Scalar) -> str | None:
    """A parameter of numbers."""
    return f"{value!r} is no number" if isinstance(value, str) else None


KNOWN = Vocabulary(never={"max_num_seqs": no_text, "block_size": no_text})


BACKENDS = {"choices": ["default", "FLASH_ATTN", "FLASHINFER"]}


@pytest.mark.parametrize(
    ("parameter", "says"),
    [
        ({"low": 0.9, "high": 0.8}, "upside down: low=0.9 is over high=0.8"),
        ({"low": 1}, "needs choices, or low and high"),
        ({}, "needs choices, or low and high"),
        ({"choices": [1], "low": 1}, "either choices, or low and high"),
        ({"choices": [1], "step": 1}, "either choices, or low and high"),
        ({"choices": [16, 16]}, "hold a value twice"),
        ({"choices": [1, True]}, "hold a value twice"),
        ({"choices": [1, 1.0]}, "hold a value twice"),
        ({"low": 0, "high": 8, "log": True}, "needs low > 0"),
        ({"low": 1, "high": 8, "log": True, "step": 1}, "takes no step"),
        ({"low": 0.5, "high": 8, "type": "int"}, "needs whole numbers"),
        ({"low": 0, "high": 8, "step": 0.5, "type": "int"}, "needs whole numbers"),
        ({"low": 0, "high": 1, "step": 0.00001}, "more than 10,000 steps"),
    ],
)
def test_a_wrong_parameter_is_named(parameter: dict[str, Any], says: str) -> None:
    """The field, what is wrong, and a next step."""
    error = error_of({"max_num_seqs": parameter})
    assert error.message.startswith(f"{WHERE}: parameters -> max_num_seqs: ")
    assert says in error.message
    assert error.hint


@pytest.mark.parametrize(
    ("parameter", "field"),
    [
        ({"choices": []}, "choices"),
        ({"choices": [None]}, "choices"),
        ({"choices": [[1]]}, "choices"),
        ({"choices": [float("nan")]}, "choices"),
        ({"low": float("inf"), "high": 1}, "low"),
        ({"low": "few", "high": 1}, "low"),
        ({"low": 0, "high": 1, "step": 0}, "step"),
        ({"low": 0, "high": 1, "type": "real"}, "type"),
        ({"low": 0, "hihg": 1}, "hihg"),
        ({"choices": [1], "when": ["x"]}, "when"),
        ({"choices": [1], "when": {"x": 1}}, "when -> x"),
    ],
)
def test_a_wrong_entry_of_a_parameter_is_named(parameter: dict[str, Any], field: str) -> None:
    """The path leads to the very entry."""
    error = error_of({"max_num_seqs": parameter})
    assert error.message.startswith(f"{WHERE}: parameters -> max_num_seqs -> {field}")
    assert error.hint


def test_an_unknown_key_of_a_space_file_is_named() -> None:
    """A misspelt section is not dropped."""
    error = error_of({"a": {"choices": [1]}}, relatoins=[])
    assert error.message == f"{WHERE}: relatoins: unknown key; did you mean relations?"
    assert "relations" in error.hint


def test_a_misspelt_section_that_is_needed_is_called_misspelt() -> None:
    """And not missing: that would send its reader to look for what is there."""
    raw = {"name": "s", "parametres": {"a": {"choices": [1]}}}
    with pytest.raises(SpecError) as caught:
        space_from(raw, where=WHERE)
    assert caught.value.message == f"{WHERE}: parametres: unknown key; did you mean parameters?"


def test_a_space_needs_a_parameter() -> None:
    """An empty one would be a study of one configuration."""
    assert error_of({}).message.startswith(f"{WHERE}: parameters")


def test_a_parameter_that_no_engine_has_is_named() -> None:
    """Where the engine's parameters are known, a misspelt one is an error and not a no-op."""
    error = error_of({"max_seqs": {"choices": [1]}}, KNOWN)
    assert error.message == (
        f"{WHERE}: parameters -> max_seqs: no engine has this parameter; did you mean max_num_seqs?"
    )
    assert error.hint == "Known ones: block_size, max_num_seqs."


def test_a_value_that_its_parameter_has_in_no_release_is_named() -> None:
    """The choice `default` is one of every parameter."""
    error = error_of({"block_size": {"choices": ["default", 16, "32"]}}, KNOWN)
    assert error.message == f"{WHERE}: parameters -> block_size: '32' is no number"
    assert "default" in error.hint


@pytest.mark.parametrize(
    ("rest", "field"),
    [
        ({"relations": [{"at_least": ["a", "zzz"]}]}, "relations"),
        ({"relations": [{"at_least": ["zzz", "a"]}]}, "relations"),
        ({"forbidden": [{"a": 1, "zzz": 2}]}, "forbidden"),
    ],
)
def test_a_relation_on_a_missing_parameter_is_named(rest: dict[str, Any], field: str) -> None:
    """The field, the missing name, and the names there are."""
    error = error_of({"a": {"choices": [1]}, "b": {"choices": [1]}}, **rest)
    assert error.message == f"{WHERE}: {field}: there is no parameter 'zzz' in this space"
    assert error.hint == "Its parameters: a, b."


def test_a_condition_on_a_missing_parameter_is_named() -> None:
    """The parameter that has it, and the one that is missing."""
    error = error_of({"a": {"choices": [1], "when": {"zzz": [1]}}})
    assert error.message == (
        f"{WHERE}: parameters -> a -> when: there is no parameter 'zzz' in this space"
    )
    assert error.hint


@pytest.mark.parametrize(
    ("rest", "parameter", "field"),
    [
        ({}, {"choices": [16], "when": {"backend": ["FLASHINFR"]}}, "parameters -> block -> when"),
        ({"forbidden": [{"backend": "FLASHINFR"}]}, {"choices": [16]}, "forbidden"),
        ({"forbidden": [{"block": True}]}, {"choices": [1]}, "forbidden"),
        ({"forbidden": [{"block": 99}]}, {"low": 1, "high": 8}, "forbidden"),
    ],
)
def test_a_value_that_never_occurs_is_named(
    rest: dict[str, Any], parameter: dict[str, Any], field: str
) -> None:
    """A misspelt value in a condition would switch a parameter off without a word."""
    error = error_of({"backend": BACKENDS, "block": parameter}, **rest)
    assert error.message.startswith(f"{WHERE}: {field}: ")
    assert "is never" in error.message
    assert error.hint.startswith("Its values: ")


@pytest.mark.parametrize(
    "whens",
    [
        {"a": {"b": [1]}, "b": {"a": [1]}},
        {"a": {"b": [1]}, "b": {"c": [1]}, "c": {"a": [1]}},
        {"a": {"a": [1]}},
    ],
)
def test_conditions_in_a_circle_are_named(whens: dict[str, Any]) -> None:
    """Two, three, or a parameter that looks at itself."""
    parameters = {name: {"choices": [1, 2], "when": when} for name, when in whens.items()}
    error = error_of({"free": {"choices": [1]}, **parameters})
    assert error.message == f"{WHERE}: parameters -> a -> when: conditions run in a circle"
    assert error.hint


@pytest.mark.parametrize(
    ("parameter", "integer"),
    [
        ({"low": 0, "high": 80, "step": 8}, True),
        ({"low": 0, "high": 1, "type": "float"}, False),
        ({"low": 0.5, "high": 1}, False),
        ({"low": 1, "high": 2, "step": 0.5}, False),
        ({"low": 16, "high": 512, "type": "int", "log": True}, True),
    ],
)
def test_whole_numbers_make_an_integer_range(parameter: dict[str, Any], integer: bool) -> None:
    """Unless the file says otherwise."""
    made = space({"p": parameter}).parameter("p")
    assert isinstance(made, Range)
    assert made.integer is integer


CONDITIONAL = space(
    {
        "block_size": {"choices": ["default", 16], "when": {"backend": ["FLASHINFER"]}},
        "backend": BACKENDS,
        "mode": {"choices": ["x", "y"], "when": {"block_size": ["default"]}},
    }
)


@pytest.mark.parametrize(
    ("raw", "meant"),
    [
        ({"backend": "FLASHINFER", "block_size": 16, "mode": "x"},
         {"backend": "FLASHINFER", "block_size": 16}),
        ({"backend": "FLASH_ATTN", "block_size": 16, "mode": "x"},
         {"backend": "FLASH_ATTN", "mode": "x"}),
        ({"backend": "default", "block_size": 16, "mode": "y"}, {"mode": "y"}),
        ({"backend": "FLASHINFER", "block_size": "default", "mode": "y"},
         {"backend": "FLASHINFER", "mode": "y"}),
        ({"mode": "y", "not_in_the_space": 3}, {"mode": "y"}),
        ({}, {}),
    ],
)  # fmt: skip
def test_what_a_set_of_values_means(raw: dict[str, Scalar], meant: dict[str, Scalar]) -> None:
    """Inactive parameters, foreign ones and `default` are left out, along chains of conditions."""
    assert CONDITIONAL.active(raw) == Configuration.of(meant)


def test_parameters_come_after_those_they_look_at() -> None:
    """So that one pass can decide which are active."""
    assert [p.name for p in CONDITIONAL.in_order()] == ["backend", "block_size", "mode"]


TIED = space(
    {
        "batched": {"choices": ["default", 512, 8192]},
        "seqs": {"choices": ["default", 64, 1024]},
        "backend": BACKENDS,
        "kv": {"choices": ["default", "fp8"]},
    },
    relations=[{"at_least": ["batched", "seqs"]}],
    forbidden=[{"backend": ["default", "FLASH_ATTN"], "kv": "fp8"}],
)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"batched": 512, "seqs": 1024}, "batched=512 must be at least seqs=1024"),
        ({"backend": "FLASH_ATTN", "kv": "fp8"}, "backend=FLASH_ATTN with kv=fp8 is forbidden"),
        ({"kv": "fp8"}, "backend=default with kv=fp8 is forbidden"),
    ],
)
def test_a_configuration_that_the_space_forbids_says_why(
    values: dict[str, Scalar], says: str
) -> None:
    """The values that clash, by name; an absent one is the engine's default."""
    refusal = TIED.refusal(Configuration.of(values))
    assert refusal is not None
    assert says in refusal


def test_a_declared_reason_is_what_a_refusal_says() -> None:
    """`because` beside the values that clash."""
    reason = "it has given wrong text"
    made = space({"kv": {"choices": ["default", "fp8"]}, "backend": BACKENDS},
                 forbidden=[{"backend": "FLASHINFER", "kv": "fp8", "because": reason}])  # fmt: skip
    refusal = made.refusal(Configuration.of({"backend": "FLASHINFER", "kv": "fp8"}))
    assert refusal == f"backend=FLASHINFER with kv=fp8: {reason}"
    assert space_from(space_to_raw(made), where=WHERE).forbidden[0].reason == reason


def test_a_reason_is_words() -> None:
    """A parameter of that name cannot be forbidden."""
    with pytest.raises(SpecError, match="because is why, in words"):
        space({"kv": {"choices": ["default", "fp8"]}}, forbidden=[{"kv": "fp8", "because": 3}])


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"batched": 8192, "seqs": 1024},
        {"batched": 512},
        {"seqs": 1024},
        {"backend": "FLASHINFER", "kv": "fp8"},
        {"backend": "FLASH_ATTN"},
    ],
)
def test_a_configuration_that_the_space_allows(values: dict[str, Scalar]) -> None:
    """A relation binds only where both are set."""
    assert TIED.refusal(Configuration.of(values)) is None


def test_taking_out_a_parameter_takes_out_what_hung_on_it() -> None:
    """Its relation goes; what needed one of its values can no longer happen and goes as well."""
    assert [p.name for p in CONDITIONAL.without("backend").parameters] == ["mode"]
    assert CONDITIONAL.without("backend").parameters == (Choice(name="mode", choices=("x", "y")),)
    assert TIED.without("seqs").relations == ()
    assert TIED.without("batched", "seqs").parameters == TIED.parameters[2:]


def test_what_held_by_default_goes_on_holding() -> None:
    """A condition that the engine's default fulfils is met for good."""
    without = TIED.without("backend")
    assert without.refusal(Configuration.of({"kv": "fp8"})) is not None
    assert TIED.without("kv").forbidden == ()
    assert TIED.without("backend", "kv").forbidden == ()


def test_narrowing_a_parameter_drops_what_hung_on_the_lost_values() -> None:
    """A backend that the engine lacks takes its own parameters along; the rest stays readable."""
    narrow = CONDITIONAL.with_parameter(Choice(name="backend", choices=("default", "FLASH_ATTN")))
    assert [p.name for p in narrow.parameters] == ["backend", "mode"]
    tied = TIED.with_parameter(Choice(name="backend", choices=("FLASH_ATTN", "FLASHINFER")))
    assert tied.refusal(Configuration.of({"backend": "FLASH_ATTN", "kv": "fp8"})) is not None
    assert TIED.with_parameter(Choice(name="kv", choices=("default",))).forbidden == ()
    for made in (narrow, tied):
        assert space_from(space_to_raw(made), where=WHERE) == made


def test_a_replaced_parameter_keeps_its_place() -> None:
    """The order of parameters is the order of the file."""
    wider = TIED.with_parameter(Range(name="seqs", low=1, high=8, integer=True))
    assert [p.name for p in wider.parameters] == ["batched", "seqs", "backend", "kv"]
    assert wider.relations == (AtLeast(larger="batched", smaller="seqs"),)
