"""GROMACS topologies by the rules of grompp: preprocessed, resolved, and their pairs made here.

OpenMM's reader (8.6.1) takes the bonded terms from a topology in which nothing is left to decide. What it
decides otherwise than GROMACS, silently, is decided here: nrexcl, [ pairs ], [ nonbond_params ], wildcards
and repeated lines of [ dihedraltypes ], directives in capitals, sections that it drops.
"""
