"""Left out after faults, tried by a trickle, back after good answers: over any course of events."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nexus_proxy.config.model import QualityConfig
from nexus_proxy.quality.exclusion import (
    LONGEST_REST_SECONDS,
    RECENT_SECONDS,
    REST_SECONDS,
    Exclusion,
)

CONFIG = QualityConfig()


def told(exclusion: Exclusion, *failed: bool, now: float = 100.0) -> None:
    for one in failed:
        exclusion.begin()
        exclusion.note(one, now, CONFIG)


def excluded(now: float = 100.0) -> Exclusion:
    exclusion = Exclusion()
    told(exclusion, *[True] * 5, now=now)
    assert exclusion.excluded_until == now + REST_SECONDS
    return exclusion


def test_four_faults_are_too_few_and_the_fifth_is_told_once() -> None:
    exclusion = Exclusion()
    changes = [exclusion.note(True, 1.0, CONFIG) for _ in range(6)]
    assert changes == [False, False, False, False, True, False]
    assert (exclusion.faults, exclusion.out_of) == (5, 5)


@pytest.mark.parametrize(("good", "out"), [(5, True), (6, False)])
def test_half_of_the_outcomes_is_enough(good: int, out: bool) -> None:
    exclusion = Exclusion()
    told(exclusion, *[False] * good, *[True] * 5)
    assert bool(exclusion.excluded_until) is out


def test_a_busy_backend_that_breaks_is_left_out_after_ten_requests() -> None:
    exclusion = Exclusion()
    told(exclusion, *[False] * 1000, *[True] * 9)
    assert not exclusion.excluded_until
    told(exclusion, True)
    assert exclusion.excluded_until


def test_faults_of_more_than_an_hour_ago_do_not_count() -> None:
    exclusion = Exclusion()
    told(exclusion, *[True] * 4, now=0.0)
    told(exclusion, True, now=RECENT_SECONDS + 1)
    assert not exclusion.excluded_until


def test_two_good_trials_bring_it_back_with_nothing_held_against_it() -> None:
    exclusion = excluded()
    told(exclusion, False, now=131.0)
    assert exclusion.excluded_until
    told(exclusion, False, now=131.0)
    assert not exclusion.excluded_until
    told(exclusion, *[True] * 4, now=132.0)
    assert not exclusion.excluded_until


def test_each_failed_trial_doubles_the_rest_up_to_ten_minutes() -> None:
    exclusion, rests = excluded(), []
    for _ in range(7):
        now = exclusion.excluded_until
        told(exclusion, True, now=now)
        rests.append(exclusion.excluded_until - now)
    assert rests == [60.0, 120.0, 240.0, 480.0, 600.0, 600.0, 600.0]


def test_what_was_sent_before_says_nothing() -> None:
    exclusion = Exclusion()
    for _ in range(5):
        exclusion.note(True, 100.0, CONFIG)
    until = exclusion.excluded_until
    for failed in (False, False, False, True):
        exclusion.note(failed, 140.0, CONFIG)
    assert exclusion.excluded_until == until


def test_a_trial_whose_client_leaves_makes_room_for_another() -> None:
    exclusion = excluded()
    exclusion.begin()
    assert exclusion.sent == 1
    exclusion.settle()
    assert exclusion.sent == 0
    assert exclusion.excluded_until


def test_nobody_tried_for_an_hour() -> None:
    exclusion = excluded(now=0.0)
    assert not exclusion.lapse(REST_SECONDS + RECENT_SECONDS - 1)
    assert exclusion.lapse(REST_SECONDS + RECENT_SECONDS)
    assert not exclusion.excluded_until
    assert not exclusion.lapse(1e9)


class Course(RuleBasedStateMachine):
    """Requests begin and end in any order, and time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.exclusion = Exclusion()
        self.now = 1000.0
        self.running = 0
        self.ended = 0

    @rule()
    def begin(self) -> None:
        self.exclusion.begin()
        self.running += 1

    @precondition(lambda self: self.running)
    @rule(failed=st.booleans())
    def end(self, failed: bool) -> None:
        was_out = bool(self.exclusion.excluded_until)
        changed = self.exclusion.note(failed, self.now, CONFIG)
        self.running -= 1
        self.ended += 1
        is_out = bool(self.exclusion.excluded_until)
        assert changed is (was_out != is_out)
        assert not (is_out and not was_out and not failed), "left out after a good answer"
        assert not (was_out and not is_out and failed), "back after a fault"

    @precondition(lambda self: self.running)
    @rule()
    def leave(self) -> None:
        before = self.exclusion.excluded_until
        self.exclusion.settle()
        self.running -= 1
        assert self.exclusion.excluded_until == before

    @rule(seconds=st.floats(0.0, 4000.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def lapse(self) -> None:
        self.exclusion.lapse(self.now)

    @invariant()
    def rests_are_bounded(self) -> None:
        until = self.exclusion.excluded_until
        assert until == 0.0 or until <= self.now + LONGEST_REST_SECONDS

    @invariant()
    def trials_are_counted(self) -> None:
        assert 0 <= self.exclusion.sent <= self.running
        if not self.exclusion.excluded_until:
            assert self.exclusion.sent == 0

    @invariant()
    def nobody_is_judged_by_too_few(self) -> None:
        assert not self.exclusion.excluded_until or self.ended >= CONFIG.min_samples


TestCourse = Course.TestCase
TestCourse.settings = settings(max_examples=100, deadline=None)
