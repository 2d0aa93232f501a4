"""interloop measured beside its peers: `python -m benchmarks`, or `nox -s bench`."""
