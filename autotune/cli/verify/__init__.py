"""`autotune verify`: exported files deployed as they are, and held against the study.

exported.py  what lies in `recommended/`, as a plan that a deployer runs
arms.py      the engine and the connector of a deployment that came from files
rounds.py    default, exported, default, exported, ...
ratios.py    ratios of repeated measurements, with intervals
verdict.py   the comparisons: pure functions of records
proof.py     verification.md and verification.json
"""
