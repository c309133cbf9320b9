"""Any record survives the disk, and any change of its text is noticed."""

from hypothesis import given
from hypothesis import strategies as st

from autotune.records import (
    Configuration,
    Failure,
    FailureKind,
    LimitCheck,
    MemoryLedger,
    Outcome,
    OutcomeStatus,
    PhaseSpan,
    ProbeResult,
    ProbeStatus,
    TrialKind,
    TrialRecord,
)
from autotune.store.codec import DamagedRecordError, decode, encode

_NAME = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
_FLOAT = st.floats(allow_nan=False)
_SCALAR = st.one_of(st.booleans(), st.integers(-(2**53), 2**53), _FLOAT, _NAME)
_METRICS = st.dictionaries(_NAME, st.none() | _FLOAT, max_size=5)
_FAILURES = st.builds(
    Failure,
    kind=st.sampled_from(FailureKind),
    phase=_NAME,
    message=_NAME,
    evidence=st.lists(_NAME, max_size=3).map(tuple),
    margin_gib=st.none() | _FLOAT,
    repair=st.dictionaries(_NAME, _SCALAR, max_size=3),
)
_PROBES = st.builds(
    ProbeResult,
    probe=_NAME,
    status=st.sampled_from(ProbeStatus),
    metrics=_METRICS,
    samples=st.dictionaries(_NAME, st.lists(_FLOAT, max_size=4).map(tuple), max_size=3),
    requests_failed=st.dictionaries(_NAME, st.integers(0, 99), max_size=2),
    failure=st.none() | _FAILURES,
)
_SPANS = st.builds(PhaseSpan, name=_NAME, start_ns=st.integers(0), end_ns=st.integers(0))
_CHECKS = st.builds(
    LimitCheck, metric=_NAME, bound=_FLOAT, value=st.none() | _FLOAT, kept=st.none() | st.booleans()
)
RECORDS = st.builds(
    TrialRecord,
    study=_NAME,
    number=st.integers(0, 9999),
    kind=st.sampled_from(TrialKind),
    label=_NAME,
    configuration=st.dictionaries(_NAME, _SCALAR, max_size=6).map(Configuration.of),
    outcome=st.builds(
        Outcome, status=st.sampled_from(OutcomeStatus), failure=st.none() | _FAILURES
    ),
    metrics=_METRICS,
    probes=st.lists(_PROBES, max_size=3).map(tuple),
    limits=st.lists(_CHECKS, max_size=2).map(tuple),
    constraints=st.dictionaries(_NAME, _FLOAT, max_size=4),
    ledger=st.none() | st.builds(MemoryLedger, weights_gib=st.none() | _FLOAT),
    simulated=st.booleans(),
    phases=st.lists(_SPANS, max_size=3).map(tuple),
    command=st.lists(_NAME, max_size=3).map(tuple),
    environment=st.dictionaries(_NAME, _NAME, max_size=3),
)


@given(RECORDS)
def test_a_record_survives_its_text(record: TrialRecord) -> None:
    """Decoding what was encoded gives an equal record, down to the type of each value."""
    back = decode(encode(record), where="test")
    assert back == record
    assert repr(back.configuration) == repr(record.configuration)
    assert list(back.constraints) == list(record.constraints)


@given(RECORDS, st.data())
def test_a_changed_text_is_noticed(record: TrialRecord, data: st.DataObject) -> None:
    """Any digit that becomes another one is damage, not another record."""
    text = encode(record)
    places = [i for i, character in enumerate(text) if character.isdigit()]
    place = data.draw(st.sampled_from(places))
    other = str((int(text[place], base=10) + 1) % 10) if text[place].isascii() else "0"
    changed = text[:place] + other + text[place + 1 :]
    try:
        back = decode(changed, where="test")
    except DamagedRecordError:
        return
    assert back == record  # only where the digit stood for the same number, as in 1e400


@given(RECORDS, st.integers(1, 200))
def test_a_cut_text_is_noticed(record: TrialRecord, short: int) -> None:
    """A file that ends early is damage."""
    text = encode(record)
    try:
        decode(text[: max(0, len(text) - 1 - short)], where="test")
    except DamagedRecordError:
        return
    raise AssertionError
