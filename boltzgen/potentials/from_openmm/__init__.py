"""From OpenMM's System to a potential: readers by force class, the Reference check, the bridge.

A new force class takes a reader here (`read_native` or `read_custom`, named in their ``READERS``), a record
in ``potentials/records``, its energy in ``potentials/terms``, and its place among the terms and kernels of
``potentials/molecular_mechanics``; `translate` puts them together, and what it does not know it refuses by
name. A kernel in ``potentials/fast`` is optional. The other direction, our potential as an OpenMM force, is
``interop/openmm_force``.
"""
