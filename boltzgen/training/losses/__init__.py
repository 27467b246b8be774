"""What a flow learns from: likelihood, reverse KL, weighted samples of its own, log-dispersion.

A loss is a file with a settings class and an objective, named in ``LOSSES`` of `objective`; `log_dispersion`
is the shortest example, docs/extending.md shows one in a package of its own. Beside them stands what several
losses share: pairs, draws, buffers and importance weights.
"""
