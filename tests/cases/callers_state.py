"""What a process shares with a library that it calls: streams of random numbers, and global settings.

`callers_state` reads all of it without changing any; `changed` says what differs. A foundation that was not
imported yet has no state, so that its import shows as well (a key that appears).
"""

from __future__ import annotations

import decimal
import gc
import hashlib
import locale
import logging
import os
import random
import resource
import signal
import socket
import sys
import tempfile
import threading
import warnings
from typing import Any


def callers_state() -> dict[str, Any]:
    """Every setting by name, each as something that compares by value."""
    return {
        **_of_python(),
        **_of_logging(),
        **_of_numpy(),
        **_of_torch(),
        **_of_matplotlib(),
        **_of_rdkit(),
    }


def changed(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Settings that differ, each as (before, after); one that is new is compared with nothing."""
    return {
        key: (before.get(key), after.get(key))
        for key in sorted({*before, *after})
        if key not in before or key not in after or before[key] != after[key]
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def _of_python() -> dict[str, Any]:
    mask = os.umask(0o022)
    os.umask(mask)
    signals = {s.name: signal.getsignal(s) for s in sorted(signal.Signals)}
    context = decimal.getcontext()
    return {
        "random": _digest(random.getstate()),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "umask": mask,
        "cores": sorted(os.sched_getaffinity(0)),
        "limits": {
            name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if "LIMIT_" in name
        },
        **{f"signal {name}": handler for name, handler in signals.items()},
        "timers": [signal.getitimer(which)[1] for which in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL)],
        "locale": locale.setlocale(locale.LC_ALL),
        "decimal": (context.prec, context.rounding, context.Emin, context.Emax),
        "warnings": [tuple(map(str, entry)) for entry in warnings.filters],
        "showwarning": warnings.showwarning,
        "search path": list(sys.path),
        "standard streams": (id(sys.stdin), id(sys.stdout), id(sys.stderr)),
        "hooks": (sys.excepthook, sys.displayhook, threading.excepthook, sys.gettrace(), sys.getprofile()),
        "recursion": sys.getrecursionlimit(),
        "switch interval": sys.getswitchinterval(),
        "collection": (gc.isenabled(), gc.get_threshold(), gc.callbacks[:]),
        "socket timeout": socket.getdefaulttimeout(),
        "temporary files": tempfile.tempdir,
    }


def _of_logging() -> dict[str, Any]:
    root = logging.getLogger()
    loggers = {name: one for name, one in root.manager.loggerDict.items() if isinstance(one, logging.Logger)}
    fresh = (logging.NOTSET, [], [], True, False)
    found: dict[str, Any] = {
        "logging disabled below": root.manager.disable,
        "logging captures warnings": logging._warnings_showwarning is not None,  # type: ignore[attr-defined]
        "logging class": logging.getLoggerClass(),
        "logger root": (root.level, root.handlers[:], root.filters[:]),
    }
    for name, one in loggers.items():
        state = (one.level, one.handlers[:], one.filters[:], one.propagate, one.disabled)
        if state != fresh:  # a logger that nobody touched is no change
            found[f"logger {name}"] = state
    return found


def _of_numpy() -> dict[str, Any]:
    if "numpy" not in sys.modules:
        return {}
    import numpy as np

    return {
        "numpy stream": _digest([np.asarray(part).tobytes() for part in np.random.get_state()[1:]]),
        "numpy errors": (np.geterr(), np.geterrcall()),
        "numpy printing": np.get_printoptions(),
        "numpy buffer": np.getbufsize(),
    }


def _of_torch() -> dict[str, Any]:
    if "torch" not in sys.modules:
        return {}
    import torch

    found = {
        "torch stream": _digest(torch.get_rng_state().numpy().tobytes()),
        "torch threads": torch.get_num_threads(),
        "torch threads of a new thread": _in_a_new_thread(torch.get_num_threads),
        "torch threads between operations": torch.get_num_interop_threads(),
        "torch dtype": torch.get_default_dtype(),
        "torch device": str(torch.get_default_device()),
        "torch gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "torch anomalies": torch.is_anomaly_enabled(),
        "torch determinism": (
            torch.are_deterministic_algorithms_enabled(),
            torch.get_deterministic_debug_mode(),
            torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        ),
        "torch products": (
            torch.get_float32_matmul_precision(),
            torch.backends.cuda.matmul.allow_tf32,
            torch.backends.cudnn.allow_tf32,
        ),
        "torch cudnn": (torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark),
        "torch autocast": (torch.is_autocast_enabled("cpu"), torch.is_autocast_cache_enabled()),
        "torch warnings": torch.is_warn_always_enabled(),
        "torch denormals": float(torch.tensor(1e-310, dtype=torch.float64) * 0.5) > 0,
        "torch printing": vars(torch._tensor_str.PRINT_OPTS).copy(),
        "torch files": torch.multiprocessing.get_sharing_strategy(),
        "torch group": torch.distributed.is_initialized(),
    }
    if torch.cuda.is_initialized():
        found["torch stream of the GPU"] = _digest(torch.cuda.get_rng_state().numpy().tobytes())
    return found


def _of_matplotlib() -> dict[str, Any]:
    if "matplotlib" not in sys.modules:
        return {}
    import matplotlib

    found: dict[str, Any] = {
        "matplotlib settings": _digest(
            sorted((k, repr(v)) for k, v in matplotlib.rcParams.copy().items() if k != "backend")
        ),
        "matplotlib backend": repr(dict.__getitem__(matplotlib.rcParams, "backend")),
    }
    if "matplotlib.pyplot" in sys.modules:
        from matplotlib._pylab_helpers import Gcf

        found["matplotlib figures"] = sorted(Gcf.figs)
    return found


def _of_rdkit() -> dict[str, Any]:
    if "rdkit" not in sys.modules:
        return {}
    from rdkit import rdBase

    return {"RDKit logs": rdBase.LogStatus()}


def _in_a_new_thread(read: Any) -> Any:
    """A setting as a thread that the caller starts from now on would find it."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(read()))
    thread.start()
    thread.join()
    return found[0]
