"""By how much each long command passes its `--max-time`.

    python tests/benchmarks/verbs/time_limits.py FOLDER [--limit 20] [NAME ...]

prepares what they need in FOLDER (kept for the next call), runs each with a limit that it cannot finish
within, and prints the wall and processor seconds after the limit, the exit code, and the load at its start.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import time
from pathlib import Path

MODEL = "peptides-ff14sb-obc1"
INPUTS = [
    ("SYS", "prepare --sequence AGS --implicit obc1 -o SYS"),
    ("A", f"sample {MODEL} SYS -o A -n 60000 --seed 1"),
    ("B", f"sample {MODEL} SYS -o B -n 60000 --seed 2"),
    ("MD", "simulate SYS -o MD --engine torch --temperatures 310,380,460 --time 20ps"),
    ("DS", "dataset build dataset-capped-amino-acids -o DS --systems-only --split test"),
]
COMMANDS = {
    "simulate torch": "simulate SYS -o OUT --engine torch --temperatures 310,380,460 --time 10ns",
    "simulate openmm": "simulate SYS -o OUT --engine openmm --temperatures 310,380,460 --time 10ns",
    "train": "train run -o OUT system=SYS data=MD",
    "sample": f"sample {MODEL} SYS -o OUT -n 10000000",
    "sample --chains": f"sample {MODEL} SYS -o OUT -n 100000 --chains",
    "adapt": f"adapt {MODEL} SYS -o OUT --budget 1e6",
    "adapt --from chains": f"adapt {MODEL} SYS -o OUT --budget 1e6 --from chains",
    "check --probe": "check A --probe",
    "free-energy between": "free-energy between A B -o OUT.json --samples 10000000",
    "free-energy mbar": "free-energy mbar A B --system SYS --system SYS -o OUT.json",
    "dataset build": "dataset build dataset-capped-amino-acids -o OUT",
    "benchmark transfer": f"benchmark transfer {MODEL} DS -o OUT --samples 1000000",
    "run": "run SYS -o OUT --precision 0.01kT",
    "demo": "demo -o OUT",
    "selftest": "selftest",
}
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(COMMANDS)}; all")
    parser.add_argument("--limit", type=float, default=20.0, help="seconds")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    for name, words in INPUTS:
        if not (asked.folder / name).exists():
            subprocess.run(["boltzgen", *words.split(), "--quiet"], cwd=asked.folder, check=True)
    print(
        "| command | wall seconds after the limit | processor seconds after it | exit code | load |\n"
        "|---|---|---|---|---|"
    )
    for name in asked.names or COMMANDS:
        measure(asked.folder, name, asked.limit)


def measure(folder: Path, name: str, limit: float) -> None:
    for left in folder.glob("OUT*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    option = "--time" if name == "run" else "--max-time"
    words = ["boltzgen", *COMMANDS[name].split(), option, f"{limit:g}s"]
    load, begin, at_limit = os.getloadavg()[0], time.monotonic(), None
    with (folder / "log.txt").open("a") as log:
        print("$", *words, file=log, flush=True)
        process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log)
        while True:
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            if at_limit is None and time.monotonic() - begin >= limit:
                at_limit = processor_seconds(process.pid)
            time.sleep(0.05)
    wall = time.monotonic() - begin
    after = 0.0 if at_limit is None else used.ru_utime + used.ru_stime - at_limit
    code = os.waitstatus_to_exitcode(status)
    print(f"| `{name}` | {wall - limit:+.1f} | {after:.1f} | {code} | {load:.1f} |", flush=True)


def processor_seconds(pid: int) -> float:
    """Of the process and its children that have ended, from Linux's /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(int(field) for field in fields[11:15]) / TICKS


if __name__ == "__main__":
    main()
