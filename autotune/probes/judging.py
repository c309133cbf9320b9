"""Answers held against the baseline's: pure functions of what both answered.

A reference is what `CorrectnessProbe` returns for the baseline; see there for its four parts. The
bounds leave room for what a change of kernels or of the KV cache's type does to a working model,
and for chance: 3% of noise on every log-probability breaks none.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from autotune.records import Failure, FailureKind

_NOISE: Final = 0.03
_SIGMAS: Final = 5.0
_MIN_SHARE_OF_LENGTH: Final = 0.5
_LIKELY_TOKENS: Final = 5
_UNSURE: Final = (
    -2.0
)  # mean log-probability of greedy tokens: a model that knows a language is above

Answer = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Beyond these a configuration answers wrongly.

    Attributes:
        perplexity_ratio: exp(mean baseline log-probability - mean log-probability), any part.
        logprob_deviation_ratio: Mean |difference| / mean |baseline's log-probability|.
        divergence_nats: What the tokens that the baseline thinks likely in short prompts have lost
            in log-probability: mean, weighted by their probability.
        greedy_agreement_ratio: Mean share of leading tokens of the chat answers; below is wrong.
        needles_lost: So many needles that the baseline found and this one does not.
        degenerate_answers: So many answers that are degenerate where the baseline's were not.
    """

    perplexity_ratio: float = 1.1
    logprob_deviation_ratio: float = 0.06
    divergence_nats: float = 0.03
    greedy_agreement_ratio: float = 0.1
    needles_lost: int = 2
    degenerate_answers: int = 2


class Place(NamedTuple):
    """One place of a text as both see it.

    Attributes:
        base: The baseline's log-probability of a token, or the mean over its likely ones.
        own: The same of this configuration.
        spread: What a relative noise of 1 on every log-probability, each for itself, does to `own`:
            less than |base| where several tokens share it.
    """

    base: float
    own: float
    spread: float


@dataclass(kw_only=True)
class Judgement:
    """Figures, and what they break.

    Attributes:
        findings: (kind of check, value, what it means); `verdict` holds them against bounds.
        wrong: What is wrong whatever the bounds.
    """

    metrics: dict[str, float | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    findings: list[tuple[str, float, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def judge_forced(judgement: Judgement, own: Answer, base: Answer | None) -> None:
    """Teacher-forced log-probabilities of short prompts."""
    places = list(_forced_places(own.get("forced"), (base or {}).get("forced"), judgement))
    if not places:
        return
    _perplexity(judgement, places, "short prompts")
    scale = _mean([abs(place.base) for place in places])
    deviation = _mean([abs(place.base - place.own) for place in places]) / scale if scale else 0.0
    judgement.metrics["logprob_deviation_ratio"] = deviation
    judgement.findings.append(
        ("logprob_deviation_ratio", deviation, f"log-probabilities differ by {deviation:.1%}")
    )


def judge_likely(judgement: Judgement, own: Answer, base: Answer | None) -> None:
    """What the baseline thinks likely in short prompts: about the Kullback-Leibler divergence.

    A random word of a prompt is unlikely, and noise moves its log-probability more than a small
    fault does; likely tokens keep theirs, and here are hundreds of places with several each.
    """
    places = [
        _expected(base_top, own_top, len(base_top))
        for own_row, base_row in zip(
            own.get("forced_top") or (), (base or {}).get("forced_top") or (), strict=False
        )
        for own_top, base_top in zip(own_row, base_row, strict=False)
        if own_top and base_top
    ]
    if places:
        shift, allowance = _shift(places)
        meaning = f"likely tokens of short prompts lose {shift:.2g} nats"
        judgement.findings.append(("divergence_nats", shift - allowance, meaning))


def judge_tails(judgement: Judgement, own: Answer, base: Answer | None) -> None:
    """Continuations of long prompts: compared as long as both have said the same so far."""
    own_tails, base_tails = own.get("tails") or {}, (base or {}).get("tails") or {}
    for rung, base_rows in base_tails.items():
        own_rows = own_tails.get(rung)
        if own_rows is None:
            continue  # this deployment does not hold so much; the probe's notes say so
        places = [
            place
            for own_row, base_row in zip(own_rows, base_rows, strict=False)
            for place in tail_places(own_row, base_row)
        ]
        if places:
            _perplexity(judgement, places, f"prompts of {rung} tokens")


def judge_answers(judgement: Judgement, own: Answer, base: Answer | None) -> None:
    """Chat answers: degenerate ones, and agreement with the baseline's."""
    answers = own.get("answers")
    if answers is None:
        return
    bad = [a["degenerate"] for a in answers if a["degenerate"]]
    judgement.metrics["degenerate_answers_count"] = float(len(bad))
    if base is None or not base.get("answers"):
        if bad:
            judgement.notes.append(f"the reference's own answers: {', '.join(sorted(set(bad)))}")
        return
    pairs = list(zip(answers, base["answers"], strict=True))
    new = [o["degenerate"] for o, b in pairs if o["degenerate"] and not b["degenerate"]]
    judgement.findings.append(
        ("degenerate_answers", len(new), f"{len(new)} answers: {', '.join(sorted(set(new)))}")
    )
    _agreement(judgement, pairs)
    for o, b in pairs:
        if None not in {o["prompt_tokens"], b["prompt_tokens"]} and (
            o["prompt_tokens"] != b["prompt_tokens"]
        ):
            judgement.wrong.append(
                f"a chat question has {o['prompt_tokens']} tokens, the baseline's "
                f"{b['prompt_tokens']}: another chat template"
            )
            break


def judge_needles(judgement: Judgement, own: Answer, base: Answer | None) -> None:
    """Numbers hidden in long texts."""
    needles: Mapping[str, bool] = own.get("needles") or {}
    if not needles:
        return
    judgement.metrics["needle_recall_ratio"] = sum(needles.values()) / len(needles)
    known: Mapping[str, bool] = (base or {}).get("needles") or {}
    lost = [name for name, found in needles.items() if known.get(name) and not found]
    judgement.findings.append(
        ("needles_lost", len(lost), f"needles lost: {', '.join(lost)} (tokens@depth)")
    )


def verdict(judgement: Judgement, bounds: Bounds, *, phase: str) -> Failure | None:
    """The failure that a judgement is, None if every bound is kept."""
    broken = list(judgement.wrong)
    for check, value, meaning in judgement.findings:
        limit = getattr(bounds, check)
        low_is_bad = check == "greedy_agreement_ratio"
        counted = check in {"needles_lost", "degenerate_answers"}
        if (value < limit) if low_is_bad else (value >= limit if counted else value > limit):
            broken.append(f"{meaning} (bound: {limit:g})")
    if not broken:
        return None
    return Failure(
        kind=FailureKind.WRONG_ANSWERS, phase=phase, message=broken[0], evidence=tuple(broken)
    )


def tail_places(own: Answer, base: Answer) -> list[Place]:
    """The baseline's next tokens as both see them, while contexts are equal.

    Per place the mean log-probability over the baseline's likeliest tokens, weighted by their
    probability: a sure model is judged by its one token, an unsure one by several. A token that
    is not among the own top ones has at most the least of them. After the first place where the
    answers part the contexts differ.
    """
    places: list[Place] = []
    own_rows = list(zip(own["tokens"], own["logprobs"], strict=False))
    for index, (token, value) in enumerate(zip(base["tokens"], base["logprobs"], strict=False)):
        if index >= len(own_rows):
            break
        own_token, own_value = own_rows[index]
        seen = {own_token: own_value, **_at(own["top"], index)}
        place = _expected({token: value, **_at(base["top"], index)}, seen, _LIKELY_TOKENS)
        places.append(place._replace(spread=abs(place.base)))  # few places: as if all shook alike
        if own_token != token:
            break
    return places


def _at(top: Sequence[Mapping[str, float]], index: int) -> Mapping[str, float]:
    return top[index] if index < len(top) else {}


def _expected(base: Mapping[str, float], own: Mapping[str, float], count: int) -> Place:
    likely = sorted(base.items(), key=lambda item: item[1], reverse=True)[:count]
    total = sum(math.exp(value) for _, value in likely)
    least = min(own.values())
    rows = [(math.exp(v) / total, v, own.get(token, least)) for token, v in likely]
    kept = [weight * value for weight, value, seen in rows if seen > least]
    lost = sum(weight * value for weight, value, seen in rows if seen == least)
    return Place(
        base=sum(weight * value for weight, value, _ in rows),
        own=sum(weight * seen for weight, _, seen in rows),
        spread=math.hypot(*kept, lost),  # all that are lost share the noise of the least
    )


def leading_share(own: Sequence[str], base: Sequence[str]) -> float:
    """Share of the baseline's tokens that are equal from the beginning on; 1 if it has none."""
    if not base:
        return 1.0
    equal = 0
    for mine, theirs in zip(own, base, strict=False):
        if mine != theirs:
            break
        equal += 1
    return equal / len(base)


def _forced_places(
    own: Sequence[Sequence[float | None]] | None,
    base: Sequence[Sequence[float | None]] | None,
    judgement: Judgement,
) -> Iterator[Place]:
    for own_row, base_row in zip(own or (), base or (), strict=False):
        if len(own_row) != len(base_row):
            judgement.wrong.append(
                f"a prompt has {len(own_row)} tokens, the baseline's {len(base_row)}"
            )
            return
        for o, b in zip(own_row, base_row, strict=True):
            if o is not None and b is not None:
                yield Place(b, o, abs(b))


def _perplexity(judgement: Judgement, places: Sequence[Place], where: str) -> None:
    """Add one part's perplexity ratio, less what noise alone may do to so few tokens."""
    shift, allowance = _shift(places)
    ratio = math.exp(min(shift, 700.0))
    worst = judgement.metrics.get("perplexity_ratio")
    judgement.metrics["perplexity_ratio"] = ratio if worst is None else max(worst, ratio)
    judgement.findings.append(
        (
            "perplexity_ratio",
            math.exp(min(shift, 700.0) - allowance),
            f"perplexity is {ratio:.3g} times the baseline's on {where}",
        )
    )


def _shift(places: Sequence[Place]) -> tuple[float, float]:
    """How much less likely the baseline's tokens are, and what noise alone may make of it."""
    shift = _mean([place.base - place.own for place in places])
    noise = _NOISE * math.hypot(*(place.spread for place in places)) / len(places)
    return shift, _SIGMAS * noise


def _agreement(judgement: Judgement, pairs: Sequence[tuple[Answer, Answer]]) -> None:
    shares = [leading_share(o["tokens"], b["tokens"]) for o, b in pairs]
    agreement = _mean(shares)
    judgement.metrics["greedy_agreement_ratio"] = agreement
    meaning = f"{agreement:.0%} of the greedy answers' leading tokens are the baseline's"
    sure = [b["mean_logprob"] for _, b in pairs if b.get("mean_logprob") is not None]
    if sure and _mean(sure) < _UNSURE:
        judgement.notes.append(f"{meaning}: not judged, for the baseline's are guesses themselves")
    else:
        judgement.findings.append(("greedy_agreement_ratio", agreement, meaning))
    own_length = sum(len(o["tokens"]) for o, _ in pairs)
    base_length = sum(len(b["tokens"]) for _, b in pairs)
    if own_length < _MIN_SHARE_OF_LENGTH * base_length:
        judgement.wrong.append(
            f"answers are cut short: {own_length} tokens in all, the baseline's {base_length}"
        )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
