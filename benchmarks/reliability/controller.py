"""A controller to be killed: the real loop, records and ledger over scripted servers.

Called in a fork: `work(["DEPLOYER", "NAME", "TRIALS"])`, in the folder that holds its results; also
run as `python -m benchmarks.reliability.controller DEPLOYER NAME TRIALS`. A fourth word, "short",
makes every wait short.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from autotune.cli.json_lines import JsonLines
from autotune.spec.space import space_from
from autotune.store import StudyLock, TrialStore, ensure_same_study, write_study
from autotune.study.ask_tell import AskTell
from autotune.study.loop import run_study
from autotune.study.proposals import proposer_for
from benchmarks.reliability.scripted import runner_of, spec_of, tools_of

SPACE = {"name": "scripted", "parameters": {"max_num_seqs": {"low": 1, "high": 1024}}}
SHORT_WAITS_S: Final = 20.0
CHANGES: Final[Mapping[str, Any]] = {
    "search": {"sampler": "random", "finalists": 0},
    "probes": ["ttft", "throughput"],
    "workload": {
        "ttft_repeats": 2, "ttft_max_tokens": 8, "requests": 8, "concurrency": 4,
        "warmup_requests": 0, "prompt_tokens": 32, "output_tokens": 8, "request_timeout_s": 20,
    },
}  # fmt: skip


def work(arguments: Sequence[str]) -> int:
    """Run a study to its end; 0 if it came to one."""
    deployer, name, trials, *short = arguments
    changes = {**CHANGES, "budget": {"trials": int(trials), "startup_timeout_s": 60}}
    if short:  # and without a load, which a busy machine spoils as well as a pause
        budget = {"startup_timeout_s": SHORT_WAITS_S, "trial_timeout_s": SHORT_WAITS_S}
        changes["budget"] |= budget
        changes["workload"] = {**CHANGES["workload"], "request_timeout_s": SHORT_WAITS_S / 2}
        changes["probes"] = ["ttft"]
    spec = spec_of(name, changes)
    space = space_from(SPACE, where="controller")
    with JsonLines(sys.stdout) as view:
        tools = tools_of(spec, deployer, observer=view)
        runner = runner_of(spec, Path("studies").absolute(), tools)
        paths = runner._paths  # noqa: SLF001 - its files are this study's
        with StudyLock(paths.lock):
            ensure_same_study(paths, spec, space)
            write_study(paths, spec, space)
            store = TrialStore(paths, spec.name)
            ask_tell = AskTell(spec, space, store, proposer_for(spec, space))

            async def whole() -> None:
                await runner.prepare()
                await run_study(
                    spec,
                    runner=runner,
                    store=store,
                    ask_tell=ask_tell,
                    observer=view,
                    clock=tools.clock,
                )

            tools.clock.run(whole())
    return 0


if __name__ == "__main__":
    sys.exit(work(sys.argv[1:]))
