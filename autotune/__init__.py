"""Finds the best way to serve one language model on one machine."""

__version__ = "0.1.0"
