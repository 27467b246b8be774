from __future__ import annotations
def read_foreign(*a, **k): raise NotImplementedError
