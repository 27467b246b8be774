"""How ``-n`` shares out tests: a file stays on one process, for its fixtures; pages of docs have none.

Of our own, since the groups of pytest-xdist 3.8 (``--dist loadgroup``) are lost with pytest 9.2 and nothing
is said: tests are dealt out one by one, and each process makes every fixture of every file.
"""

from __future__ import annotations

from xdist.scheduler.loadscope import LoadScopeScheduling


def group_of(nodeid: str) -> str:
    """What stays together with this test: its file; of pages of docs each is alone."""
    file, _, test = nodeid.partition("::")
    return test if test.startswith("test_snippets_run[") else file


class Shares(LoadScopeScheduling):
    """Groups in the order of the tests; a process that has done its own takes the next."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)
