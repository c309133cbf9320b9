"""The borders: protocols and the frozen values that cross them.

Each seam has one folder of implementations on the layer above (`engines`, `deployers`, `load`,
`telemetry`, `probes`), which never import each other.
"""
