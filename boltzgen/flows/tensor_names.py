"""Names of the tensors of our flows in files, and what they were called before.

The attributes of a flow name its tensors. In models and checkpoints of version 0.1.0 they are ``enter``,
``leave`` and ``own``; since then each says what the part is (input filter, output weights, per coordinate).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

#: In every file of before, and in none of after: the first weight of the token encoder.
_OLD = "encoder.enter.0.weight"

#: Beginning of an old name -> of the new one.
_RENAMED = (
    (re.compile(r"^encoder\.enter\."), "encoder.input_network."),
    (re.compile(r"^enter\."), "input_filter."),
    (re.compile(r"^own_shift\."), "per_coordinate_shift."),
    (re.compile(r"^own\."), "per_coordinate."),
    (re.compile(r"^heads\."), "head."),
    (re.compile(r"^leave\."), "output_weights."),
    (re.compile(r"^(layers\.\d+\.)enter_"), r"\1input_"),
    (re.compile(r"^(layers\.\d+\.)leave_"), r"\1output_"),
)


def upgrade_tensor_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`tensors` of a flow by the names of today; those that have them already come back as they are.

    Only the flows of before have the tensor ``encoder.enter.0.weight``, so that names of other flows, which
    may have an ``own`` of theirs, stay. The tensors and their order are the same.
    """
    if _OLD not in tensors:
        return dict(tensors)
    return {_today(name): value for name, value in tensors.items()}


def _today(name: str) -> str:
    for pattern, new in _RENAMED:
        renamed, found = pattern.subn(new, name)
        if found:
            return renamed
    return name
