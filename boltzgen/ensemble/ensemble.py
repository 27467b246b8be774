"""`Ensemble`: samples and everything that belongs to them, in one frozen record.

One row is one conformation. Nothing is filtered: a rejected sample keeps its row with weight zero
and a reason. Weights are made once, from coordinates in memory, and never again from a file.

The record knows nothing of what reads, writes, joins or converts it, which stands beside it: `load_ensemble`
and `save_ensemble` in `boltzgen.ensemble.store`, `concatenate` in `boltzgen.ensemble.join`,
`mdtraj_trajectory` in `boltzgen.ensemble.export_trajectory`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from boltzgen.ensemble.chains.diagnostics import diagnose_chains
from boltzgen.ensemble.chains.walkers import CHAIN_FIELDS, Walkers
from boltzgen.ensemble.diagnostics import Diagnostics, diagnose, kish_ess, normalised_weights
from boltzgen.ensemble.resample import equal_weight_rows
from boltzgen.errors import InputError
from boltzgen.notebook import html_table, with_error


@dataclass(frozen=True, eq=False, repr=False)
class Ensemble:
    """Weighted samples of one system at one temperature.

    Attributes
    ----------
    positions: (n, N, 3) float array, nm; model systems (measure ``lebesgue(d)``): (n, d).
    log_q: (n,) float64, log density of each sample with respect to `measure`; of refined samples
        (provenance ``refined``) and of walkers the effective one, ``-u - log_w`` (`boltzgen.refine.draw`).
    u: (n,) float64, reduced potential energy ``U / kT`` at `temperature`.
    log_w: (n,) float64, natural log of the unnormalised weight ``-u - log_q``; ``-inf`` where not valid.
    valid: (n,) bool. reason: (n,) unicode, ``""`` where valid, why the sample was rejected elsewhere.
    temperature: K; None for model systems, whose energies are given in kT.
    measure: ``"shape"`` or ``"lebesgue(d)"``. domain: which isomers the measure covers.
    topology_pdb: text of a PDB file for names and selections; ``""`` for model systems.
    provenance: JSON-serialisable record; keys used here: ``command``, ``seed``, ``model``,
        ``requested``, ``energy_evaluations``, ``versions``, ``refined``, ``chains``.
    coverage: record of `boltzgen.ensemble.coverage.check_coverage`, or None.
    walker, group, step: (n,) int, who made each row and after which sweep (`Walkers`); None, all three, where
        rows are independent. Rows of walkers have the weight of their target, ``log_w = ln Z`` (0 where that
        is not known), until they are reweighted.

    Arrays are read-only. Raises InputError when shapes disagree or a weight belongs to another row.
    """

    positions: np.ndarray
    log_q: np.ndarray
    u: np.ndarray
    log_w: np.ndarray
    valid: np.ndarray
    reason: np.ndarray
    temperature: float | None
    measure: str
    system_fingerprint: str
    domain: str
    topology_pdb: str
    provenance: dict[str, Any] = field(default_factory=dict)
    coverage: dict[str, Any] | None = None
    walker: np.ndarray | None = None
    group: np.ndarray | None = None
    step: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name, dtype in (
            ("log_q", np.float64),
            ("u", np.float64),
            ("log_w", np.float64),
            ("valid", np.bool_),
        ):
            object.__setattr__(self, name, _frozen(getattr(self, name), dtype))
        object.__setattr__(self, "reason", _frozen(self.reason, np.str_))
        object.__setattr__(self, "positions", _frozen(self.positions, None))
        for name in CHAIN_FIELDS:
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _frozen(getattr(self, name), np.int64))
        self._check()

    @classmethod
    def from_densities(
        cls,
        positions: ArrayLike,
        log_q: ArrayLike,
        u: ArrayLike,
        *,
        temperature: float | None,
        measure: str,
        system_fingerprint: str,
        domain: str,
        topology_pdb: str,
        reason: ArrayLike | None = None,
        provenance: Mapping[str, Any] | None = None,
        coverage: Mapping[str, Any] | None = None,
        **chains: ArrayLike | None,
    ) -> Ensemble:
        """Weigh samples: ``log_w = -u - log_q``; arguments as in the class (`chains`: walker, group, step).

        `reason` (n,) names the samples rejected so far (``""`` elsewhere). Rows whose positions,
        density or energy are not finite are rejected here with a reason of their own.
        """
        positions, log_q_n, u_n = (
            np.asarray(positions),
            np.asarray(log_q, np.float64),
            np.asarray(u, np.float64),
        )
        given = np.full(log_q_n.shape, "") if reason is None else np.asarray(reason, dtype=np.str_)
        reason_n = given.astype("U64") if given.dtype.itemsize < 256 else given.copy()
        finite_rows = np.isfinite(positions.reshape(len(positions), -1)).all(axis=1)
        for good, why in (
            (finite_rows, "position not finite"),
            (np.isfinite(log_q_n), "density not finite"),
            (np.isfinite(u_n), "energy not finite"),
        ):
            reason_n[(reason_n == "") & ~good] = why
        valid = reason_n == ""
        with np.errstate(invalid="ignore"):
            log_w = np.where(valid, -u_n - log_q_n, -np.inf)
        return cls(
            positions,
            log_q_n,
            u_n,
            log_w,
            valid,
            narrow(reason_n),
            temperature,
            measure,
            system_fingerprint,
            domain,
            topology_pdb,
            dict(provenance or {}),
            None if coverage is None else dict(coverage),
            **{name: None if rows is None else np.asarray(rows) for name, rows in chains.items()},
        )

    def __len__(self) -> int:
        return len(self.log_w)

    def __repr__(self) -> str:
        size = self.positions.shape[1]
        what = f"of {size} atoms" if self.is_molecular else f"of {size} coordinates"
        at = "in kT" if self.temperature is None else f"at {self.temperature:g} K"
        worth = f"ESS {100 * kish_ess(self.log_w):.3g} %"
        if self.walkers is not None:
            worth = f"of {self.walkers.number} walkers"
        return (
            f"<Ensemble: {len(self)} samples {what} {at}, {np.count_nonzero(~self.valid)} rejected; {worth}>"
        )

    def _repr_html_(self) -> str:
        found = self.diagnostics()
        rows = {
            "samples": len(self),
            "rejected": len(self) - found.n_valid,
            "atoms" if self.is_molecular else "coordinates": self.positions.shape[1],
            "temperature / K": self.temperature,
            "measure": self.measure,
            "domain": self.domain,
            "ESS / %": None if found.ess is None else 100 * found.ess,
            "k-hat": found.k_hat,
            **({} if found.chains is None else {"bulk samples": found.chains.ess_bulk}),
            "ln Z": with_error(found.log_z, found.log_z_standard_error),
            "verdict": found.verdict,
        }
        told = [*rows.items(), *(("", reason) for reason in found.reasons)]
        return html_table((), told, caption="Ensemble")

    def __getitem__(self, rows: slice | ArrayLike) -> Ensemble:
        """The rows selected by a slice, an index array or a mask, with all that belongs to them."""
        index = rows if isinstance(rows, slice) else np.atleast_1d(np.asarray(rows))
        arrays = {name: getattr(self, name)[index] for name in self.row_fields}
        dropped = ("requested", "energy_evaluations")  # they describe the whole draw
        provenance = {key: value for key, value in self.provenance.items() if key not in dropped}
        return replace(self, **arrays, provenance=provenance)

    @property
    def is_molecular(self) -> bool:
        """True for positions of atoms, False for a model system."""
        return self.positions.ndim == 3

    @property
    def row_fields(self) -> tuple[str, ...]:
        """The fields with one row a sample that are there."""
        return ROW_FIELDS if self.walker is None else (*ROW_FIELDS, *CHAIN_FIELDS)

    @cached_property
    def walkers(self) -> Walkers | None:
        """Who made each row; None where rows are independent."""
        if self.walker is None or self.group is None or self.step is None:
            return None
        known = self.provenance.get("chains") or {}
        log_z = (known.get("log_z"), known.get("log_z_standard_error"))
        return Walkers(self.walker, self.group, self.step, *log_z)

    def rejected(self) -> dict[str, int]:
        """How many samples were rejected, by reason."""
        names, counts = np.unique(self.reason[~self.valid], return_counts=True)
        return {str(name): int(count) for name, count in zip(names, counts, strict=True)}

    def diagnostics(self) -> Diagnostics:
        """Effective sample sizes, k-hat, ln Z and the verdict; of walkers what chains are judged by."""
        return self._diagnosed

    @cached_property
    def _diagnosed(self) -> Diagnostics:
        if self.walkers is None:
            return diagnose(self.log_w, self.coverage)
        record = self.provenance.get("chains") or {}
        return diagnose_chains(
            self.walkers, self.log_w, self.log_q, self.positions, record=record, coverage=self.coverage
        )

    def weights(self) -> np.ndarray:
        """Weights (n,) that sum to one; zero for rejected rows, everywhere when all are rejected."""
        return normalised_weights(self.log_w)

    def equal_weight_rows(self, number: int, *, seed: int) -> np.ndarray:
        """`number` row numbers, resampled by weight, for tools that know no weights; see `resample`."""
        return equal_weight_rows(self.log_w, number, np.random.default_rng(seed))

    def shards(self, rows: int) -> Iterator[Ensemble]:
        """The ensemble in pieces of at most `rows` rows, in order; `boltzgen.ensemble.join` puts them
        together.

        Each piece says in its provenance which ``rows`` of the draw it holds.
        """
        if rows < 1:
            raise InputError(f"a shard must hold at least one row, not {rows}.")
        for start in range(0, len(self), rows):
            piece = self[start : start + rows]
            yield replace(piece, provenance={**piece.provenance, "rows": [start, start + len(piece)]})

    def _check(self) -> None:
        n = self.log_w.size
        given = [name for name in CHAIN_FIELDS if getattr(self, name) is not None]
        if given and len(given) < len(CHAIN_FIELDS):
            raise InputError(f"ensemble: of {', '.join(CHAIN_FIELDS)} there is only {', '.join(given)}.")
        for name in self.row_fields:
            array = getattr(self, name)
            if array.shape[:1] != (n,) or (name != "positions" and array.ndim != 1):
                raise InputError(f"ensemble: {name} has shape {array.shape}, but log_w has {n} rows.")
        expected_ndim = 2 if self.measure.startswith("lebesgue") else 3
        if self.positions.ndim != expected_ndim or (expected_ndim == 3 and self.positions.shape[2] != 3):
            raise InputError(
                f"ensemble: positions have shape {self.positions.shape}, which the measure "
                f"{self.measure!r} does not allow."
            )
        if self.temperature is not None and not (np.isfinite(self.temperature) and self.temperature > 0):
            raise InputError(f"ensemble: the temperature must be positive, not {self.temperature} K.")
        if np.any((self.reason == "") != self.valid):
            raise InputError("ensemble: a sample is valid exactly when its reason is empty.")
        assert self.walkers is None or len(self.walkers) == n  # and what it refuses is refused here
        self._check_weights()

    def _check_weights(self) -> None:
        valid, log_q, u, log_w = self.valid, self.log_q, self.u, self.log_w
        if not np.all(np.isneginf(log_w[~valid])):
            raise InputError("ensemble: a rejected sample must have log_w = -inf.")
        with np.errstate(invalid="ignore"):
            off = np.abs(log_w + u + log_q) > 1e-6 * (1 + np.abs(u) + np.abs(log_q))
        wrong = np.flatnonzero(valid & (off | ~np.isfinite(log_w)))
        if wrong.size:
            raise InputError(
                f"ensemble: log_w of sample {wrong[0]} is not -u - log_q ({wrong.size} such rows); "
                "rows were swapped or energies are not reduced by kT."
            )


#: The fields with one row a sample, of every ensemble.
ROW_FIELDS = ("positions", "log_q", "u", "log_w", "valid", "reason")


def narrow(text: np.ndarray) -> np.ndarray:
    """`text` in the narrowest type that holds it: one long reason must not cost every row as much."""
    width = max(1, int(np.char.str_len(text).max(initial=0)))
    return text.astype(f"U{width}") if text.dtype.itemsize > 4 * width else text


def _frozen(array: Any, dtype: Any) -> np.ndarray:
    """A read-only view (a copy only where the type must change)."""
    view = np.asarray(array, dtype=dtype).view()
    view.flags.writeable = False
    return view
