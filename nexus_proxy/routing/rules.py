"""The routing part of the configuration, compiled once per load: globs, aliases, policies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import translate

from nexus_proxy.config.model import PolicyConfig, Privacy, RoutingConfig, Strategy, Zone
from nexus_proxy.routing.types import Demand

MAX_ALIAS_HOPS = 3


class Rules:
    """What the operator wants. Immutable; a reload makes a new one."""

    def __init__(self, config: RoutingConfig) -> None:
        self.strategy: Strategy = config.strategy
        self.strategy_name = config.strategy.value
        self.weights: Mapping[str, int] = {
            "priority": config.weights.priority,
            "load": config.weights.load,
            "latency": config.weights.latency,
        }
        self.max_attempts = config.max_retries + 1
        self.stabilise_prompts = config.stabilise_prompts
        self.fallbacks: Mapping[str, tuple[str, ...]] = {
            model: tuple(chain) for model, chain in config.fallbacks.items()
        }
        self._aliases = {k: v for k, v in config.aliases.items() if not _is_glob(k)}
        self._alias_globs = [
            (re.compile(translate(k)), v) for k, v in config.aliases.items() if _is_glob(k)
        ]
        self.has_cost_limits = any(p.max_cost_per_request is not None for p in config.policies)
        self._policies = [
            (re.compile(translate(policy.model_pattern)), _demand(policy))
            for policy in config.policies
        ]

    def alias_path(self, name: str) -> tuple[str, ...]:
        """`name` and what it stands for, hop by hop. An exact alias beats a glob; the first glob
        of the file beats later ones. The checked configuration has no cycle."""
        if not self._aliases and not self._alias_globs:
            return (name,)
        path = [name]
        while len(path) <= MAX_ALIAS_HOPS:
            target = self._aliases.get(path[-1]) or self._glob_alias(path[-1])
            if target is None or target in path:
                break
            path.append(target)
        return tuple(path)

    def demand(self, names: tuple[str, ...], floor: Demand) -> Demand:
        """The strictest of `floor` and of the policies for each name on the way.

        For one name the first matching policy counts; over several names the strictest word.
        """
        if not self._policies:
            return floor
        zone, tier, fallback, most = floor
        for name in names:
            found = next((d for pattern, d in self._policies if pattern.match(name)), None)
            if found is None:
                continue
            zone = max(zone, found.zone)
            if found.min_tier is not None:
                tier = found.min_tier if tier is None else max(tier, found.min_tier)
            fallback = fallback and found.fallback_allowed
            if found.max_usd is not None:
                most = found.max_usd if most is None else min(most, found.max_usd)
        return Demand(zone, tier, fallback, most)

    def chain(self, path: tuple[str, ...]) -> tuple[str, ...]:
        """Fallback models for a name on the way; the name that was asked comes first."""
        return next((self.fallbacks[name] for name in path if name in self.fallbacks), ())

    def _glob_alias(self, name: str) -> str | None:
        return next((v for pattern, v in self._alias_globs if pattern.match(name)), None)


def _is_glob(pattern: str) -> bool:
    return any(mark in pattern for mark in "*?[")


def _demand(policy: PolicyConfig) -> Demand:
    zone = Zone.RESTRICTED if policy.privacy is Privacy.RESTRICTED else Zone.OPEN
    most = policy.max_cost_per_request
    return Demand(zone, policy.min_tier, policy.fallback_allowed, most)
