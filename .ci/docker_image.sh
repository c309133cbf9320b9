#!/bin/bash
# Builds the image that the end-to-end tests run vLLM in: docker_image.sh CACHE_DIR
#
# A Debian 12 with the libraries that Python and vLLM load and no more, made by debootstrap from
# this machine's own Debian mirror: nothing is pulled. Python and vLLM themselves are not inside;
# the tests mount them read-only. Tagged autotune-e2e:local on the engine that DOCKER_HOST names.
# Exit 3: this machine cannot make one (no root).
set -euo pipefail

cache=${1:?usage: docker_image.sh CACHE_DIR}
tag=autotune-e2e:local
suite=bookworm
packages=libnuma1,libgomp1,libssl3,libsqlite3-0,libffi8,zlib1g,libbz2-1.0,liblzma5,libreadline8,gcc,libc6-dev
archive=$cache/$suite.tar
say() { echo "docker_image: $*" >&2; }

if docker image inspect "$tag" >/dev/null 2>&1; then say "$tag is already there"; exit 0; fi
mkdir -p "$cache"
if [ "$(cat "$archive.packages" 2>/dev/null)" != "$packages" ]; then
  if [ "$(id -u)" != 0 ]; then say "needs root to make a Debian folder; skipped"; exit 3; fi
  if ! command -v debootstrap >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap \
      >"$cache/apt.log" 2>&1 || { tail -n 5 "$cache/apt.log" >&2; exit 1; }
  fi
  # The mirror that apt is set up with, in either of its two file formats.
  mirror=$(cat /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null |
    awk '$1 == "URIs:" {print $2; exit} $1 == "deb" {for (i = 2; i <= NF; i++)
         if ($i ~ /:\/\//) {print $i; exit}}') || true  # one of the two files is usually missing
  root=$(mktemp -d)
  trap 'rm -rf "$root"' EXIT
  say "debootstrap $suite (about 100 s)"
  debootstrap --variant=minbase --include="$packages" "$suite" "$root" "$mirror" \
    >"$cache/debootstrap.log" 2>&1 || { tail -n 20 "$cache/debootstrap.log" >&2; exit 1; }
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
  tar -C "$root" -cf "$archive" .
  echo "$packages" >"$archive.packages"
fi
docker import --change 'CMD ["/bin/sh"]' "$archive" "$tag" >/dev/null
say "$tag: $(docker image inspect --format '{{.Size}}' "$tag" | awk '{printf "%d MB", $1 / 1e6}')"
