"""From hours to advice: which model to have loaded where, by when, and how sure that is. Pure.

    confidence = 0.5 * steady * min((ratio - 1) / 3, 1)
               + 0.2 * min(requests / (5 * fleet.min_request_count), 1)
               + 0.2 * min(days / (2 * fleet.min_sample_days), 1)

and a tenth more or less where the week's trend is up or down by a fifth, and a tenth less where the
size of the model is not known.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, tzinfo

from msgspec import Struct

from nexus_proxy.config.model import FleetConfig
from nexus_proxy.fleet.profile import (
    EVERY_DAY,
    HOURS,
    WEEKENDS,
    Peak,
    by_day,
    mean_at,
    peaks,
    trend,
)

NOTABLE_TREND = 0.2
NUDGE = 0.1
WARM_REQUESTS = 12
"""Requests an hour that keep a model loaded by themselves: one in five minutes, as long as Ollama
waits for the next one."""
HOT_REQUESTS = 1.0
"""A model that is asked for so often at those hours of a day is not thrown out for another."""
LEAD_SECONDS = 300

Key = tuple[str, str]
"""Backend and model."""
Counts = Mapping[Key, Mapping[int, int]]
"""Requests by the start of their hour, in seconds since the epoch."""


class Place(Struct, frozen=True, kw_only=True):
    """A backend that can be told to load models. `sizes` has the bytes of each that it lists, None
    where that is not known; `limit` is how many bytes may be loaded, `most` how many models (None:
    not told). `seconds` is how long each took to load."""

    backend: str
    sizes: Mapping[str, int | None]
    limit: int
    most: int | None = None
    seconds: Mapping[str, float] = {}


class Recommendation(Struct, frozen=True, kw_only=True):
    """Have `model_id` loaded by `load_at` (`HH:MM`, local time) on the first of
    `target_backend_ids`; the others would do too. `confidence_score` is 0 to 1."""

    recommendation_id: str
    model_id: str
    target_backend_ids: tuple[str, ...]
    load_at: str
    days: str
    confidence_score: float
    reasons: tuple[str, ...]
    reasoning: str
    vram_required_bytes: int | None
    generated_at: float
    expires_at: float


class FleetReport(Struct, frozen=True, kw_only=True):
    """All advice, the surest first. `note` says why there is none; `left_out` why a peak that was
    seen has none."""

    fleet_enabled: bool
    generated_at: float
    days: int
    requests: int
    note: str | None
    recommendations: tuple[Recommendation, ...]
    left_out: tuple[str, ...]


def advise(
    counts: Counts,
    places: Sequence[Place],
    config: FleetConfig,
    *,
    now: float,
    zone: tzinfo | None = None,
) -> FleetReport:
    """What the history of requests says. `now` is seconds since the epoch, `zone` where the hours
    of the day are (None: this machine's)."""
    pairs = {key: by_day(hours, now, zone) for key, hours in counts.items()}
    span = max(map(len, pairs.values()), default=0)
    requests = sum(sum(hours) for days in pairs.values() for hours in days.values())
    note = _too_little(span, requests, config)
    found: list[Recommendation] = []
    left_out: list[str] = []
    if note is None:
        for model in sorted({model for _, model in pairs}):
            advice = _Model(model, pairs, places, config, now)
            found += advice.recommendations()
            left_out += advice.left_out
        found.sort(key=lambda one: -one.confidence_score)
        if not found:
            note = "no model is asked for at certain hours so regularly that it could be foreseen"
            note = note if not left_out else "what could be foreseen is left out"
    return FleetReport(
        fleet_enabled=True,
        generated_at=now,
        days=span,
        requests=requests,
        note=note,
        recommendations=tuple(found[: config.max_recommendations]),
        left_out=tuple(left_out),
    )


def _too_little(days: int, requests: int, config: FleetConfig) -> str | None:
    if days < config.min_sample_days:
        return (
            f"{days} whole days of requests are known, and {config.min_sample_days} are needed "
            "(fleet.min_sample_days)"
        )
    if requests < config.min_request_count:
        return (
            f"{requests} requests are known, and {config.min_request_count} are needed "
            "(fleet.min_request_count)"
        )
    return None


class _Model:
    """What can be said of one model."""

    def __init__(
        self,
        name: str,
        pairs: Mapping[Key, Mapping[date, Sequence[int]]],
        places: Sequence[Place],
        config: FleetConfig,
        now: float,
    ) -> None:
        self._name, self._pairs, self._config, self._now = name, pairs, config, now
        self._places = [place for place in places if name in place.sizes]
        self._days = _added([days for (_, model), days in pairs.items() if model == name])
        self._requests = sum(map(sum, self._days.values()))
        self._trend = trend(self._days)
        self.left_out: list[str] = []

    def recommendations(self) -> Iterator[Recommendation]:
        """One for each peak that something can be done about."""
        enough = len(self._days) >= self._config.min_sample_days
        if not enough or self._requests < self._config.min_request_count:
            return
        for peak in peaks(self._days):
            if (why := self._pointless(peak)) is not None:
                self._leave_out(peak, why)
                continue
            fitting = [place for place in self._places if self._fits(place, peak)]
            if fitting:
                yield self._recommend(peak, fitting)

    def _pointless(self, peak: Peak) -> str | None:
        if self._trend == -1.0:
            return "nobody has asked for it in the last week"
        before = mean_at(self._days, (peak.hour - 1) % HOURS)
        if before >= WARM_REQUESTS:
            return f"some {before:.0f} requests in the hour before keep it loaded anyway"
        return None if self._places else "no backend that is up and has it can be told to load it"

    def _fits(self, place: Place, peak: Peak) -> bool:
        """Whether it can be loaded there without throwing out what is used then."""
        hot = self._hot(place, peak)
        names = ", ".join(hot)
        if place.most is not None and len(hot) + 1 > place.most:
            self._leave_out(
                peak, f"{place.backend} keeps {place.most} loaded, and {names} is used then"
            )
            return False
        needed, taken = place.sizes[self._name], sum(place.sizes[m] or 0 for m in hot)
        if needed is not None and needed + taken > place.limit:
            beside = f" beside {names}, used then" if hot else ""
            room = f"{needed / 1e9:.1f} GB do not fit into {(place.limit - taken) / 1e9:.1f} GB"
            self._leave_out(peak, f"on {place.backend} its {room}{beside}")
            return False
        return True

    def _hot(self, place: Place, peak: Peak) -> list[str]:
        return [
            model
            for model in place.sizes
            if model != self._name
            and mean_at(self._pairs.get((place.backend, model), {}), peak.hour, peak.hours)
            >= HOT_REQUESTS
        ]

    def _leave_out(self, peak: Peak, why: str) -> None:
        self.left_out.append(f"{self._name}, asked for from {_clock(peak.hour)} on: {why}")

    def _recommend(self, peak: Peak, fitting: Sequence[Place]) -> Recommendation:
        def served(place: Place) -> float:
            days = self._pairs.get((place.backend, self._name), {})
            return mean_at(days, peak.hour, peak.hours)

        ordered = sorted(fitting, key=lambda place: (-served(place), place.backend))
        best = ordered[0]
        size = best.sizes[self._name]
        reasons = tuple(self._reasons(peak, best))
        asked = f"{self._name}/{peak.hour}/{peak.days}"
        return Recommendation(
            recommendation_id=f"rec-{hashlib.sha256(asked.encode()).hexdigest()[:8]}",
            model_id=self._name,
            target_backend_ids=tuple(place.backend for place in ordered),
            load_at=self._load_at(peak, best),
            days=peak.days,
            confidence_score=self._confidence(peak, size),
            reasons=reasons,
            reasoning="; ".join(reasons),
            vram_required_bytes=size,
            generated_at=self._now,
            expires_at=self._now + self._config.analysis_interval_seconds,
        )

    def _reasons(self, peak: Peak, best: Place) -> Iterator[str]:
        until = _clock((peak.hour + peak.hours) % HOURS)
        yield (
            f"{peak.requests:.0f} requests between {_clock(peak.hour)} and {until} {peak.days}, "
            f"{peak.ratio:.1f} times an average hour"
        )
        yield f"so on {peak.steady:.0%} of {self._span(peak)} days"
        if self._trend is not None and abs(self._trend) >= NOTABLE_TREND:
            yield f"{_change(self._trend)} the week before"
        if (seconds := best.seconds.get(self._name)) is not None:
            yield f"loading it takes {best.backend} {seconds:.0f} s"
        if best.sizes[self._name] is None:
            yield "its size is not known, so neither is whether there is room"
        elif hot := self._hot(best, peak):
            yield f"there is room beside {', '.join(hot)}, used then"

    def _span(self, peak: Peak) -> int:
        if peak.days == EVERY_DAY:
            return len(self._days)
        on_weekends = peak.days == WEEKENDS
        return sum((day.weekday() >= 5) is on_weekends for day in self._days)

    def _confidence(self, peak: Peak, size: int | None) -> float:
        config = self._config
        score = 0.5 * peak.steady * min((peak.ratio - 1.0) / 3.0, 1.0)
        score += 0.2 * min(self._requests / (5 * config.min_request_count), 1.0)
        score += 0.2 * min(len(self._days) / (2 * config.min_sample_days), 1.0)
        if self._trend is not None and abs(self._trend) >= NOTABLE_TREND:
            score += NUDGE if self._trend > 0 else -NUDGE
        if size is None:
            score -= NUDGE
        return round(min(1.0, max(0.0, score)), 2)

    def _load_at(self, peak: Peak, best: Place) -> str:
        lead = max(LEAD_SECONDS, 2 * best.seconds.get(self._name, 0.0))
        minutes = (peak.hour * 60 - int(lead // 60)) % (HOURS * 60)
        return f"{minutes // 60:02}:{minutes % 60:02}"


def _added(all_days: Sequence[Mapping[date, Sequence[int]]]) -> dict[date, list[int]]:
    added: dict[date, list[int]] = {}
    for days in all_days:
        for day, counts in days.items():
            before = added.get(day, [0] * HOURS)
            added[day] = [a + b for a, b in zip(before, counts, strict=True)]
    return added


def _change(trend: float) -> str:
    if trend >= 1.0:
        return f"{trend + 1.0:.0f} times as much as"
    return f"{abs(trend):.0%} {'more' if trend > 0 else 'less'} than"


def _clock(hour: int) -> str:
    return f"{hour:02}:00"
