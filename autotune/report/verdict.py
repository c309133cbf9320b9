"""What a study has come to: the verdict in two sentences, remarks, and what is only noise."""

import math
from collections import Counter
from collections.abc import Sequence

from autotune.analysis.costs import told
from autotune.analysis.criteria import Criterion, Verdict
from autotune.analysis.recommend import Recommendation, forgone_text
from autotune.analysis.unjudged import GO_ON, judged, no_candidate, nothing_judged
from autotune.records import TrialKind, TrialRecord
from autotune.report.alone import nothing_else_ran
from autotune.report.findings import Findings
from autotune.report.quantities import change, display, in_sentence, interval, readable, title
from autotune.report.tables import criterion_title, outcome_text
from autotune.report.untrusted import one_line
from autotune.spec.study import Objective


def verdict(findings: Findings) -> tuple[str, str]:
    """What was found, and how sure it is: a sentence each. What else is to be said is `remarks`."""
    chosen = findings.recommendation
    if chosen is None:
        return _nothing(findings)
    if chosen.keep_default:
        first = f"Keep {chosen.default_name}: {_kept(chosen, findings)}."
    else:
        worse = f"; worse beyond the noise: {worse_text(chosen)}" if chosen.costs else ""
        gains = _gains(findings)
        first = f"Serve the configuration of trial {chosen.record.number}: {gains}{worse}."
    sure = _certainty(findings, findings.spec.objectives)
    return first, capital(" ".join(filter(None, (_criteria(findings.criteria), sure))))


def remarks(findings: Findings) -> tuple[str, ...]:
    """What whoever acts on the verdict should know as well: a sentence each, the weightiest first.

    Empty where nothing is recommended.
    """
    chosen = findings.recommendation
    if chosen is None:
        return ()
    parts = (
        _baseline(findings.baseline),
        f"{capital(findings.first_start)}." if findings.first_start else "",
        f"{chosen.unproven}." if chosen.unproven else "",
        f"{capital(readable(forgone_text(chosen.forgone)))}." if chosen.forgone else "",
        *(f"{capital(str(correction))}." for correction in findings.corrections),
    )
    return tuple(filter(None, parts))


def reason_text(chosen: Recommendation) -> str:
    """Why it was chosen, a sentence, without what `remarks` say of it on the same page."""
    text = chosen.reason
    for remark in (forgone_text(chosen.forgone), chosen.unproven):
        text = text.replace(f". {remark}", "") if remark else text
    return readable(text.rstrip(".")) + "."


def worse_text(chosen: Recommendation) -> str:
    """What is worse than the default beyond the noise: the one list, in the one order."""
    text = readable(told(chosen.costs))
    return in_sentence(text)


def _kept(chosen: Recommendation, findings: Findings) -> str:
    """Why the default stays, as far as the records say it."""
    if nothing_else_ran(findings):
        return "nothing else could run"
    if chosen.forgone:
        return f"nothing measured is shown to be better by the {chosen.prefer} score"
    return "nothing measured beats them beyond the noise"


def capital(text: str) -> str:
    """With a capital at its beginning."""
    return text[:1].upper() + text[1:]


def _gains(findings: Findings) -> str:
    """The objectives that got better, at the cost of those that got worse; then the rest."""
    changed: list[str] = []
    worse: list[str] = []
    same: list[str] = []
    for objective in findings.spec.objectives:
        tag = objective.metric
        value = findings.figure(findings.chosen, tag)
        other = findings.figure(findings.baseline, tag)
        about = "about " if findings.is_estimate(findings.chosen, tag) else ""
        text = f"{in_sentence(title(tag))} {about}{display(tag, value)}"
        if value is None or not other:
            changed.append(text)
        elif value > 0 and abs(math.log(value / other)) < findings.floor(tag):
            same.append(text)
        else:
            better = (value > other) == (objective.direction == "maximize")
            told = f"{text} ({change(value, other)} against the baseline)"
            (changed if better else worse).append(told)
    told = ", ".join(changed)
    if worse:
        cost = " and ".join(worse)
        told = f"{told}, at the cost of {cost}" if told else cost
    if not same:
        return told
    verb = "is" if len(same) == 1 else "are"
    rest = f"{' and '.join(same)} {verb} within the noise of the baseline's"
    return f"{told}; {rest}" if told else rest


def _criteria(criteria: Sequence[Criterion]) -> str:
    if not criteria:
        return ""
    names = {verdict: [in_sentence(criterion_title(c)) for c in criteria if c.verdict is verdict]
             for verdict in Verdict}  # fmt: skip
    met = len(names[Verdict.MET])
    parts = [
        f"{word}: {', '.join(names[state])}"
        for state, word in ((Verdict.NOT_MET, "not met"), (Verdict.NOT_MEASURED, "not measured"))
        if names[state]
    ]
    return f"{met} of {len(criteria)} criteria are met" + (
        f" ({'; '.join(parts)});" if parts else ";"
    )


def _certainty(findings: Findings, objectives: Sequence[Objective]) -> str:
    noises = [findings.noise[o.metric] for o in objectives]
    worst = max(findings.floor(o.metric) for o in objectives)
    low, high = 100 * math.expm1(-worst), 100 * math.expm1(worst)
    basis = (
        "by repeated measurements"
        if any(noise.repeats for noise in noises)
        else "assumed: the study itself repeated no configuration"
    )
    if any(record.kind is TrialKind.VERIFY for record in findings.records):
        basis += "; trials of `autotune verify` are judged there and do not count here"
    return (
        f"differences between {low:.1f}% and {high:+.1f}% cannot be told from noise here ({basis})."
    )


def _baseline(baseline: TrialRecord | None) -> str:
    """What must be said of the baseline: that it is missing, or breaks a limit itself."""
    if baseline is None:
        return "The baseline was not measured, so there is nothing to compare with."
    failure = baseline.outcome.failure
    return "" if failure is None else f"The baseline itself is no choice: {failure.message}."


def _nothing(findings: Findings) -> tuple[str, str]:
    """What a study has come to of which no trial is feasible."""
    tried = judged(findings.records)
    if not tried:
        first = f"{capital(nothing_judged(findings.records))}."
        return first, GO_ON if findings.records else ""
    if reason := no_candidate(findings.records):
        return f"{capital(reason)}.", ""
    kinds = Counter(outcome_text(r.outcome) for r in tried)
    kind, count = kinds.most_common(1)[0]
    last = next(r.outcome.failure for r in reversed(tried) if outcome_text(r.outcome) == kind)
    kind += f" ({one_line(last.message)})" if last is not None else ""
    rest = len(findings.records) - len(tried)
    first = f"None of the {len(tried)} trials kept every limit."
    second = f"The commonest end ({count} of {len(tried)}): {kind}"
    if len(tried) == 1:
        first = f"The one trial{' that was judged' if rest else ''} did not keep every limit."
        second = f"Its end: {kind}"
    aside = f"; another {rest} did not run to an end that tells of the settings" if rest else ""
    return first, f"{second}{aside}."


def noise_notes(findings: Findings) -> tuple[str, ...]:
    """A sentence for each objective in which configurations differ by no more than the noise."""
    return tuple(
        f"{title(s.metric)}: all configurations lie within "
        f"{interval(s.metric, s.low, s.high)}, a spread within the noise. "
        "What a setting explains of it is not told from luck."
        for s in findings.spreads
        if s.is_noise
    )
