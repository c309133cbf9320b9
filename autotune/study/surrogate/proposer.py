"""Proposes the configuration with the greatest expected gain in hypervolume times feasibility."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from autotune.analysis.hypervolume import hypervolume
from autotune.analysis.pareto import is_on_front
from autotune.records import Configuration
from autotune.spec.space import Given, SearchSpace
from autotune.spec.study import StudySpec
from autotune.study.outcomes import Told, constraint_keys
from autotune.study.surrogate.candidates import neighbours_of_all, pool
from autotune.study.surrogate.features import Encoder, FloatArray
from autotune.study.surrogate.improvement import boxes_outside, expected_improvement
from autotune.study.surrogate.model import NOISE_SD, Model, Points, Prior, margins_as_constraints
from autotune.study.surrogate.outlook import Outlook

POOL: Final = 600
"""Configurations drawn from a large space and scored every time."""
NEIGHBOURS: Final = 120
CLIMBS: Final = 4
CLIMBERS: Final = 2
"""Times that the best candidates' neighbours are scored too, and of how many; docs/search.md."""
CAUTION: Final = 2.0
"""Exponent on the chance to be feasible: 2 halves the trials that run out of memory against 1
and costs no hypervolume."""
NEAR_EQUAL: Final = 0.9
"""Share of the best score above which a cheaper start decides."""
CHEAP: Final = frozenset({"gpu_memory_utilization", "enable_prefix_caching", "async_scheduling"})
"""Parameters that are not in the key of vLLM's compile cache (0.33.0, `config/vllm.py`,
`compute_hash`): changing only these finds everything compiled."""
FIRST_KEPT: Final = 64
LATEST_KEPT: Final = 192
"""Trials that the model is fitted to: the first ones (the default, seeds, those that cover the
space) and the latest. Its twenty processes each hold half a matrix over them: 20 MB at 500
trials."""
MOST_KNOWN: Final = 2000
"""Configurations whose features and predictions are kept, beyond which old ones are dropped."""
START_TRIALS: Final = 8
"""Trials spread over the space before the model speaks, where there is no prior."""
_ASKED: Final = 20
"""Candidates that are asked for to find out whether the prior knows every objective."""


class SurrogateProposer:
    """The study's own sampler.

    Where the front is not known yet the space is covered: points far from each other first. Then
    each proposal is the candidate with the greatest expected gain, found from a pool, the front's
    neighbours and the neighbours of the best of these.

    Args:
        spec: Objectives, limits and seed.
        space: What may be proposed.
        prior: A model of the engine, where there is one.
        hints: Configurations that did well elsewhere. With a prior of every objective they are
            candidates like others; without one they come first.
    """

    def __init__(
        self,
        spec: StudySpec,
        space: SearchSpace,
        prior: Prior | None = None,
        hints: Sequence[Configuration] = (),
    ) -> None:
        self._spec, self._space, self._prior = spec, space, prior
        self._hints = [c for c in hints if space.refusal(c) is None]
        self._keys = constraint_keys(spec)
        self._signs = [-1.0 if o.direction == "maximize" else 1.0 for o in spec.objectives]
        self._encoder = Encoder(space)
        self._rng = np.random.default_rng(spec.seed)
        self._pool: list[Configuration] | None = None
        self._rows: dict[Configuration, FloatArray] = {}
        self._priors: dict[Configuration, tuple[list[float], list[float]]] = {}
        self._seen: list[Configuration] = []
        self._losses: list[list[float]] = []
        self._constraints: list[list[float]] = []
        names = [p.name for p in space.parameters]
        self._model = Model(len(spec.objectives), self._keys, names)
        self._tuned_at = 0
        self._volume = 0.0
        self._boxes = (np.zeros((0, 0)), np.zeros((0, 0)))
        self.expected_gain: float | None = None

    def give(self, given: Given) -> None:
        """Complete every candidate from now on: its predictions are those of what will run."""
        if given == self._space.given:
            return
        self._space = replace(self._space, given=given)
        completed = dict.fromkeys(map(given.completed, self._hints))
        self._hints = [c for c in completed if self._space.refusal(c) is None]
        self._pool = None

    def learn(self, configuration: Configuration, told: Told) -> None:
        """Take in a finished trial; what was the host's fault teaches nothing."""
        if told.state.name == "FAIL":
            return
        self._seen.append(configuration)
        found = told.values or told.partial or (None,) * len(self._signs)
        values = [math.nan if value is None else value for value in found]
        self._losses.append([self._loss(v, s) for v, s in zip(values, self._signs, strict=True)])
        constraints = [told.constraints.get(key, 0.0) for key in self._keys]
        self._constraints.append([math.nan if value == 0 else value for value in constraints])

    def propose(self, seen: Collection[Configuration]) -> Configuration | None:
        """The best candidate that has not been seen; None if there is none left."""
        with threadpool_limits(1):
            candidates = [c for c in self._candidates() if c not in seen]
            if not candidates:
                return None
            self._fit(candidates)
            if self._is_starting(candidates):
                hinted = [c for c in self._hints if c not in seen]
                return hinted[0] if hinted else self._farthest(candidates)
            best, gain = self._climb(candidates, seen)
            self.expected_gain = gain / self._volume if self._volume > 0 else None
            return best

    def outlook(self, configuration: Configuration) -> Outlook | None:
        """What is expected of a configuration; None before the model has spoken."""
        if self.expected_gain is None:
            return None
        losses = np.asarray(self._losses).reshape(len(self._seen), len(self._signs))
        measured = np.isfinite(losses).all(axis=1)
        with threadpool_limits(1):
            front = self._model.predict(self._points(self._seen).where(measured)).mean
            belief = self._model.predict(self._points([configuration]))
        return Outlook(
            objectives=self._spec.objectives,
            signs=self._signs,
            mean=belief.mean[0],
            deviation=belief.deviation[0],
            front=front,
            noise_sd=NOISE_SD,
        )

    def _climb(
        self, candidates: list[Configuration], seen: Collection[Configuration]
    ) -> tuple[Configuration, float]:
        """The best candidate, and the best among the neighbours of the best ones, and again."""
        scored = dict(zip(candidates, self._scores(candidates), strict=True))
        for _ in range(CLIMBS):
            tops = sorted(scored, key=scored.__getitem__, reverse=True)[:CLIMBERS]
            near = neighbours_of_all(self._space, tops, NEIGHBOURS, self._rng)
            new = [c for c in near if c not in scored and c not in seen]
            if not new:
                break
            before = scored[tops[0]]
            scored.update(zip(new, self._scores(new), strict=True))
            if max(scored[c] for c in new) <= before:
                break
        best = max(scored, key=scored.__getitem__)
        return self._cheaper(best, scored), float(scored[best])

    def _cheaper(self, best: Configuration, scored: Mapping[Configuration, float]) -> Configuration:
        """Among near-equals, one whose start is compiled already."""
        compiled = {c.without(*CHEAP) for c in self._seen}
        near = [c for c, score in scored.items() if score >= NEAR_EQUAL * scored[best]]
        warm = [c for c in near if c.without(*CHEAP) in compiled]
        return max(warm or [best], key=scored.__getitem__)

    def _is_starting(self, candidates: Sequence[Configuration]) -> bool:
        """Whether the space is still to be covered: too few trials, and no prior of everything."""
        measured = sum(math.isfinite(row[0]) for row in self._losses)
        if measured >= 2 and len(self._seen) >= START_TRIALS:
            return False
        return not np.isfinite(self._priors_of(candidates[:_ASKED])[0]).all(axis=1).any()

    def _candidates(self) -> list[Configuration]:
        if self._pool is None:
            self._pool = pool(self._space, POOL, self._rng)
        near = neighbours_of_all(self._space, self._front(), NEIGHBOURS, self._rng)
        candidates = list(dict.fromkeys([*self._hints, *self._pool, *near]))
        self._forget_all_but(candidates)
        return candidates

    def _forget_all_but(self, candidates: Collection[Configuration]) -> None:
        """Drop what is known of neighbours that were looked at long ago: a study may run long."""
        if len(self._priors) <= MOST_KNOWN:
            return
        wanted = {*candidates, *self._seen}
        for known in (self._rows, self._priors):
            for configuration in [c for c in known if c not in wanted]:
                del known[configuration]

    def _front(self) -> list[Configuration]:
        losses = np.asarray(self._losses).reshape(len(self._seen), len(self._signs))
        known = np.flatnonzero(np.isfinite(losses).all(axis=1))
        on = known[is_on_front(losses[known])] if len(known) else known
        return [self._seen[i] for i in on]

    def _farthest(self, candidates: Sequence[Configuration]) -> Configuration:
        """Far from all trials so far (a maximin design, one at a time), and likely to run."""
        rows = self._encode(candidates)
        chance = self._model.predict(self._points(candidates)).feasible
        spread = self._rng.uniform(0, 0.3, len(rows))
        if self._seen:
            seen = self._encode(self._seen)
            spread += ((rows[:, None, :] - seen[None, :, :]) ** 2).sum(axis=2).min(axis=1)
        return candidates[int(np.argmax(spread * chance))]

    def _fit(self, candidates: Sequence[Configuration]) -> None:
        """Learn from trials; cut what the front of all of them leaves into boxes."""
        tune = len(self._seen) < 60 or len(self._seen) >= self._tuned_at + 10
        if tune:
            self._tuned_at = len(self._seen)
        seen = self._points(self._seen)
        losses = np.asarray(self._losses).reshape(len(self._seen), len(self._signs))
        constraints = np.asarray(self._constraints).reshape(len(self._seen), len(self._keys))
        kept = np.ones(len(self._seen), dtype=bool)
        kept[FIRST_KEPT:-LATEST_KEPT] = False
        self._model.fit(seen.where(kept), losses[kept], constraints[kept], tune=tune)
        measured = np.isfinite(losses).all(axis=1)
        front = self._raw(self._model.predict(seen.where(measured)).mean)
        belief = self._model.predict(self._points(candidates))
        likely = belief.feasible >= min(0.5, float(belief.feasible.max()))
        reference = np.quantile(self._raw(belief.mean[likely]), 0.9, axis=0)
        front = front[np.all(front < reference, axis=1)]
        self._volume = hypervolume(front, reference)
        self._boxes = boxes_outside(front, reference)

    def _raw(self, losses: FloatArray) -> FloatArray:
        """Losses on the metrics' own scale: minus the value of what is maximised."""
        signs = np.asarray(self._signs)
        return np.asarray(signs * np.exp(signs * losses))

    def _scores(self, candidates: Sequence[Configuration]) -> FloatArray:
        """Expected gain in hypervolume, weighted by the chance to be feasible."""
        belief = self._model.predict(self._points(candidates))
        gain = expected_improvement(belief.mean, belief.deviation, *self._boxes, self._signs)
        return np.asarray(gain * belief.feasible**CAUTION)

    def _points(self, configurations: Sequence[Configuration]) -> Points:
        losses, constraints = self._priors_of(configurations)
        return Points(
            configurations=configurations,
            rows=self._encode(configurations),
            prior_losses=losses,
            prior_constraints=constraints,
        )

    def _encode(self, configurations: Sequence[Configuration]) -> FloatArray:
        missing = [c for c in configurations if c not in self._rows]
        if missing:
            rows = self._encoder.encode(missing)  # copied: one row must not keep all of them alive
            self._rows.update(zip(missing, map(np.copy, rows), strict=True))
        if not configurations:
            return self._encoder.encode([])
        return np.stack([self._rows[c] for c in configurations])

    def _priors_of(self, configurations: Sequence[Configuration]) -> tuple[FloatArray, FloatArray]:
        for configuration in configurations:
            if configuration not in self._priors:
                self._priors[configuration] = self._ask_prior(configuration)
        pairs = [self._priors[c] for c in configurations]
        losses = np.asarray([p[0] for p in pairs]).reshape(len(pairs), len(self._signs))
        constraints = np.asarray([p[1] for p in pairs]).reshape(len(pairs), len(self._keys))
        return losses, constraints

    def _ask_prior(self, configuration: Configuration) -> tuple[list[float], list[float]]:
        predicted: Mapping[str, float] | None = None
        if self._prior is not None:
            predicted = self._prior(configuration)
        if predicted is None:
            return [math.nan] * len(self._signs), [math.nan] * len(self._keys)
        pairs = zip(self._spec.objectives, self._signs, strict=True)
        losses = [self._loss(predicted.get(o.metric, math.nan), sign) for o, sign in pairs]
        return losses, margins_as_constraints(predicted, self._keys)

    @staticmethod
    def _loss(value: float, sign: float) -> float:
        """Minimised and on a logarithm; NaN for what has none."""
        return sign * math.log(value) if value > 0 and math.isfinite(value) else math.nan
