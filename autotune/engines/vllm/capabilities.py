"""What the vLLM at hand can do, without starting it: release, options, values, kernels.

The files of the installation are scanned in its own interpreter by `scan_script.py`: on the
host, or in a throw-away container of the image. The answer is kept: by the image's digest, on the
host for as long as the files that were read are as they were. Measured: 0.4 s of the processor on
the host at first and 0.01 s later, where `vllm serve --help=all` takes 10.7.
"""

import asyncio
import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from autotune.engines.vllm.image_scan import image_digest, run_in_image
from autotune.engines.vllm.installed_scan import scan_installed
from autotune.engines.vllm.releases import Release, parse_release, release_table
from autotune.engines.vllm.scan_files import SCAN_SOURCE, answer_of, cache_file, keep
from autotune.errors import EngineError
from autotune.seams.engine import Capabilities, EngineTarget

ENGINE_NAME: Final = "vllm"


async def detect(target: EngineTarget) -> Capabilities:
    """Scan the engine that a target means.

    Raises:
        EngineError: If there is no vLLM, or one that is too old.
        DockerUnavailableError: If the image cannot be asked.
        ImageMissingError: If it is not on this machine.
    """
    if target.image is None:
        interpreter = find_interpreter(target.command[0], target.env)
        found = await scan_installed(interpreter, target.env)
        return capabilities_from(found, source=f"files of {found.get('location', '')}")
    digest = await asyncio.to_thread(image_digest, target.image)
    found = await asyncio.to_thread(scan_image, target, digest)
    return capabilities_from(found, source=f"files inside {target.image}", image_digest=digest)


def declared(release: str, *, platform: str = "cuda") -> Capabilities:
    """What the table says of a release, where there is nothing to scan (a simulated engine).

    Raises:
        EngineError: If it is no supported release.
    """
    parsed = parse_release(release)
    table = release_table()
    warnings = table.check_supported(parsed)
    flags = {"host", "port", "served-model-name", "revision"}
    choices = {}
    for name, facts in table.parameters.items():
        way = facts.spelling(parsed, platform)
        flags |= set() if way is None else set(way.flags)
        flags |= {f"no-{way.pair}"} if way is not None and way.pair is not None else set()
        legal = facts.legal_values(parsed, platform)
        if way is not None and legal is not None:
            choices[name] = tuple(str(v) for v in legal)
    return Capabilities(
        engine=ENGINE_NAME, release=release, platform=platform, flags=frozenset(flags),
        choices=choices, source="the declared table", warnings=warnings,
    )  # fmt: skip


def capabilities_from(
    found: Mapping[str, Any], *, source: str, image_digest: str | None = None
) -> Capabilities:
    """Read a scan's answer and hold it against the table.

    Raises:
        EngineError: If there is no vLLM in it, or one that is too old.
    """
    if "release" not in found:
        message = f"the Python {found.get('python', '')} has no vLLM installed"
        raise EngineError(message, hint="Install vllm there, or name another `engine.command`.")
    release = parse_release(str(found["release"]))
    platform = platform_of(str(found["release"]), str(found["distribution"]))
    flags = _flag_names(found["flags"], inverse_pairs=bool(found.get("inverse_pairs")))
    warnings = (*release_table().check_supported(release), *_surprises(release, platform, flags))
    return Capabilities(
        engine=ENGINE_NAME,
        release=str(found["release"]),
        platform=platform,
        flags=flags,
        choices=_choices(found, release, platform),
        source=source,
        image_digest=image_digest,
        warnings=warnings,
        environment=frozenset(found["environment"]),
    )


def platform_of(version: str, distribution: str = "vllm") -> str:
    """The platform that a build is for; vLLM itself looks for these words in its version."""
    text = f"{version} {distribution}".lower()
    if "cpu" in text:
        return "cpu"
    if "rocm" in text:
        return "rocm"
    return "unknown" if any(w in text for w in ("xpu", "tpu", "gaudi", "hpu")) else "cuda"


def _flag_names(flags: Mapping[str, Any], *, inverse_pairs: bool) -> frozenset[str]:
    names = set(flags)
    for name, option in flags.items():
        if option["kind"] == "pair":
            names.add(f"no-{name}")
            for prefix, inverse in (("enable-", "disable-"), ("disable-", "enable-")):
                if inverse_pairs and name.startswith(prefix):
                    names.add(inverse + name.removeprefix(prefix))
    return frozenset(names)


def _choices(
    found: Mapping[str, Any], release: Release, platform: str
) -> dict[str, tuple[str, ...]]:
    """Values that the installed files list, by parameter.

    The enum of attention backends names those of every platform and model kind; here are those
    that the table knows as kernels for ordinary models on this platform.
    """
    choices: dict[str, tuple[str, ...]] = {}
    for name, facts in release_table().parameters.items():
        way = facts.spelling(release, platform)
        option = found["flags"].get(way.flag, {}) if way is not None and way.flag else {}
        listed = option.get("choices") or option.get("known") or ()
        if name == "attention_backend" and way is not None:
            legal = facts.legal_values(release, platform) or ()
            listed = [backend for backend in found["backends"] if backend in legal]
        if listed:
            choices[name] = tuple(str(v) for v in listed)
    return choices


def _surprises(release: Release, platform: str, flags: frozenset[str]) -> tuple[str, ...]:
    """Where the installation differs from what the table says of its release."""
    missing = sorted(
        {
            flag
            for facts in release_table().parameters.values()
            if (way := facts.spelling(release, platform)) is not None
            for flag in way.flags
            if flag not in flags
        }
    )
    if not missing:
        return ()
    names = ", ".join(f"--{flag}" for flag in missing)
    return (f"this build of vLLM {release} lacks options that the release has: {names}",)


def find_interpreter(program: str, env: Mapping[str, str]) -> str:
    """The Python behind a command: its own name, the first line of the script, or beside it.

    A wrapper that is no Python script (`nice -n 5 .venv/bin/vllm "$@"`) is taken to lie beside its
    interpreter, as in an image.

    Raises:
        EngineError: If the command is not found or is no Python script.
    """
    path = shutil.which(program, path=env.get("PATH", os.environ.get("PATH")))
    if path is None:
        message = f"the command {program!r} is not found"
        raise EngineError(message, hint="Install vllm, or set `engine.command` to its full path.")
    if Path(path).name.startswith("python"):
        return path
    interpreter = _shebang(Path(path), env)
    beside = Path(path).with_name("python3")
    if interpreter is None and os.access(beside, os.X_OK):
        return str(beside)
    if interpreter is None:
        message = f"{path} is no Python script, so its vLLM cannot be looked at"
        raise EngineError(message, hint="Set `engine.command` to the `vllm` of an installation.")
    return interpreter


def _shebang(script: Path, env: Mapping[str, str]) -> str | None:
    """The interpreter in a script's first lines.

    Installers write `#!/path/python`; where that is too long or holds a space they write
    `#!/bin/sh` and `'''exec' "/path/python" "$0" "$@"` below it.
    """
    with script.open("rb") as file:
        first, second = (file.readline(4096).decode(errors="replace").strip() for _ in range(2))
    if not first.startswith("#!"):
        return None
    words = first.removeprefix("#!").split()
    if words[:1] == ["/bin/sh"] and second.startswith("'''exec'"):
        return shlex.split(second.removeprefix("'''exec'"))[0]
    if words and Path(words[0]).name == "env":
        return shutil.which(words[-1], path=env.get("PATH", os.environ.get("PATH")))
    return words[0] if words and Path(words[0]).name.startswith("python") else None


def scan_image(target: EngineTarget, digest: str) -> dict[str, Any]:
    """The scan of an image: from the cache, or by running it there.

    Raises:
        EngineError: If the image holds no vLLM that can be read.
    """
    program = _program_in_image(target.command[0])
    mounted = any(Path(program).is_relative_to(m.target) for m in target.mounts)
    kept = cache_file(digest, program)
    if not mounted and kept.is_file():
        return answer_of(0, kept.read_text(encoding="utf-8"), "")
    arguments = ["-c", SCAN_SOURCE.read_text(encoding="utf-8")]
    ran = run_in_image(target.image or "", program, arguments, target.mounts, target.labels)
    found = answer_of(ran.exit_code, ran.stdout, ran.stderr)
    if not mounted:  # what lies in a mounted folder may change under the same digest
        keep(kept, found)
    return found


def _program_in_image(program: str) -> str:
    """The Python beside an absolute command, else the image's python3."""
    path = Path(program)
    if not path.is_absolute():
        return "python3"
    return program if path.name.startswith("python") else str(path.with_name("python3"))
