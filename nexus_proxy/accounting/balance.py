"""What the month in force has come to: in the file, on the way there, and at other replicas."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from nexus_proxy.accounting.entries import ALL, NOTHING, Entry, Sums
from nexus_proxy.store.sums import Agreed, Row

BySums = Mapping[str, Sums]


class Found(NamedTuple):
    """What a look into the file found: the newest month, the sums of one, and the file's id."""

    month: str
    newest: str | None
    sums: BySums
    replica: str


class Balance:
    """The sums of `month` by key: `ALL`, or the name of an API key.

    `owner` names this process to other replicas. `is_known` is whether the sums have begun with
    what the file holds.
    """

    def __init__(self, month: str, owner: str) -> None:
        self.month, self.is_known = month, False
        self._owner, self._replica = owner, ""
        self._revision = 0
        self._apart: set[str] = set()
        """Keys of which this process has published what its file did not take."""
        self._file: dict[str, Sums] = {}
        """As the file had them last."""
        self._due: dict[tuple[str, str], Sums] = {}
        """What is posted and not in the file yet, by month and key."""
        self._others: dict[str, Sums] = {}
        """What other replicas have come to, as was last seen."""

    def own(self, key: str) -> Sums:
        """What this replica has come to, with what is not in the file yet."""
        return self._file.get(key, NOTHING) + self._due.get((self.month, key), NOTHING)

    def elsewhere(self, key: str) -> Sums:
        """What the other replicas have."""
        return self._others.get(key, NOTHING)

    def total(self, key: str) -> Sums:
        """What all have."""
        return self.own(key) + self.elsewhere(key)

    def totals(self) -> dict[str, Sums]:
        """The same for every API key."""
        due = (key for month, key in self._due if month == self.month)
        return {key: self.total(key) for key in {*self._file, *self._others, *due} - {ALL}}

    def turn_to(self, month: str) -> bool:
        """Begin a month, unless it is in force already."""
        if month == self.month:
            return False
        self.month, self._file, self._others, self._apart = month, {}, {}, set()
        return True

    def expect(self, entry: Entry, change: Sums) -> None:
        """What has been posted will change the sums, and counts from now on."""
        for one in {ALL, entry.key}:
            due = self._due.pop((entry.month, one), NOTHING) + change
            if due != NOTHING:
                self._due[entry.month, one] = due

    def learn(self, entry: Entry, change: Sums, sums: BySums) -> None:
        """The file has taken in a `change`, and has these sums now."""
        self.expect(entry, -change)
        if entry.month == self.month:
            self._file.update(sums)

    def learn_all(self, found: Found) -> None:
        """The file was looked into."""
        if found.month == self.month:
            self._file, self._replica, self.is_known = dict(found.sums), found.replica, True

    def learn_others(self, month: str, agreed: Agreed) -> None:
        """The other replicas have told what they have come to."""
        if month == self.month:
            self._others = {key: Sums(*figures) for key, figures in agreed.others.items()}

    def rows(self, keys: Iterable[str] | None = None, *, is_apart: bool) -> list[Row]:
        """What this replica publishes, of these keys or all: what the file has come to, and, where
        it cannot be written just now (`is_apart`), what is due, which is this process's alone."""
        rows = []
        self._revision += 1
        for key in self._file if keys is None else keys:
            if (sums := self._file.get(key)) is not None and self._replica:
                rows.append(Row(self._replica, key, sums.revision, sums.figures))
            due = self._due.get((self.month, key), NOTHING) if is_apart else NOTHING
            if due != NOTHING or key in self._apart:
                self._apart.add(key)
                rows.append(Row(self._owner, key, self._revision, due.figures))
        return rows


def find(month: str, connection: sqlite3.Connection) -> Found:
    """How a month stands in the file. A job of the store."""
    rows = connection.execute(
        "SELECT key, spent, reserved, unknown, revision FROM totals WHERE month = ?", (month,)
    )
    sums = {key: Sums(*values) for key, *values in rows}
    (newest,) = connection.execute("SELECT MAX(month) FROM totals").fetchone()
    (replica,) = connection.execute("SELECT id FROM replica").fetchone()
    return Found(month, str(newest) if newest else None, sums, replica)
