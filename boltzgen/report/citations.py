"""What to cite: the methods that boltzgen uses, and the references of each (``references.bib``)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from boltzgen import __version__

#: The key of boltzgen itself; it is cited with everything.
SELF = "boltzgen"


@dataclass(frozen=True)
class Method:
    """What a run may have used: in words, and the keys of its references."""

    words: str
    keys: tuple[str, ...]


#: Name -> method, in the order in which a run meets them.
METHODS: dict[str, Method] = {
    "openmm": Method("molecular mechanics with OpenMM", ("eastman2024",)),
    "peptide_builder": Method("peptides built from a sequence", ("tien2013",)),
    "rdkit": Method("small molecules with RDKit", ("rdkit",)),
    "ff14SB": Method("force field ff14SB", ("maier2015",)),
    "ff19SB": Method("force field ff19SB", ("tian2020",)),
    "ff99SB": Method("force field ff99SB", ("hornak2006",)),
    "ff99SB-ILDN": Method("force field ff99SB-ILDN", ("hornak2006", "lindorfflarsen2010")),
    "ff03": Method("force field ff03", ("duan2003",)),
    "charmm36": Method("force field CHARMM36", ("best2012",)),
    "gaff": Method("general Amber force field", ("wang2004",)),
    "gaff2": Method("general Amber force field, second version", ("wang2004",)),
    "mmff94": Method("force field MMFF94 by RDKit", ("halgren1996", "tosco2014")),
    "mmff94s": Method("force field MMFF94s by RDKit", ("halgren1996", "halgren1999", "tosco2014")),
    "hct": Method("implicit solvent HCT", ("hawkins1995",)),
    "obc": Method("implicit solvent OBC", ("onufriev2004",)),
    "gbn": Method("implicit solvent GBn", ("mongan2007",)),
    "gbn2": Method("implicit solvent GBn2", ("nguyen2013",)),
    "lcpo": Method("surface area by LCPO", ("weiser1999",)),
    "gfn2": Method("GFN2-xTB", ("bannwarth2019",)),
    "gfn1": Method("GFN1-xTB", ("grimme2017",)),
    "alpb": Method("implicit solvent ALPB of GFN-xTB", ("ehlert2021",)),
    "xtb-ala2-small": Method("network of ANI's kind, trained on GFN2-xTB", ("smith2017", "bannwarth2019")),
    "ani1x": Method("ANI-1x by TorchANI", ("smith2018", "gao2020")),
    "ani1ccx": Method("ANI-1ccx by TorchANI", ("smith2019", "gao2020")),
    "ani2x": Method("ANI-2x by TorchANI", ("devereux2020", "gao2020")),
    "ase": Method("calculators of the Atomic Simulation Environment", ("larsen2017",)),
    "langevin_middle": Method("Langevin dynamics, middle scheme, in OpenMM", ("zhang2019",)),
    "baoab": Method("Langevin dynamics, BAOAB, in torch", ("leimkuhler2013",)),
    "replica_exchange": Method("replica exchange", ("sugita1999",)),
    "hydrogen_mass": Method("hydrogen mass repartitioning", ("hopkins2015",)),
    "inefficiency": Method("statistical inefficiency of time series", ("chodera2007",)),
    "boltzmann_generator": Method("Boltzmann generators", ("noe2019",)),
    "pytorch": Method("flows and energies in PyTorch", ("paszke2019",)),
    "autoregressive": Method(
        "autoregressive spline flow",
        ("papamakarios2017", "durkan2019", "rezende2020", "schuett2017", "ha2017"),
    ),
    "coupling": Method("coupling spline flow", ("dinh2017", "durkan2019", "rezende2020", "ha2017")),
    "soap": Method("optimizer SOAP", ("vyas2025",)),
    "reverse_kl": Method("reverse Kullback-Leibler loss", ("noe2019", "wirnsberger2020")),
    "path_gradient": Method("path gradients", ("roeder2017", "vaitl2022")),
    "reweighted": Method("learning from weighted samples of its own", ("midgley2023", "schopmans2025")),
    "annealing": Method("annealing in temperature", ("schopmans2025",)),
    "fab": Method("flow annealed importance sampling bootstrap", ("midgley2023", "neal2001")),
    "trust_region": Method("bounds on the step between proposal and target", ("vonklitzing2025",)),
    "dispersion": Method("log-dispersion of energies", ("nuesken2021", "richter2020")),
    "kish": Method("effective sample size of weights", ("kish1965",)),
    "pareto": Method("Pareto shape of weights, by ArviZ", ("vehtari2024", "kumar2019")),
    "chain_samples": Method("bulk and tail samples of walkers, by ArviZ", ("vehtari2021", "kumar2019")),
    "nested_r_hat": Method("nested R-hat over groups of walkers", ("margossian2024",)),
    "forward_ess": Method("effective sample size seen from target samples", ("nicoli2023",)),
    "smc": Method("sequential Monte Carlo, Langevin moves", ("delmoral2006", "neal2001", "roberts1996")),
    "mala": Method("annealed importance sampling, Langevin moves", ("neal2001", "roberts1996")),
    "wells": Method("conformers told apart by energy and RMSD", ("pracht2020", "rdkit")),
    "perturbation": Method("free energies by importance sampling", ("zwanzig1954",)),
    "bar": Method("Bennett's acceptance ratio", ("bennett1976",)),
    "targeted": Method("targeted free-energy perturbation", ("jarzynski2002", "wirnsberger2020")),
    "mbar": Method("MBAR by pymbar", ("shirts2008",)),
    "hla": Method("couplings of H-C-C-H by the Haasnoot-de Leeuw-Altona equation", ("haasnoot1980",)),
    "ethane_couplings": Method("couplings of H-C-C-H by Karplus' relation", ("karplus1963",)),
    "peptide_couplings": Method("couplings of amide hydrogens by a Karplus relation", ("vogeli2007",)),
    "baker_hubbard": Method("hydrogen bonds of Baker and Hubbard", ("baker1984",)),
    "wernet_nilsson": Method("hydrogen bonds of Wernet and Nilsson", ("wernet2004",)),
    "mdtraj": Method("trajectories and selections with MDTraj", ("mcgibbon2015",)),
}


@dataclass(frozen=True, repr=False)
class Citations:
    """What to cite for `source` (empty: for everything that boltzgen can do).

    Attributes
    ----------
    methods: names in `METHODS`, in its order. notes: what was used and could not be looked up, in sentences.
    """

    source: str
    methods: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The references, each once, boltzgen first."""
        return tuple(dict.fromkeys([SELF, *(key for name in self.methods for key in METHODS[name].keys)]))

    def to_json(self) -> dict[str, Any]:
        """Source, methods, the keys of the references, and notes."""
        return {
            "source": self.source,
            "methods": list(self.methods),
            "keys": list(self.keys),
            "notes": list(self.notes),
        }

    def __repr__(self) -> str:
        return f"<Citations: {len(self.keys)} references of {self.source or 'all that boltzgen can use'}>"

    def bibtex(self) -> str:
        """The BibTeX file; its comments say which reference belongs to which method."""
        lines = [f"% What {self.source} used:" if self.source else "% Everything that boltzgen can use:"]
        lines += [f"%   {METHODS[name].words}: {', '.join(METHODS[name].keys)}" for name in self.methods]
        lines += [f"% {note}" for note in self.notes]
        return "\n".join(lines) + "\n\n" + "\n\n".join(references()[key] for key in self.keys) + "\n"


def citations(source: str, methods: Iterable[str], notes: Iterable[str] = ()) -> Citations:
    """`Citations` of `methods` in any order, named more than once or not."""
    used = set(methods)
    return Citations(source, tuple(name for name in METHODS if name in used), tuple(dict.fromkeys(notes)))


@cache
def references() -> dict[str, str]:
    """Key -> BibTeX entry of everything that can be cited; boltzgen's own with its version."""
    path = resources.files("boltzgen") / "report" / "references.bib"
    text = path.read_text(encoding="utf-8").replace("Version VERSION", f"Version {__version__}")
    entries = re.split(r"\n(?=@)", text)
    return {entry[entry.index("{") + 1 : entry.index(",")]: entry.strip() for entry in entries}
