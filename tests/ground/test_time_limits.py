"""A limit of time is looked ahead to; no clock of the machine decides anything here."""

from __future__ import annotations

import pytest

from boltzgen import interrupts
from boltzgen.dynamics import replica_exchange
from boltzgen.interrupts import StopRequest, in_turns
from boltzgen.progress import TimeLeft, hours_and_minutes


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 500.0

    def __call__(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(interrupts, "time", found)
    monkeypatch.setattr(replica_exchange, "time", found)
    return found


def test_what_is_too_long_ends_a_run_before_it_begins(clock):
    stop = StopRequest(60.0, started=clock.now - 15.0)  # the command began before
    assert stop.left == 45.0 and stop.leaves(44.0) and not stop.requested and stop.reason == ""
    assert not stop.leaves(46.0)
    assert stop.requested and stop.left == 0.0 and stop.reason == "time limit of 60 s reached"


def test_without_a_limit_there_is_always_time(clock):
    stop = StopRequest()
    assert stop.leaves(1e9) and stop.left == float("inf")
    stop.ask()
    assert not stop.leaves(0.0) and stop.reason == "stopped on request"


@pytest.mark.parametrize(("seconds_a_step", "all_made"), [(0.001, True), (0.7, False)])
def test_a_stop_waits_for_what_is_short_and_gives_up_what_is_long(clock, seconds_a_step, all_made):
    """500 steps: half a second of work is finished, six minutes are not; a look comes each half second."""
    stop = StopRequest()
    turns = []

    def advance(steps):
        turns.append(steps)
        clock.now += steps * seconds_a_step
        stop.ask()

    assert in_turns(500, advance, stop) is all_made
    assert sum(turns) == (500 if all_made else 10)
    assert all_made or len(turns) == 1


def test_turns_do_not_change_with_nobody_stopping(clock):
    turns = []

    def advance(steps):
        turns.append(steps)
        clock.now += 0.1 * steps

    assert in_turns(23, advance, StopRequest())
    assert turns == [10, 5, 5, 3]


@pytest.mark.parametrize(("each", "reached"), [(0.01, 110), (1.0, 104), (7.0, 102)])
def test_a_slow_block_is_cut_short_at_the_segment_that_fits(clock, each, reached):
    """Blocks of ten segments from the hundredth on, a limit of 4.4 s (of 17 s for the slowest)."""
    stop = StopRequest(4.4 if each < 7 else 17.0, started=clock.now)
    last = 100
    for segment in replica_exchange.segments_until(100, 110, stop):
        clock.now += each
        last = segment
    assert last == reached


def test_the_time_left_is_that_of_the_later_half():
    clock = Clock()
    left = TimeLeft(clock)
    assert left.seconds is None
    left.expect(300.0)
    clock.now += 100.0
    assert left.seconds == 200.0
    for done in range(0, 101, 10):  # slowly at first, 100 s each
        left.update(done, 1000)
        clock.now += 100.0
    for done in range(200, 900, 100):  # then ten times as much in the same time
        left.update(done, 1000)
        clock.now += 100.0
    left.update(900, 1000)
    # 90 parts were done at half of the time, 810 in the 900 s since
    assert left.seconds == pytest.approx(100 / (810 / 900))
    clock.now += 30.0
    assert left.seconds == pytest.approx(100 / (810 / 900) - 30)
    left.update(0, 50)  # something else begins, of which no pace is known; what was expected is over
    assert left.seconds == 0.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (89.4, "89 s"),
        (90.0, "0:02 h"),
        (3600.0, "1:00 h"),
        (7620.0, "2:07 h"),
        (93600.0, "1 d 2:00 h"),
        (float("inf"), "unknown"),
    ],
)
def test_hours_and_minutes(seconds, text):
    assert hours_and_minutes(seconds) == text
