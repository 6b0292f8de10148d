"""What the jobs of a report have in common: data, model and settings, command, versions and machine."""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from vae_lightning.config.errors import InputError
from vae_lightning.reports.levels import ordered_levels, shortened
from vae_lightning.reports.results import SweepResults
from vae_lightning.runs.directory import ENVIRONMENT, read_json
from vae_lightning.runs.stored_config import read_config

__all__ = ["read_facts"]

# The groups that make up a model, at the top of a configuration or below its model.
GROUPS = ("data", "model", "posterior", "prior", "likelihood", "objective", "estimator", "optimizer", "schedule")
# Keys that decide nothing about the results.
_INCIDENTAL = ("_target_", "seed", "device", "block_size", "eval_batch_size", "fused", "root")
# The most values of an axis, or distinct commands, that are listed.
MOST = 8


def read_facts(base: Path, jobs: Sequence[str], found: SweepResults) -> list[tuple[str, str]]:
    """Return the facts as pairs of a name and a text; those that no file tells are left out.

    The configuration is read from one job; what varies is named from the results.

    Arguments:
        base: the folder to which the names are relative.
        jobs: the names of the jobs.
        found: the results of these jobs.
    """
    states = found.jobs["status"].value_counts()
    facts = {"jobs": ", ".join(f"{count} {state}" for state, count in states.items())}
    facts |= _settings(_config(base, jobs), found.settings)
    for axis in [*found.settings, *(["seed"] if "seed" in found.jobs else [])]:
        facts[f"varied: {axis}"] = _levels(found.jobs[axis])
    environments = []
    for job in jobs:
        with suppress(InputError, FileNotFoundError):
            environments.append(read_json(base / job / ENVIRONMENT))
    facts |= _origin(environments)
    seconds = found.jobs["seconds"].astype(float).sum() if "seconds" in found.jobs else 0
    facts["time of all jobs"] = f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
    return [(name, text) for name, text in facts.items() if text]


def _config(base: Path, jobs: Iterable[str]) -> dict[str, Any]:
    """Return the first configuration that can be read."""
    for job in jobs:
        with suppress(InputError):  # another job tells the same
            return read_config(base / job)
    return {}


def _settings(config: Mapping[str, Any], axes: Sequence[str]) -> dict[str, str]:
    facts = {}
    model = config.get("model")
    for group in GROUPS:
        node = config.get(group, model.get(group) if isinstance(model, Mapping) else None)
        if isinstance(node, Mapping):
            facts[group] = "varied" if group in axes else _node(group, node, axes)
    trainer = config.get("trainer")
    if isinstance(trainer, Mapping) and "max_epochs" not in axes:
        facts["epochs"] = str(trainer.get("max_epochs", ""))
    return facts


def _node(group: str, node: Mapping[str, Any], axes: Sequence[str]) -> str:
    """Return a class and its plain arguments as text, without those that vary."""
    name = re.sub(r"DataModule$", "", str(node.get("_target_", "")).rpartition(".")[2])
    values = [
        f"{key} {shortened(value)}"
        for key, value in node.items()
        if key not in _INCIDENTAL and value is not None and not isinstance(value, Mapping)
        if not {str(key), f"{group}.{key}", f"model.{group}.{key}"} & {*axes}
    ]
    return ", ".join([name, *values])


def _levels(values: Iterable[Any]) -> str:
    """Return the distinct values of an axis, or the first and the last of many."""
    levels = [shortened(level) for level in ordered_levels(value for value in values if value is not None)]
    return ", ".join(levels) if len(levels) <= MOST else f"{levels[0]} to {levels[-1]} ({len(levels)} values)"


def _origin(environments: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    def distinct(texts: Iterable[str]) -> str:
        known = [*dict.fromkeys(filter(None, texts))]
        return "; ".join(known[:MOST]) + f"; and {len(known) - MOST} others" * (len(known) > MOST)

    def part(environment: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        value = environment.get(name)
        return value if isinstance(value, Mapping) else {}

    def machine(environment: Mapping[str, Any]) -> str:
        of = part(environment, "machine")
        gpus = of.get("gpus") or []
        return ", ".join(filter(None, [*map(str, gpus), str(of.get("processor", "")), f"{of.get('cores', '?')} cores"]))

    def commit(environment: Mapping[str, Any]) -> str:
        git = part(environment, "git")
        return f"{git['commit']}{', with changes' if git.get('changes') else ''}" if git.get("commit") else ""

    started = []
    for environment in environments:
        with suppress(TypeError, ValueError):
            started.append(datetime.fromisoformat(str(environment.get("started"))).strftime("%Y-%m-%d %H:%M %Z"))
    started.sort()
    return {
        "command": distinct(str(environment.get("command", "")) for environment in environments),
        "started": ", the last job ".join(dict.fromkeys([*started[:1], *started[-1:]])),
        "versions": distinct(
            ", ".join(f"{name} {version}" for name, version in part(environment, "versions").items() if version)
            for environment in environments
        ),
        "commit": distinct(map(commit, environments)),
        "machine": distinct(machine(environment) for environment in environments if part(environment, "machine")),
    }
