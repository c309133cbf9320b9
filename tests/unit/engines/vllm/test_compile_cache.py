"""Whether a start will find its compiled graphs."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from autotune.engines.vllm.compile_cache import CompileCache, is_cold
from autotune.records import (
    Configuration,
    Failure,
    FailureKind,
    MemoryLedger,
    Outcome,
    OutcomeStatus,
    Scalar,
    TrialKind,
    TrialRecord,
)
from autotune.seams.engine import LaunchContext
from tests.support.vllm_contexts import QWEN_1B5, context


def start(folder: Path | None) -> LaunchContext:
    """With its caches in a folder."""
    return replace(context(QWEN_1B5), cache_dir=folder)


def compiled(values: Mapping[str, Scalar], seconds: float | None = 20.0) -> TrialRecord:
    """A trial whose log told how long torch.compile took."""
    return TrialRecord(
        study="s",
        number=0,
        kind=TrialKind.SEARCH,
        configuration=Configuration.of(values),
        outcome=Outcome(status=OutcomeStatus.MEASURED),
        metrics={} if seconds is None else {"startup_compile_ns": seconds * 1e9},
        environment={"model": "m", "engine_release": "0.33.0"},
    )


def entry(folder: Path, name: str) -> Path:
    """One key's graphs."""
    made = folder / "vllm" / "torch_compile_cache" / name
    made.mkdir(parents=True)
    return made


def graph(folder: Path, name: str, arguments: str) -> None:
    """The same with what was compiled, as PyTorch 2.11 prints it (`print_readable`)."""
    part = entry(folder, name) / "rank_0_0" / "backbone"
    part.mkdir(parents=True)
    text = "class GraphModule(torch.nn.Module):\n    def forward(self, " + arguments + "):\n"
    (part / "computation_graph.py").write_text(text)


def failed(values: Mapping[str, Scalar], *, known_cold: bool) -> TrialRecord:
    """A start that came to its KV cache, which was too small."""
    failure = Failure(kind=FailureKind.KV_TOO_SMALL, phase="starting", message="too small")
    return replace(
        compiled(values, None),
        outcome=Outcome(status=OutcomeStatus.INFEASIBLE, failure=failure),
        ledger=MemoryLedger(kv_cache_gib=1.27),
        predicted={"kv_cold_bytes": 8e8} if known_cold else {},
    )


def state(cache: CompileCache, values: Mapping[str, Scalar], folder: Path | None) -> str:
    """What a configuration will meet, of a model 1536 wide."""
    return cache.state(Configuration.of(values), start(folder), hidden=1536)


def test_an_empty_folder_is_a_cold_start(tmp_path: Path) -> None:
    """Also one that holds other things, and the folder of artefacts alone."""
    assert state(CompileCache(), {}, tmp_path) == "cold"
    (tmp_path / "huggingface").mkdir()
    entry(tmp_path, "torch_aot_compile")
    assert state(CompileCache(), {}, tmp_path) == "cold"


def test_a_cache_that_is_not_known_is_unknown(tmp_path: Path) -> None:
    """No folder of autotune's, or one that others have filled."""
    assert state(CompileCache(), {}, None) == "unknown"
    entry(tmp_path, "of-another-study")
    assert state(CompileCache(), {}, tmp_path) == "unknown"


def test_what_a_trial_compiled_is_found_again(tmp_path: Path) -> None:
    """Under every setting that leaves the key as it is, and under no other."""
    cache = CompileCache()
    assert state(cache, {}, tmp_path) == "cold"
    entry(tmp_path, "1a4dee773f")
    cache.learn(compiled({"gpu_memory_utilization": 0.9, "kv_cache_dtype": "fp8"}))
    same: dict[str, Scalar] = {"kv_cache_dtype": "fp8", "enable_prefix_caching": False}
    assert state(cache, same, tmp_path) == "warm"
    assert state(cache, {"kv_cache_dtype": "auto"}, tmp_path) == "cold"
    assert state(cache, {**same, "async_scheduling": False}, tmp_path) == "cold"
    assert state(cache, {**same, "max_num_batched_tokens": 4096}, tmp_path) == "cold"


def test_more_in_the_cache_than_trials_explain_may_be_anything(tmp_path: Path) -> None:
    """What this study compiled is warm all the same."""
    cache = CompileCache()
    cache.learn(compiled({}))
    entry(tmp_path, "one")
    entry(tmp_path, "another")
    assert state(cache, {}, tmp_path) == "warm"
    assert state(cache, {"max_num_seqs": 8}, tmp_path) == "unknown"


def test_what_was_compiled_for_another_width_is_another_models(tmp_path: Path) -> None:
    """A study of 0.5B has filled the folder: 896 wide. A graph without sizes tells nothing."""
    of_another = 's72: "Sym(s72)", L_input_ids_: "i32[s72]", L_weight_: "bf16[151936, 896]"'
    graph(tmp_path, "of-0.5b", of_another)
    cache = CompileCache()
    assert state(cache, {}, tmp_path) == "cold"
    graph(tmp_path, "of-this", 'L_weight_: "bf16[151936, 1536]", L_norm_: "bf16[1536]"')
    assert state(cache, {}, tmp_path) == "cold"  # as seen before the last trial
    cache.learn(compiled({}))
    assert state(cache, {}, tmp_path) == "warm"
    assert state(cache, {"max_num_seqs": 8}, tmp_path) == "cold"
    graph(tmp_path, "untold", "L_input_ids_, L_weight_")
    cache.learn(compiled({}))
    assert state(cache, {"max_num_seqs": 8}, tmp_path) == "unknown"


def test_a_start_that_fails_for_its_kv_cache_has_compiled(tmp_path: Path) -> None:
    """Though its seconds are not measured; whether it was cold is what was known before."""
    cache = CompileCache()
    assert state(cache, {}, tmp_path) == "cold"
    entry(tmp_path, "one")
    cache.learn(failed({}, known_cold=True))
    assert state(cache, {}, tmp_path) == "warm"
    assert state(cache, {"max_num_seqs": 8}, tmp_path) == "cold"
    assert is_cold(failed({}, known_cold=True))
    assert not is_cold(failed({}, known_cold=False))


def test_an_eager_start_that_fails_has_compiled_nothing(tmp_path: Path) -> None:
    """Nothing of it lies in the cache."""
    cache = CompileCache()
    cache.learn(failed({"enforce_eager": True}, known_cold=False))
    entry(tmp_path, "one")
    assert state(cache, {}, tmp_path) == "unknown"


def test_records_of_another_machine_say_nothing_of_this_one(tmp_path: Path) -> None:
    """A study that went on elsewhere: its graphs are not all here."""
    cache = CompileCache()
    cache.learn(compiled({}))
    cache.learn(compiled({"max_num_seqs": 8}))
    assert state(cache, {}, tmp_path) == "cold"
    entry(tmp_path, "one")
    cache.learn(compiled({}))
    assert state(cache, {}, tmp_path) == "unknown"


def test_a_start_that_did_not_get_so_far_leaves_nothing(tmp_path: Path) -> None:
    """No line of torch.compile in its log."""
    cache = CompileCache()
    cache.learn(compiled({}, None))
    entry(tmp_path, "one")
    assert state(cache, {}, tmp_path) == "unknown"


def test_a_folder_that_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    """A file where the folder should be."""
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm" / "torch_compile_cache").touch()
    assert state(CompileCache(), {}, tmp_path) == "unknown"


def test_twelve_seconds_tell_compiling_from_loading() -> None:
    """9.3 s is the longest load that was seen, 15 s the shortest compilation."""
    assert is_cold(compiled({}, 15.0))
    assert not is_cold(compiled({}, 9.3))
    assert not is_cold(compiled({}, None))
