"""The contract of every flow.

Words: B rows, D coordinates (padded to the widest molecule of the batch), ``Embedding`` what the flow
computed from the molecules of a context.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from boltzgen.conditioning.context import Context

#: What ``embed`` returns is the flow's own business; callers only hand it back.
Embedding = Any

#: What a partial pass goes on from is the flow's own business too.
Kept = Any


class Flow(nn.Module, ABC):
    """A normalised density over the internal coordinates of whatever molecules the context names.

    Obligations of a subclass:

    * The density of a row depends on that row, its molecule and its temperature alone: padding,
      order of the batch and the other rows never change it.
    * It integrates to one over the exact support of the coordinates.
    * A bad row (NaN, outside the support) gets ``log_prob`` NaN or -inf, and never ends the batch.
    * ``sample`` returns the log density of the very pass that drew the sample.
    """

    def __repr__(self) -> str:
        """One line; ``print(*flow.named_modules())`` has every layer."""
        numbers = list(self.parameters())
        place = f", {str(numbers[0].dtype).removeprefix('torch.')} on {numbers[0].device}" if numbers else ""
        return f"<{type(self).__name__} of {sum(one.numel() for one in numbers)} parameters{place}>"

    @abstractmethod
    def embed(self, context: Context) -> Embedding:
        """What depends on the molecules and temperatures alone; computed once, kept by the caller."""

    @abstractmethod
    def log_prob(self, coordinates: Tensor, embedding: Embedding) -> Tensor:
        """Log density (B,) float64 of `coordinates` (B, D), flat in the unmasked coordinates."""

    @abstractmethod
    def sample(self, embedding: Embedding, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """One draw for each row of the context: coordinates (B, D) and their log density (B,) float64."""

    def use_compiler(self, enabled: bool = True) -> bool:
        """Draw by compiled operations from now on, where no gradient is asked; returns whether that is done.

        The numbers agree to rounding. A flow that has nothing to compile goes on as before.
        """
        return False


class InvertibleFlow(Flow):
    """A flow with a one-to-one map to a latent space: ``encode`` goes to the latent, ``decode`` comes back.

    Latents of linear coordinates are standard normal, of circular coordinates uniform on [-pi, pi);
    padding is zero. Both maps return ``(value, log|det d(out)/d(in)|)``.
    """

    @abstractmethod
    def encode(self, coordinates: Tensor, embedding: Embedding) -> tuple[Tensor, Tensor]:
        """coordinates (B, D) -> latents (B, D), log_det (B,)."""

    @abstractmethod
    def decode(self, latents: Tensor, embedding: Embedding) -> tuple[Tensor, Tensor]:
        """latents (B, D) -> coordinates (B, D), log_det (B,)."""

    @abstractmethod
    def draw_latents(self, embedding: Embedding, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Latents (B, D) of every row and their log density (B,) float64."""

    @abstractmethod
    def latent_log_prob(self, latents: Tensor, embedding: Embedding) -> Tensor:
        """Log density (B,) float64 of `latents` under the base distribution."""

    def decode_kept(self, latents: Tensor, embedding: Embedding) -> tuple[Tensor, Tensor, Kept]:
        """`decode`, and what `decode_changed` needs of this pass to go on from it.

        Returns
        -------
        coordinates (B, D), log_det (B,), and `kept`: the flow's own business, row by row. Not differentiable.
        Here nothing is kept: a flow whose coordinates are made one after another overrides all three methods.
        """
        with torch.no_grad():
            return (*self.decode(latents, embedding), None)

    def decode_changed(
        self, latents: Tensor, embedding: Embedding, kept: Kept, first: int
    ) -> tuple[Tensor, Tensor, Kept]:
        """`decode_kept` of latents of which only those from coordinate `first` on may have changed.

        Parameters
        ----------
        latents: (B, D); no latent of a coordinate before `first` differs from those that `kept` was
            made of. Where one does, the result means nothing: it is not checked.
        embedding: that of the pass that made `kept`.
        kept: of `decode_kept`, `decode_changed`, `encode_kept` or `keep`; it is left as it is.
        first: row of the molecule's table of coordinates, 0 to D.

        Returns
        -------
        As `decode_kept`. Here the whole pass is made anew.
        """
        return self.decode_kept(latents, embedding)

    def encode_kept(self, coordinates: Tensor, embedding: Embedding) -> tuple[Tensor, Tensor, Kept]:
        """`encode`, and what `decode_changed` and `encode_rows` go on from. Not differentiable."""
        with torch.no_grad():
            return (*self.encode(coordinates, embedding), None)

    def place_kept(self, coordinates: Tensor, embedding: Embedding) -> Kept:
        """What `encode_rows` goes on from at `coordinates`, without their latents: no pass of the network."""
        return None

    def can_redraw(self, embedding: Embedding, rows: Sequence[int]) -> bool:
        """Whether `encode_rows` and `decode_rows` treat coordinates `rows` of every molecule's own table."""
        return False

    def encode_rows(
        self, embedding: Embedding, kept: Kept, rows: Sequence[int]
    ) -> tuple[Tensor, Tensor, Kept]:
        """The latents of coordinates `rows` alone, each given those that the flow draws before it.

        With q(x_i | x_before i) the conditional densities of the flow, the product of those of `rows`,

            q_rows(x) = n(z_rows) exp(log_det),

        is the density with which `decode_rows` draws these coordinates where all others stay as they are: the
        proposal of a Metropolis-Hastings move in the coordinates. Not differentiable.

        Parameters
        ----------
        kept: of `decode_kept`, `decode_changed`, `encode_kept`, `place_kept` or `decode_rows`; it has the
            coordinates, and is left as it is. rows: ascending, such that `can_redraw`.

        Returns
        -------
        latents (B, D), of `rows` (elsewhere anything); log_det (B,), NaN outside the support; and what
        `decode_rows` goes on from.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot draw some coordinates given all others.")

    def decode_rows(
        self, latents: Tensor, embedding: Embedding, begun: Kept, rows: Sequence[int]
    ) -> tuple[Tensor, Tensor, Kept]:
        """The coordinates that `encode_rows` saw, with those of `rows` drawn from `latents` (B, D) instead.

        begun: what `encode_rows` of the same rows gave.

        Returns
        -------
        coordinates (B, D), those not in `rows` as they were; log_det (B,) of this map from the latents of
        `rows` to their coordinates, so that these have the density ``n(z_rows) exp(-log_det)``; and what
        `encode_rows` of any rows goes on from. `decode_changed` cannot: the latents of coordinates that
        come later are others now, see `encode_kept`.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot draw some coordinates given all others.")

    def keep(self, accepted: Tensor, new: Kept, old: Kept) -> Kept:
        """What is kept of each row: of `new` where `accepted` (B,) bool, else of `old`; neither changes."""
        return None

    def log_prob(self, coordinates: Tensor, embedding: Embedding) -> Tensor:
        latents, log_det = self.encode(coordinates, embedding)
        return self.latent_log_prob(latents, embedding) + log_det

    def sample(self, embedding: Embedding, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        latents, log_density = self.draw_latents(embedding, generator=generator)
        coordinates, log_det = self.decode(latents, embedding)
        return coordinates, log_density - log_det
