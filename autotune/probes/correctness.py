"""The correctness gate: are the answers still the baseline's?

Four looks, each against what the study's baseline answered to the very same questions:

forced    log-probabilities of the prompts' own tokens (`prompt_logprobs`), short prompts, and of
          the tokens that the baseline thinks likely there
tails     greedy continuations of prompts of 2K, 8K, 16K and 32K, as far as they fit, with
          their log-probabilities
answers   greedy answers to chat questions; degenerate text
needles   numbers hidden in 8K, 16K and 32K tokens of text

It is asked of every trial, so it must be cheap: 90,000 prompt tokens for the tails, and one text
per length for both needles, so that a prefix cache has read it when the second is asked for.

A forced or tail prompt is a passage of random words that is said twice: within the second copy
each word follows from the first, if attention works over that distance. Long prompts are judged
by their tails, because `prompt_logprobs` makes vLLM compute (tokens x vocabulary) floats twice,
gigabytes beyond what it has profiled: the check itself would run the card out of memory.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from autotune.probes.asking import (
    Asker,
    derived_seed,
    longest_request_tokens,
)
from autotune.probes.base import BaseProbe, Findings
from autotune.probes.degenerate import degeneracy
from autotune.probes.judging import (
    Bounds,
    Judgement,
    judge_answers,
    judge_forced,
    judge_likely,
    judge_needles,
    judge_tails,
    verdict,
)
from autotune.probes.prose import sentences
from autotune.seams.probe import ProbeContext
from autotune.seams.requests import GenerationRequest, Prompt, RequestErrorKind, RequestRecord

FORCED_PROMPTS: Final = 6
FORCED_TOKENS: Final = 256
FORCED_TOP: Final = 10  # likeliest tokens of a position that are kept
FORCED_TOP_STEP: Final = 4  # at one of so many positions: below 100 KB for a baseline
TAIL_RUNGS: Final = {2048: 4, 8192: 4, 16384: 1, 32768: 1}  # prompt and answer: how many
TAIL_OUTPUT_TOKENS: Final = 16
ANSWER_TOKENS: Final = 64
NEEDLE_RUNGS: Final = (8192, 16384, 32768)
NEEDLES: Final = {"lighthouse": 0.2, "windmill": 0.7}  # whose number: depth in the text
_NEEDLE_ANSWER_TOKENS: Final = 24
_TOP_LOGPROBS: Final = 20  # as many as vLLM gives by default (`--max-logprobs`)
_TOKENS_PER_WORD: Final = 1.5  # more than any tokenizer needs for plain English, so it fits
QUESTIONS: Final = (
    "What is the capital of France, and which river runs through it?",
    "Write two sentences about why the sky is blue.",
    "List the first ten prime numbers.",
    "Explain what a stack is to someone who has never programmed.",
    "Translate to German: The train leaves at seven in the morning.",
    "A farmer has 17 sheep and buys 5 more. How many are there? Explain.",
)

Reference = Mapping[str, Any]


class CorrectnessProbe(BaseProbe):
    """Asks fixed questions; the baseline's answers are the reference for all others."""

    name = "correctness"
    test = None
    is_timed = False
    metrics = (
        "perplexity_ratio",
        "logprob_deviation_ratio",
        "greedy_agreement_ratio",
        "needle_recall_ratio",
        "degenerate_answers_count",
    )

    def __init__(self, bounds: Bounds | None = None) -> None:
        self._bounds = bounds or Bounds()

    async def ask(self, context: ProbeContext, asker: Asker) -> Findings:
        """See `BaseProbe.ask`."""
        notes: list[str] = []
        own: dict[str, object] = {
            **await self._forced(asker, notes),
            "tails": await self._tails(context, asker, notes),
        }
        if context.weights_are_random:
            notes.append("random weights: answers, needles and degenerate text are not judged")
        else:
            own["answers"] = await self._answers(asker)
            own["needles"] = await self._needles(context, asker, notes)
        base = _reference(context)
        if base is None:
            notes.append("compared with nothing: no answers of the baseline are known yet")
        judgement = _judge(own, base)
        return Findings(
            metrics=judgement.metrics,
            notes=notes + judgement.notes,
            reference=own if base is None else {},
            failure=verdict(judgement, self._bounds, phase=asker.phase),
        )

    async def _forced(self, asker: Asker, notes: list[str]) -> dict[str, object]:
        """Log-probabilities of each prompt's own tokens, and of the likeliest at some positions.

        None where the server has none to give.
        """
        rows: list[list[float | None]] = []
        tops: list[list[dict[str, float]]] = []
        for index in range(FORCED_PROMPTS):
            passage = asker.segment(FORCED_TOKENS // 2, "forced", index)
            request = replace(
                asker.request(f"forced-{index}", [passage, passage], output_tokens=1),
                prompt_logprobs=FORCED_TOP,
            )
            record = await asker.attempt(request)
            if record.error is not None and record.error.kind is RequestErrorKind.STATUS:
                asker.records.remove(record)
                notes.append(f"no teacher-forced log-probabilities: {record.error.message}")
                return {"forced": None}
            await _check_told(asker, record, "prompt_logprobs")
            values = record.raw.get("prompt_logprobs") or ()
            if not values:
                notes.append("the server gives no log-probabilities of prompts")
                return {"forced": None}
            rows.append([None if v is None else round(v, 5) for v in values])
            tops.append(
                [
                    {token: round(value, 5) for token, value in (row or {}).items()}
                    for row in record.raw.get("prompt_top_logprobs", ())[1::FORCED_TOP_STEP]
                ]
            )
        return {"forced": rows, "forced_top": tops}

    async def _tails(
        self, context: ProbeContext, asker: Asker, notes: list[str]
    ) -> dict[str, list[dict[str, object]]]:
        longest = longest_request_tokens(context)
        tails: dict[str, list[dict[str, object]]] = {}
        for rung, count in TAIL_RUNGS.items():
            if longest is not None and rung > longest:
                notes.append(f"continuations at {rung} tokens not asked: {longest} are held")
                continue
            tails[str(rung)] = []
            for index in range(count):
                record = await asker.attempt(_tail_request(asker, rung, index))
                await _check_told(asker, record, "logprobs")
                tails[str(rung)].append(_tail(record))
        return tails

    async def _answers(self, asker: Asker) -> list[dict[str, object]]:
        answers: list[dict[str, object]] = []
        for index, question in enumerate(QUESTIONS):
            record = await asker.attempt(_chat(f"answer-{index}", question, ANSWER_TOKENS))
            if _is_empty(record):
                asker.records.remove(record)  # judged as a degenerate answer
            else:
                await asker.check([record])
            answers.append(
                {
                    "tokens": list(record.raw.get("tokens", ())),
                    "mean_logprob": _mean_logprob(record),
                    "prompt_tokens": record.prompt_tokens,
                    "degenerate": degeneracy(record.text),
                }
            )
        return answers

    async def _needles(
        self, context: ProbeContext, asker: Asker, notes: list[str]
    ) -> dict[str, bool]:
        longest = longest_request_tokens(context)
        recalled: dict[str, bool] = {}
        for rung in NEEDLE_RUNGS:
            if longest is not None and rung > longest:
                notes.append(f"needles in {rung} tokens not asked for: {longest} are held")
                continue
            for owner, depth in NEEDLES.items():
                name = f"{rung}@{depth}"
                question, number = haystack(rung, owner)
                record = await asker.attempt(_chat(name, question, _NEEDLE_ANSWER_TOKENS))
                if record.error is not None and record.error.kind is RequestErrorKind.STATUS:
                    asker.records.remove(record)  # a tokenizer that needs more than was reckoned
                    notes.append(f"no needle in {rung} tokens: {record.error.message}")
                    break
                if _is_empty(record):
                    asker.records.remove(record)  # judged as a needle that was not found
                else:
                    await asker.check([record])
                recalled[name] = number in record.text
        return recalled


def _is_empty(record: RequestRecord) -> bool:
    return record.error is not None and record.error.kind is RequestErrorKind.EMPTY


async def _check_told(asker: Asker, record: RequestRecord, what: str) -> None:
    """Stop at a failed request; one without text that tells its log-probabilities is none.

    The text of a special token is empty, and a model may well end where a prompt ends.

    Raises:
        ProbeStoppedError: Naming the failure.
    """
    if _is_empty(record) and record.raw.get(what):
        asker.records.remove(record)
    else:
        await asker.check([record])


def haystack(tokens: int, owner: str) -> tuple[str, str]:
    """A text of at most so many tokens that hides every needle, and the number of one of them."""
    numbers = {name: 10_000 + derived_seed("needle", tokens, name) % 90_000 for name in NEEDLES}
    body = sentences(derived_seed("haystack", tokens), words=int(tokens / _TOKENS_PER_WORD) - 80)
    hidden = sorted(NEEDLES.items(), key=lambda item: item[1], reverse=True)  # the deepest first
    for name, depth in hidden:
        body.insert(int(len(body) * depth), f"The secret number of the {name} is {numbers[name]}.")
    question = f"What is the secret number of the {owner}? Answer with the number only."
    return f"Read this text.\n\n{' '.join(body)}\n\n{question}", str(numbers[owner])


def _judge(own: Reference, base: Reference | None) -> Judgement:
    judgement = Judgement()
    judge_forced(judgement, own, base)
    judge_likely(judgement, own, base)
    judge_tails(judgement, own, base)
    judge_answers(judgement, own, base)
    judge_needles(judgement, own, base)
    return judgement


def _reference(context: ProbeContext) -> Reference | None:
    found = (context.baseline or {}).get("correctness")
    return found if isinstance(found, Mapping) and found else None


def _tail_request(asker: Asker, rung: int, index: int) -> GenerationRequest:
    """A, B, and A again: it goes on as B begins, if attention works over that distance."""
    prompt = rung - TAIL_OUTPUT_TOKENS
    first = prompt // (3 + index)
    repeated = asker.segment(first, "tail", rung, index)
    between = asker.segment(prompt - 2 * first, "tail", rung, index, "between")
    request = asker.request(
        f"tail-{rung}-{index}", [repeated, between, repeated], output_tokens=TAIL_OUTPUT_TOKENS
    )
    return replace(request, logprobs=_TOP_LOGPROBS)


def _tail(record: RequestRecord) -> dict[str, object]:
    return {
        "tokens": list(record.raw.get("tokens", ())),
        "logprobs": [round(v, 5) for v in record.raw.get("logprobs", ())],
        "top": [
            {token: round(value, 5) for token, value in row.items()}
            for row in record.raw.get("top_logprobs", ())
        ],
    }


def _mean_logprob(record: RequestRecord) -> float | None:
    values = record.raw.get("logprobs", ())
    return round(sum(values) / len(values), 5) if values else None


def _chat(name: str, question: str, output_tokens: int) -> GenerationRequest:
    return GenerationRequest(
        request_id=f"correctness-{name}",
        prompt=Prompt(text=question, chat=True),
        max_tokens=output_tokens,
        ignore_eos=False,
        logprobs=1,
    )
