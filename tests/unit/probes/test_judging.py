"""The gate's verdict on made-up answers: no false alarm under noise, and each fault caught."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from autotune.probes.judging import (
    Bounds,
    Judgement,
    judge_answers,
    judge_forced,
    judge_likely,
    judge_needles,
    judge_tails,
    leading_share,
    tail_places,
    verdict,
)
from autotune.records import Failure, FailureKind

Answers = dict[str, Any]


def baseline(seed: int = 0) -> Answers:
    """A working model: random words are hard to guess, their repetition is easy."""
    rng = np.random.default_rng(seed)
    forced = [[None, *(-rng.gamma(9, 1.1, 127)), *(-rng.exponential(0.15, 128))] for _ in range(6)]
    tails = {
        rung: [_tail(rng) for _ in range(count)]
        for rung, count in (("2048", 4), ("8192", 3), ("32768", 2))
    }
    answers = [
        {"tokens": [f"t{i}" for i in range(64)], "prompt_tokens": 30 + n, "degenerate": None}
        for n in range(6)
    ]
    needles = {f"{rung}@{depth}": True for rung in (8192, 16384, 32768) for depth in (0.2, 0.7)}
    return {"forced": forced, "tails": tails, "answers": answers, "needles": needles}


def _tail(rng: np.random.Generator) -> Answers:
    values = (-rng.exponential(0.1, 16)).tolist()
    tokens = [f"t{i}" for i in range(16)]
    top = [{t: v, "x": v - 3} for t, v in zip(tokens, values, strict=True)]
    return {"tokens": tokens, "logprobs": values, "top": top}


def shaken(base: Answers, noise: float, seed: int) -> Answers:
    """Every log-probability multiplied by 1 + noise; greedy answers part somewhere."""
    rng = np.random.default_rng(seed)
    own = copy.deepcopy(base)

    def shake(value: float | None) -> float | None:
        return None if value is None else value * (1 + noise * rng.standard_normal())

    own["forced"] = [[shake(v) for v in row] for row in base["forced"]]
    for rows in own["tails"].values():
        for row in rows:
            row["logprobs"] = [shake(v) for v in row["logprobs"]]
    for answer in own["answers"]:
        parts = int(rng.integers(10, 65))
        answer["tokens"] = answer["tokens"][:parts] + ["other"] * (64 - parts)
    return own


def judged(own: Answers, base: Answers | None) -> tuple[Failure | None, Judgement]:
    """The verdict and the figures."""
    judgement = Judgement()
    for judge in (judge_forced, judge_likely, judge_tails, judge_answers, judge_needles):
        judge(judgement, own, base)
    return verdict(judgement, Bounds(), phase="probe:correctness"), judgement


def test_two_hundred_clean_runs_with_three_percent_of_noise_raise_no_alarm() -> None:
    """Noise on log-probabilities and answers that part somewhere break no bound."""
    base = baseline()
    verdicts = [judged(shaken(base, 0.03, seed), base)[0] for seed in range(200)]

    assert verdicts == [None] * 200


def test_flat_log_probabilities_under_noise_raise_no_alarm_either() -> None:
    """A model that has learnt nothing gives -8.3 everywhere, and parts at once in its tails."""
    base = baseline()
    base["forced"] = [[None] + [-8.3] * 255 for _ in range(6)]
    for rows in base["tails"].values():
        for row in rows:
            row["logprobs"] = [-8.3] * 16
            row["top"] = [{f"t{i}": -8.3, "x": -8.3} for i in range(16)]
    del base["answers"], base["needles"]
    for seed in range(200):
        own = copy.deepcopy(base)
        rng = np.random.default_rng(seed)
        own["forced"] = [[None, *(-8.3 * (1 + 0.03 * rng.standard_normal(255)))] for _ in range(6)]
        for rows in own["tails"].values():
            for row in rows:
                value = -8.3 * (1 + 0.03 * rng.standard_normal())
                row.update(tokens=["other"], logprobs=[value], top=[{"other": value, "t0": value}])
        assert judged(own, base)[0] is None


def test_the_same_answers_are_perfect() -> None:
    """A server and its own restart: ratios of 1, no deviation, full agreement."""
    base = baseline()
    failure, judgement = judged(copy.deepcopy(base), base)

    assert failure is None
    assert judgement.metrics == {
        "perplexity_ratio": 1.0,
        "logprob_deviation_ratio": 0.0,
        "greedy_agreement_ratio": 1.0,
        "degenerate_answers_count": 0.0,
        "needle_recall_ratio": 1.0,
    }


def broken(name: str) -> tuple[Answers, Answers]:
    """(own, baseline's) answers with one fault."""
    base = baseline()
    own = shaken(base, 0.01, 1)
    match name:
        case "lost copies":  # attention is broken: the repetition is as hard as the first time
            own["forced"] = [[*row[:128], *row[:128][1:], -9.0] for row in base["forced"]]
        case "other words":  # the same perplexity, but other words are likely
            rng = np.random.default_rng(3)
            own["forced"] = [[None, *rng.permutation(row[1:])] for row in base["forced"]]
        case "long prompts":
            for row in own["tails"]["32768"]:
                row.update(tokens=["x"] * 16, logprobs=[-0.5] * 16, top=[{"x": -0.5, "y": -4.0}])
        case "loops":
            for answer in own["answers"][:2]:
                answer["degenerate"] = "repeats itself"
        case "cut":
            for answer in own["answers"]:
                answer["tokens"] = answer["tokens"][:20]
        case "template":
            for answer in own["answers"]:
                answer["prompt_tokens"] += 3
        case "answers":
            for answer in own["answers"]:
                answer["tokens"] = ["other"] * 64
        case "needles":
            own["needles"].update({"32768@0.2": False, "32768@0.7": False})
        case "prompt cut":
            own["forced"] = [row[:100] for row in own["forced"]]
    return own, base


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("lost copies", "perplexity is"),
        ("other words", "log-probabilities differ"),
        ("long prompts", "prompts of 32768 tokens"),
        ("loops", "2 answers: repeats itself"),
        ("cut", "cut short"),
        ("template", "another chat template"),
        ("answers", "leading tokens are the baseline's"),
        ("needles", "needles lost: 32768@0.2, 32768@0.7"),
        ("prompt cut", "a prompt has 100 tokens"),
    ],
)
def test_each_fault_is_caught_and_named(fault: str, words: str) -> None:
    """One fault at a time, over 1% of noise: WRONG_ANSWERS, and the evidence says which."""
    failure, _ = judged(*broken(fault))

    assert failure is not None
    assert failure.kind is FailureKind.WRONG_ANSWERS
    assert any(words in line for line in failure.evidence)


def test_guesses_need_not_agree() -> None:
    """A model of random weights picks among equals: other arithmetic picks others."""
    base = baseline()
    for answer in base["answers"]:
        answer["mean_logprob"] = -5.2
    own = copy.deepcopy(base)
    for answer in own["answers"]:
        answer["tokens"] = ["other"] * 64
    failure, judgement = judged(own, base)

    assert failure is None
    assert judgement.metrics["greedy_agreement_ratio"] == 0.0
    assert "not judged" in judgement.notes[0]

    for answer in base["answers"]:
        answer["mean_logprob"] = -0.3
    assert judged(own, base)[0] is not None


def test_the_baseline_itself_is_not_judged() -> None:
    """Without a reference there are no ratios; what can be said alone is said."""
    failure, judgement = judged(baseline(), None)

    assert failure is None
    assert judgement.metrics == {"degenerate_answers_count": 0.0, "needle_recall_ratio": 1.0}


def test_answers_that_the_baseline_loops_in_as_well_are_forgiven() -> None:
    """A small model repeats itself by nature: only what is new counts."""
    base = baseline()
    for answer in base["answers"]:
        answer["degenerate"] = "repeats itself"
    failure, judgement = judged(copy.deepcopy(base), base)

    assert failure is None
    assert judgement.metrics["degenerate_answers_count"] == 6


def test_lengths_that_are_not_held_are_not_compared() -> None:
    """A deployment without room for 32K is judged on the rest."""
    base = baseline()
    own = copy.deepcopy(base)
    del own["tails"]["32768"]
    own["needles"] = {k: v for k, v in own["needles"].items() if not k.startswith("32768")}

    failure, judgement = judged(own, base)

    assert failure is None
    assert judgement.metrics["needle_recall_ratio"] == 1.0


def test_pairs_of_a_tail_end_where_the_contexts_part() -> None:
    """Up to and with the first other token, which is looked up among the own top ones."""
    base = {"tokens": ["a", "b", "c"], "logprobs": [-1.0, -2.0, -3.0], "top": []}
    own = {
        "tokens": ["a", "x", "c"],
        "logprobs": [-1.5, -0.5, -3.0],
        "top": [{}, {"x": -0.5, "b": -2.5}, {}],
    }
    assert tail_places(own, base) == [(-1.0, -1.5, 1.0), (-2.0, -2.5, 2.0)]

    own["top"] = [{}, {"x": -0.5, "y": -4.0}, {}]
    assert tail_places(own, base) == [(-1.0, -1.5, 1.0), (-2.0, -4.0, 2.0)]


def test_an_unsure_baseline_is_compared_by_all_its_likely_tokens() -> None:
    """Two tokens of equal probability: the mean of both; what the own ones lack is their least."""
    base = {"tokens": ["a"], "logprobs": [-2.0], "top": [{"a": -2.0, "b": -2.0}]}
    own = {"tokens": ["c"], "logprobs": [-1.0], "top": [{"c": -1.0, "a": -3.0, "d": -5.0}]}

    (place,) = tail_places(own, base)
    assert (place.base, place.own) == (pytest.approx(-2.0), pytest.approx((-3.0 - 5.0) / 2))


def likely(rng: np.random.Generator) -> Answers:
    """Ten likely tokens at each of 64 places of six prompts."""
    rows = [[{str(t): float(v) for t, v in enumerate(-rng.uniform(2, 6, 10))} for _ in range(64)]]
    return {"forced_top": [list(row) for row in rows * 6]}


def with_likely(base: Answers, change: Callable[[float], float]) -> Answers:
    """Each of the likely tokens' log-probabilities changed."""
    return {
        "forced_top": [
            [{token: change(v) for token, v in place.items()} for place in row]
            for row in base["forced_top"]
        ]
    }


def test_likely_tokens_that_became_a_little_less_likely_are_a_fault() -> None:
    """All of them by 0.1: less than 3% of a random word's, which the deviation allows."""
    base = likely(np.random.default_rng(0))

    assert judged(with_likely(base, lambda v: v - 0.02), base)[0] is None
    failure, _ = judged(with_likely(base, lambda v: v - 0.1), base)
    assert failure is not None
    assert failure.message.startswith("likely tokens of short prompts lose 0.1 nats")


def test_likely_tokens_under_three_percent_of_noise_raise_no_alarm() -> None:
    """Each token's own noise averages out; two hundred times."""
    base = likely(np.random.default_rng(0))
    for seed in range(200):
        rng = np.random.default_rng(seed)
        own = with_likely(base, lambda v, rng=rng: v * (1 + 0.03 * rng.standard_normal()))
        assert judged(own, base)[0] is None


def test_a_reference_without_likely_tokens_is_judged_by_the_rest() -> None:
    """Records of before, and servers that tell of the prompt's own tokens alone."""
    own = likely(np.random.default_rng(0))
    assert judged(own, {})[0] is None
    assert judged({"forced_top": [[{}]]}, own)[0] is None


def unsure(rng: np.random.Generator, tokens: np.ndarray[Any, Any]) -> Answers:
    """A place where twenty tokens are about as likely: no first one stands out."""
    values = -np.sort(rng.uniform(5.0, 6.0, 20))
    top = {f"t{t}": float(v) for t, v in zip(tokens, values, strict=True)}
    return {"tokens": [next(iter(top))], "logprobs": [float(values[0])], "top": [top]}


def test_an_unsure_model_that_has_lost_its_context_is_caught_by_its_likely_tokens() -> None:
    """All of the likely tokens are others, at the same probabilities; under noise none is lost."""
    rng = np.random.default_rng(1)
    base = {"tails": {"2048": [unsure(rng, rng.permutation(4096)[:20]) for _ in range(4)]}}
    lost = {"tails": {"2048": [unsure(rng, rng.permutation(4096)[:20]) for _ in range(4)]}}

    failure, _ = judged(lost, base)
    assert failure is not None
    assert "prompts of 2048 tokens" in failure.message
    for seed in range(200):
        noise = np.random.default_rng(seed)
        own = copy.deepcopy(base)
        for row in own["tails"]["2048"]:
            shaken_top = {
                t: v * (1 + 0.03 * noise.standard_normal()) for t, v in row["top"][0].items()
            }
            first = max(shaken_top, key=lambda t: shaken_top[t])
            row.update(tokens=[first], logprobs=[shaken_top[first]], top=[shaken_top])
        assert judged(own, base)[0] is None


def test_shares_of_leading_tokens() -> None:
    """Equal from the beginning on, over the baseline's length."""
    assert leading_share(["a", "b", "x"], ["a", "b", "c", "d"]) == 0.5
    assert leading_share([], ["a"]) == 0.0
    assert leading_share(["a"], []) == 1.0
