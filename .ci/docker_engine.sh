#!/bin/bash
# A Docker engine of one's own, beside any other: docker_engine.sh start|stop DIR
#
# Everything of it lies under DIR: images, containers, pid file, socket, log. `start` installs
# Debian's docker.io where there is no dockerd and prints DOCKER_HOST=... ; `stop` ends the engine
# with what runs in it and removes DIR. Exit 3: this machine cannot have one (no root, no Debian).
set -euo pipefail

what=${1:?usage: docker_engine.sh start|stop DIR}
dir=${2:?usage: docker_engine.sh start|stop DIR}
socket=$dir/docker.sock
# A bridge and a subnet of its own by DIR's name: docker0 and other engines' bridges are left alone.
number=$(($(cksum <<<"$dir" | cut -d' ' -f1) % 250))
bridge=autotune-ci$number
say() { echo "docker_engine: $*" >&2; }

running() { [ -s "$dir/pid" ] && kill -0 "$(cat "$dir/pid")" 2>/dev/null; }

start() {
  if [ "$(id -u)" != 0 ]; then say "needs root to start a Docker engine; skipped"; exit 3; fi
  if ! command -v dockerd >/dev/null; then
    if ! command -v apt-get >/dev/null; then say "no dockerd and no apt-get; skipped"; exit 3; fi
    say "installing docker.io"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      docker.io iproute2 iptables >/dev/null 2>&1
  fi
  if running; then say "already running"; echo "DOCKER_HOST=unix://$socket"; return; fi
  mkdir -p "$dir"
  if ! ip link show "$bridge" >/dev/null 2>&1; then
    ip link add name "$bridge" type bridge
    ip addr add "172.31.$number.1/24" dev "$bridge"
  fi
  ip link set "$bridge" up
  setsid dockerd --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/pid" \
    -H "unix://$socket" --bridge "$bridge" >"$dir/log" 2>&1 </dev/null &
  for _ in $(seq 120); do
    if docker -H "unix://$socket" info >/dev/null 2>&1; then
      say "up: $(docker -H "unix://$socket" version --format '{{.Server.Version}}')"
      echo "DOCKER_HOST=unix://$socket"
      return
    fi
    sleep 0.5
  done
  say "did not come up within 60 s; the end of $dir/log:"
  tail -n 20 "$dir/log" >&2
  stop
  exit 1
}

stop() {
  if running; then
    ids=$(docker -H "unix://$socket" ps -aq 2>/dev/null || true)
    # shellcheck disable=SC2086 # a list of ids
    [ -z "$ids" ] || docker -H "unix://$socket" rm -f $ids >/dev/null || true
    kill "$(cat "$dir/pid")"
    for _ in $(seq 60); do running || break; sleep 0.5; done
    if running; then say "does not end; killed"; kill -9 "$(cat "$dir/pid")"; sleep 1; fi
  fi
  ip link delete "$bridge" 2>/dev/null || true
  # Mounts that a killed engine leaves would otherwise be emptied through, not removed.
  awk -v d="$dir/" 'index($2, d) == 1 {print $2}' /proc/mounts | sort -r | xargs -r -n1 umount || true
  rm -rf "$dir"
}

case $what in
  start) start ;;
  stop) stop ;;
  *) say "start or stop, not $what"; exit 2 ;;
esac
