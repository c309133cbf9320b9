"""Configurations compare by what they say, and records start empty of claims."""

from autotune.records import (
    SCHEMA_VERSION,
    Configuration,
    Failure,
    FailureKind,
    MemoryLedger,
    Outcome,
    OutcomeStatus,
    PhaseSpan,
    ProbeResult,
    ProbeStatus,
    TrialKind,
    TrialRecord,
)


def test_configurations_are_equal_whatever_the_order() -> None:
    """The same values in another order are the same configuration, and hash alike."""
    one = Configuration.of({"max_num_seqs": 16, "block_size": 32})
    other = Configuration.of({"block_size": 32, "max_num_seqs": 16})
    assert one == other
    assert len({one, other}) == 1


def test_a_configuration_reads_back_what_it_was_given() -> None:
    """Values, single values and their absence."""
    configuration = Configuration.of({"kv_cache_dtype": "fp8", "kv_offload_gib": 0})
    assert configuration.values == {"kv_cache_dtype": "fp8", "kv_offload_gib": 0}
    assert configuration.get("kv_offload_gib") == 0
    assert configuration.get("block_size") is None


def test_copies_leave_the_original_alone() -> None:
    """`updated` and `without` give new configurations."""
    base = Configuration.of({"block_size": 16})
    assert base.updated({"block_size": 32, "max_num_seqs": 8}).values == {
        "block_size": 32,
        "max_num_seqs": 8,
    }
    assert base.without("block_size") == Configuration()
    assert base.values == {"block_size": 16}


def test_changing_the_dictionary_changes_no_configuration() -> None:
    """`values` is a new dictionary each time."""
    configuration = Configuration.of({"block_size": 16})
    configuration.values["block_size"] = 32
    assert configuration.get("block_size") == 16


def test_an_empty_configuration_is_called_by_what_it_means() -> None:
    """No value set is the engine's defaults; others read as name=value."""
    assert str(Configuration()) == "engine defaults"
    assert str(Configuration.of({"b": 2, "a": 1})) == "a=1, b=2"


def test_only_a_measured_trial_may_be_recommended() -> None:
    """Every other status keeps a trial out of the front."""
    failure = Failure(kind=FailureKind.HOST_OOM, phase="starting", message="killed")
    feasible = {
        status: TrialRecord(
            study="s",
            number=0,
            kind=TrialKind.SEARCH,
            configuration=Configuration(),
            outcome=Outcome(status=status, failure=failure),
        ).is_feasible
        for status in OutcomeStatus
    }
    assert [status for status, yes in feasible.items() if yes] == [OutcomeStatus.MEASURED]


def test_what_was_not_measured_is_none_and_not_zero() -> None:
    """Fresh values claim nothing."""
    assert set(vars(MemoryLedger()).values()) == {None}
    assert ProbeResult(probe="ttft", status=ProbeStatus.SKIPPED).metrics == {}


def test_a_phase_lasts_from_start_to_end() -> None:
    """Nanoseconds between the two."""
    assert PhaseSpan(name="starting", start_ns=5, end_ns=12).duration_ns == 7


def test_a_record_names_its_schema() -> None:
    """So that a later release can tell how to read it."""
    record = TrialRecord(
        study="s",
        number=3,
        kind=TrialKind.BASELINE,
        configuration=Configuration(),
        outcome=Outcome(status=OutcomeStatus.MEASURED),
    )
    assert record.schema_version == SCHEMA_VERSION == 1
