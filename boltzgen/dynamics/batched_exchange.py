"""One round of replica exchange in many independent ladders at once.

Words: L ladders of K rungs; rung k has inverse temperature ``beta_k`` (coldest rung first). Row ``l * K + j``
of a batch is replica j of ladder l. Swaps move replicas between rungs; coordinates stay where they are.
Acceptance and the alternation of pairs are those of `exchange`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ExchangeRound:
    """Rungs of the replicas after a round, (R,) int; lower rungs `low` (P,) of the pairs that were attempted.

    accepted: (L, P) bool.
    """

    rung: Tensor
    low: Tensor
    accepted: Tensor


def replicas_on_rungs(rung: Tensor, rungs: int) -> Tensor:
    """Row of the batch on each rung of each ladder, (L, K), given the rung (R,) of each row."""
    within = rung.reshape(-1, rungs).argsort(dim=1)
    return within + rungs * torch.arange(len(within), device=rung.device)[:, None]


def exchange_round(
    round_index: int, energy: Tensor, rung: Tensor, beta: Tensor, generator: torch.Generator
) -> ExchangeRound:
    """Neighbours swap with probability ``min(1, exp((beta_k - beta_k+1)(U_k - U_k+1)))``.

    Even rounds attempt the pairs (0, 1), (2, 3), ..., odd ones (1, 2), (3, 4), ... A replica whose energy is
    not finite stays on its rung.

    Args:
        energy: (R,) in the unit of ``1 / beta``. rung: (R,) int. beta: (K,).
    """
    rungs = len(beta)
    on = replicas_on_rungs(rung, rungs)
    low = torch.arange(round_index % 2 if rungs > 2 else 0, rungs - 1, 2, device=rung.device)
    cold, hot = on[:, low], on[:, low + 1]
    values = energy.double()
    log_ratio = (beta[low] - beta[low + 1]).double() * (values[cold] - values[hot])
    chance = torch.rand(log_ratio.shape, generator=generator, dtype=torch.float64, device=rung.device)
    accepted = torch.isfinite(log_ratio) & (chance.log() < log_ratio)
    new = rung.clone()
    moved = accepted.to(rung.dtype)
    new[cold] = low + moved
    new[hot] = low + 1 - moved
    return ExchangeRound(new, low, accepted)
