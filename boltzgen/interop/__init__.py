"""Our potentials and flows in the terms of other programs: ASE, OpenMM, nflows, bgflow.

Files of other programs are read elsewhere: molecules in ``system/formats``, trajectories in ``data/foreign``.
"""
