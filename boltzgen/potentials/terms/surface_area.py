"""The surface term LCPO: solvent-accessible area by linear combinations of pairwise overlaps."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from boltzgen.potentials.records.solvents import SurfaceAreaParameters
from boltzgen.potentials.terms.custom_term import BlockTerm


class SurfaceArea(BlockTerm):
    """``tension sum_i [P1 S_i + P2 sum_j A_ij + sum_jk (P3 + P4 A_ij) A_jk]`` over neighbours j, k of i.

    S_i is the area of the sphere of atom i, A_ij what that of j buries of it, neighbours are spheres that
    meet, and k is one of j too. Source: Weiser, Shenkin and Still, J. Comput. Chem. 20, 217 (1999), as in
    OpenMM's LCPOForce. The energy has a small step where two spheres begin to meet: P3 A_jk appears at once.
    """

    name = "surface_area"

    def __init__(self, parameters: SurfaceAreaParameters) -> None:
        p = parameters
        active = np.flatnonzero(p.radius)
        radius = p.radius[active]
        self.rows = max(1, len(active) ** 2)
        super().__init__(
            active=active,
            radius=radius,
            reach=radius[:, None] + radius,
            difference=radius[:, None] ** 2 - radius**2,
            itself=np.eye(len(active)),
            spheres=np.array(p.tension * 4 * np.pi * (p.p1 * p.radius**2).sum()),
            p2=p.tension * p.p2[active],
            p3=p.tension * p.p3[active],
            p4=p.tension * p.p4[active],
        )

    def block_energy(self, x: Tensor) -> Tensor:
        c = self.constants.like(x)
        places = x.index_select(0, c["active"]).permute(2, 0, 1)
        apart = places[:, :, None] - places[:, None]
        r = ((apart * apart).sum(-1) + c["itself"]).sqrt()
        radius = c["radius"][:, None]
        far = (r >= c["reach"]) | (c["itself"] > 0)  # NaN is not far, and stays
        met = (~far).to(x.dtype)
        area = torch.where(
            far, torch.zeros_like(r), torch.pi * radius * (2 * radius - r - c["difference"] / r)
        )
        two = c["p2"] @ area.sum(2).T
        three = c["p3"] @ ((met @ area) * met).sum(2).T
        four = c["p4"] @ ((area @ area) * met).sum(2).T
        return c["spheres"] + two + three + four
