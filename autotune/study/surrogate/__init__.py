"""A sampler of our own: Gaussian processes on what a model of the engine gets wrong.

`features` turns configurations into numbers, `gaussian_process` learns from trials,
`improvement` says what a candidate could add to the front, `candidates` holds what is scored,
`proposer` puts them together. Optuna stays the ledger.
"""
