"""The load generator against its peers, all asked to load one golden server."""
