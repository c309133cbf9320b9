"""vLLM: what each release can do, how it is started, and what its texts mean."""
