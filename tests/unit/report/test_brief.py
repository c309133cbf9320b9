"""Settings in few characters."""

from autotune.records import Configuration, Failure, FailureKind, Outcome, OutcomeStatus
from autotune.report.brief import SHORT, brief_outcome, brief_settings, legend


def test_only_what_differs_is_said_in_short_words() -> None:
    """True and False are on and off; what went back to the default is said too."""
    mine = Configuration.of({"attention_backend": "FLASHINFER", "async_scheduling": False})
    other = Configuration.of({"attention_backend": "FLASHINFER", "max_num_seqs": 64})

    assert brief_settings(mine, other) == "async=off seqs=default"
    assert brief_settings(Configuration()) == "defaults"


def test_a_parameter_without_a_short_name_keeps_its_own() -> None:
    """Nothing is dropped."""
    assert brief_settings(Configuration.of({"stream_interval": 4})) == "stream_interval=4"


def test_short_names_are_unambiguous() -> None:
    """Two parameters never share one."""
    assert len(set(SHORT.values())) == len(SHORT) > 0


def test_the_legend_explains_what_is_used_and_nothing_else() -> None:
    """In the order of the parameters' names."""
    used = [Configuration.of({"max_num_seqs": 1}), Configuration.of({"block_size": 16})]

    assert legend(used) == "block block_size, seqs max_num_seqs"


def test_an_outcome_is_named_by_its_failure() -> None:
    """Or ok."""
    failure = Failure(kind=FailureKind.CONTAINER_OOM, phase="starting", message="m")

    assert brief_outcome(Outcome(status=OutcomeStatus.MEASURED)) == "ok"
    assert brief_outcome(Outcome(status=OutcomeStatus.INFEASIBLE, failure=failure)) == (
        "container oom"
    )
