"""Sends requests and records what became of them; knows neither engines nor probes.

arrivals, prompts, datasets, trace   what is sent, and when
http1, sse, completion               the protocol: pure, fed with bytes
connections, streaming, client       one request to one server
runner, workers, connect             many requests, in this process or in some of their own
formulas                             from records to figures: pure
"""
