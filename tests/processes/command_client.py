"""``python -IS command_client.py FOLDER WORDS`` does what ``python WORDS`` does, by a `CommandServer`.

The standard library alone: it starts at once. `tests/processes/command_server.py` says why this is faithful.
"""

import json
import os
import signal
import socket
import sys
from contextlib import suppress


def main(folder: str, words: list[str]) -> None:
    """Ask the server and end as the command ended; become a new process where it refuses."""
    answer = _asked(folder, words) if _streams_are_open() else b"refused"
    if answer == b"refused":
        os.execv(sys.executable, [sys.executable, *words])
    if not answer:
        sys.exit("The server of commands has gone (tests/processes/command_server.py).")
    code = int(answer)
    if code < 0:
        with suppress(OSError):  # SIGKILL is always as it was
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _asked(folder: str, words: list[str]) -> bytes:
    umask = os.umask(0)
    os.umask(umask)
    request = {"words": words, "folder": os.getcwd(), "umask": umask, "environment": dict(os.environ)}
    request["interruptible"] = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"/proc/self/fd/{os.open(folder, os.O_PATH)}/commands")
        data = json.dumps(request).encode() + b"\n"
        sent = socket.send_fds(connection, [data], [0, 1, 2])
        if data[sent:]:  # else the server may have answered, and gone
            connection.sendall(data[sent:])
        return connection.recv(100)


def _streams_are_open() -> bool:
    try:
        for number in range(3):
            os.fstat(number)
    except OSError:
        return False
    return True


main(sys.argv[1], sys.argv[2:])
