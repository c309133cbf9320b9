"""What of a record a running study keeps in memory."""

from autotune.analysis.front import front_numbers
from autotune.spec.study import StudySpec
from autotune.store.kept import kept
from autotune.study.agenda import counts
from autotune.study.budget import duration_ns
from autotune.study.outcomes import constraints_of, told_as
from tests.support.records import study_records

SPEC = StudySpec()


def test_the_search_sees_in_it_what_it_sees_in_the_whole_record() -> None:
    """Outcome, figures, constraints, duration, place in the budget and on the front."""
    records = study_records(60)
    for record in records:
        small = kept(record)
        assert told_as(small, SPEC) == told_as(record, SPEC)
        assert constraints_of(small, SPEC) == constraints_of(record, SPEC)
        assert duration_ns(small) == duration_ns(record)
        assert counts(small) == counts(record)
        assert small.applied == record.applied
        assert [(p.probe, p.status, p.reference) for p in small.probes] == [
            (p.probe, p.status, p.reference) for p in record.probes
        ]
    front = front_numbers(records, SPEC.objectives)
    assert front
    assert front_numbers([kept(r) for r in records], SPEC.objectives) == front


def test_what_only_readers_want_is_left_on_disk() -> None:
    """Raw samples, a probe's own figures and notes, the command, all but the first evidence."""
    for record in study_records(60):
        small = kept(record)
        assert not any(p.samples or p.metrics or p.notes for p in small.probes)
        assert (small.command, small.notes) == ((), ())
        assert len(small.phases) <= 1
        failure = small.outcome.failure
        assert failure is None or len(failure.evidence) <= 1
        assert small.metrics == record.metrics


def test_what_trials_have_alike_is_held_once() -> None:
    """Where they ran, that they and their probes were measured."""
    one, other = [kept(r) for r in study_records(60) if r.is_measured and r.number][:2]
    assert one.environment is other.environment
    assert one.outcome is other.outcome
    assert one.probes
    for probe, same in zip(one.probes, other.probes, strict=True):
        assert probe is same


def test_what_is_kept_is_kept_again_unchanged() -> None:
    """A study that goes on takes up records that were small already."""
    for record in study_records(20):
        assert kept(kept(record)) == kept(record)
