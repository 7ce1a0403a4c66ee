"""Days and months of spend, in the user's time zone, and what to do when the clock jumps."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

AHEAD_SECONDS = 48 * 3600.0
"""How far ahead of the clock the newest saved month may begin and still be believed."""


class Calendar:
    """Buckets by local date. `zone`: an IANA name; None: the machine's own zone."""

    def __init__(self, zone: str | None = None) -> None:
        self._zone: tzinfo | None = None if zone is None else ZoneInfo(zone)
        self._month = ""
        self._day = ""
        self._day_from = self._day_until = 0.0

    def day(self, at: float) -> str:
        """`YYYY-MM-DD` of a moment in seconds since the epoch. Cheap within one day."""
        if not self._day_from <= at < self._day_until:
            local = self._local(at)
            morrow = datetime.combine(local.date() + timedelta(days=1), time(), self._zone)
            self._day = local.strftime("%Y-%m-%d")
            self._day_from, self._day_until = at, morrow.timestamp()
        return self._day

    def month(self, at: float) -> str:
        """`YYYY-MM` in force at a moment.

        A clock that is set back by up to `AHEAD_SECONDS` does not reopen the month before; one
        that was further ahead than that was wrong, and is followed back.
        """
        now = self.day(at)[:7]
        if now < self._month and self.begins(self._month) - at <= AHEAD_SECONDS:
            return self._month
        self._month = now
        return now

    def resume(self, newest: str | None, at: float) -> bool:
        """Go on from the newest month that was saved. False: it lies too far in the future to be
        believed, so the clock was wrong then, or is now."""
        if newest is None or newest <= max(self.day(at)[:7], self._month):
            return True
        if self.begins(newest) - at > AHEAD_SECONDS:
            return False
        self._month = newest
        return True

    def begins(self, month: str) -> float:
        """When a month begins, in seconds since the epoch."""
        year, number = map(int, month.split("-"))
        return datetime(year, number, 1, tzinfo=self._zone).timestamp()

    def _local(self, at: float) -> datetime:
        return datetime.fromtimestamp(at, UTC).astimezone(self._zone)
