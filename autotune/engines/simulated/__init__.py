"""A vLLM without a GPU."""
