#!/bin/sh
# Written by autotune: trial 20 of study small-card-study, on NVIDIA H100 80GB HBM3, engine
# 0.26.0.
# The settings were measured together; with one of them changed the figures no longer hold.
set -eu
here=$(dirname -- "$0")
if [ -f "$here/.env" ]; then
  # What is set in the calling shell wins over the file, as with docker compose.
  while IFS='=' read -r name value; do
    case $name in '' | *[!A-Z0-9_]*) continue ;; esac
    eval "export $name=\"\${$name:-\$value}\""
  done < "$here/.env"
fi
: "${VLLM_PORT:=8000}"
: "${VLLM_BIND:=127.0.0.1}"
: "${MODEL:=models/qwen2.5-1.5b}"
: "${GPU_MEMORY_UTILIZATION:=0.1}"
: "${KV_CACHE_DTYPE:=fp8}"
# as in every trial of the study
export VLLM_NO_USAGE_STATS=1
# as in every trial of the study
export DO_NOT_TRACK=1
# as in every trial of the study
export VLLM_WORKER_MULTIPROC_METHOD=fork

# --load-format: set in the study file for every trial
# --max-model-len: set in the study file for every trial
# --gpu-memory-utilization: share of the GPU's memory: as in the baseline
# --kv-cache-dtype: KV cache type: without it (trials 11, 14, 16, 19) Context capacity x0.50 (0.49
# to 0.51)
exec \
  python3 \
  -m \
  vllm.entrypoints.cli.main \
  serve \
  "$MODEL" \
  --load-format dummy \
  --max-model-len 32768 \
  --gpu-memory-utilization "$GPU_MEMORY_UTILIZATION" \
  --kv-cache-dtype "$KV_CACHE_DTYPE" \
  --host "$VLLM_BIND" \
  --port "$VLLM_PORT"
