"""What each argument may be: one table for the constructors and, before anything heavy is imported, the commands."""

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

__all__ = [
    "BETA",
    "CONVOLUTIONS",
    "EMNIST",
    "EVALUATION",
    "EXPORT",
    "FIGURES",
    "FILES",
    "FREE_BITS",
    "GRADIENTS",
    "IMAGES",
    "IWAE",
    "LIKELIHOOD",
    "MNIST",
    "OPTIMIZER",
    "PROBE",
    "RESIDUAL",
    "SCHEDULES",
    "SCORE_FUNCTION",
    "STACKED",
    "SWEEP",
    "TRAINING_IMAGES",
    "VAE",
    "InputError",
    "Rule",
    "anything",
    "check",
    "check_choice",
    "check_config",
    "check_installed",
    "check_trackers",
    "integer",
    "number",
    "one_of",
    "optional",
    "several",
    "text",
]


class InputError(ValueError):
    """Bad input, told in one line: the key, its value, what is allowed. The commands print it without a traceback."""


@dataclass(frozen=True)
class Rule:
    """What one argument may be, in words (they follow "must be") and as a predicate."""

    allowed: str
    accepts: Callable[[Any], bool]


def integer(at_least: int) -> Rule:
    """A whole number; ``True`` is none."""
    return Rule(
        f"a whole number of at least {at_least}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= at_least,
    )


def number(above: float | None = None, at_least: float | None = None, below: float | None = None) -> Rule:
    """A finite number within bounds."""
    bounds = [
        f"{word} {bound:g}"
        for word, bound in (("above", above), ("at least", at_least), ("below", below))
        if bound is not None
    ]
    return Rule(
        f"a finite number {' and '.join(bounds)}".strip(),
        lambda value: (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and math.isfinite(value)
            and (above is None or value > above)
            and (at_least is None or value >= at_least)
            and (below is None or value < below)
        ),
    )


def one_of(*choices: object) -> Rule:
    """One of a few values, of the same type (``1`` is not ``True``)."""
    return Rule(
        f"one of {', '.join(map(str, choices))}",
        lambda value: any(type(value) is type(choice) and value == choice for choice in choices),
    )


def optional(rule: Rule) -> Rule:
    """As the rule says, or None."""
    return Rule(f"{rule.allowed}, or null", lambda value: value is None or rule.accepts(value))


def several(rule: Rule, count: int | None = None) -> Rule:
    """A list or tuple of one or more (or exactly ``count``) values that each follow the rule."""
    return Rule(
        f"a list of {count or 'one or more'} values, each {rule.allowed}",
        lambda value: (
            isinstance(value, list | tuple)
            and (len(value) >= 1 if count is None else len(value) == count)
            and all(map(rule.accepts, value))
        ),
    )


text = Rule("a non-empty text", lambda value: isinstance(value, str) and value != "")
anything = Rule("anything", lambda value: True)
_flag = one_of(True, False)
_seed = integer(at_least=0)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if type(value) is dict:
        return all(isinstance(key, str) and _is_plain(content) for key, content in value.items())
    return value is None or type(value) in (bool, int, float, str)


_made = Rule(
    "a mapping with _target_, the class, and its arguments, plain values",
    lambda value: isinstance(value, Mapping) and text.accepts(value.get("_target_")) and _is_plain({**value}),
)

VAE = {
    "latent_dim": integer(at_least=1),
    "widths": several(integer(at_least=1)),
    "image_shape": several(integer(at_least=1), count=3),
    "optimizer": Rule(
        "a mapping with _target_, the class, and its arguments", lambda value: isinstance(value, Mapping)
    ),
    "seed": _seed,
    "decoder_widths": optional(several(integer(at_least=1))),
    "activation": one_of("relu", "leaky_relu", "elu", "silu", "gelu", "tanh"),
    "encoder": optional(_made),
    "decoder": optional(_made),
    "likelihood": _made,
    "objective": _made,
    "estimator": _made,
    "schedule": _made,
}

BETA = {"beta": number(at_least=0), "schedule": optional(_made)}
FREE_BITS = {"free_nats": number(at_least=0)}
IWAE = {"samples": integer(at_least=1), "doubly_reparameterized": _flag}

SCORE_FUNCTION = {"baseline": _flag}

SCHEDULES: dict[str, dict[str, Rule]] = {
    "Constant": {},
    "WarmUp": {"steps": integer(at_least=1), "start": number(at_least=0)},
    "Cosine": {"steps": integer(at_least=1), "warmup_steps": integer(at_least=0), "end": number(at_least=0)},
    "Cyclical": {"period": integer(at_least=1), "rising": number(above=0)},
    "Staircase": {"at": several(integer(at_least=1)), "factors": several(number(at_least=0))},
}

# Of networks; the rest of their arguments the VAE gives.
CONVOLUTIONS = {"channels": several(integer(at_least=1))}
RESIDUAL = {**CONVOLUTIONS, "blocks": integer(at_least=1)}

OPTIMIZER = {
    "_target_": text,
    "lr": number(above=0),
    "betas": several(number(at_least=0, below=1), count=2),
    "eps": number(above=0),
    "weight_decay": number(at_least=0),
    "momentum": number(at_least=0, below=1),
    "fused": optional(_flag),
}

IMAGES = {
    "batch_size": integer(at_least=1),
    "eval_batch_size": integer(at_least=1),
    "block_size": integer(at_least=1),
    "val_size": integer(at_least=0),
    "split_seed": _seed,
    "seed": _seed,
    "binarisation": one_of("none", "dynamic", "threshold"),
    "device": text,
}
MNIST = {"root": text, "mirror": optional(text)}
EMNIST = {"split": one_of("balanced", "byclass", "bymerge", "letters", "digits", "mnist")}
FILES = {"path": text, "test_size": integer(at_least=1)}

PROBE = {
    "every_n_epochs": optional(integer(at_least=1)),
    "C": Rule(
        "a finite number above 0, or a list of such",
        lambda value: number(above=0).accepts(value) or several(number(above=0)).accepts(value),
    ),
    "standardize": _flag,
    "max_train_images": optional(integer(at_least=10)),
    "max_iter": integer(at_least=1),
}

FIGURES = {
    "every_n_epochs": optional(integer(at_least=1)),
    "reconstructions": integer(at_least=1),
    "samples": integer(at_least=1),
    "embedded": integer(at_least=2),
    "directory": text,
}

GRADIENTS = {
    "every_n_epochs": integer(at_least=1),
    "images": integer(at_least=1),
    "estimates": integer(at_least=2),
    "references": integer(at_least=2),
}

TRAINER = {
    "max_epochs": integer(at_least=1),
    "accelerator": text,
    "devices": Rule(
        "auto, -1, a whole number of at least 1, or a list of devices' indices",
        lambda value: value in ("auto", -1) or integer(1).accepts(value) or several(integer(0)).accepts(value),
    ),
    "num_nodes": integer(at_least=1),
    # Others start processes in ways of their own, or split what is too small to be split.
    "strategy": one_of("auto", "ddp"),
    "precision": one_of(
        "32-true", "16-mixed", "bf16-mixed", "64-true", "bf16-true", "16-true", "32", "16", "64", "bf16", 32, 16, 64
    ),
}

SETTINGS = {"seed": _seed, "run_dir": text, "restart": _flag}

SWEEP = {
    "objective": Rule(
        "a metric of training or validation such as val/loss or probe/val_acc, for the test set is for test alone",
        lambda value: (
            isinstance(value, str) and re.fullmatch(r"(train|val)/\w+|probe/(train|val)_acc", value) is not None
        ),
    ),
    "on_failure": one_of("continue", "stop"),
}

LIKELIHOOD = {"samples": integer(at_least=1), "seed": _seed, "chunk_size": integer(at_least=1)}

EXPORT = {"run": text, "checkpoint": one_of("last", "best")}

EVALUATION = (
    EXPORT
    | LIKELIHOOD
    | {
        "split": one_of("test", "val", "train"),
        "images": optional(integer(at_least=2)),
        "samples": optional(integer(at_least=0)),
        "probe_C": optional(PROBE["C"]),
    }
)

STACKED = {"max_stack": optional(integer(at_least=1))}

RULES = {
    "vae_lightning.VAE": {**VAE, "image_shape": optional(VAE["image_shape"])},  # null: the data's
    "vae_lightning.objectives.NegativeELBO": {},
    "vae_lightning.objectives.BetaELBO": BETA,
    "vae_lightning.objectives.FreeBits": FREE_BITS,
    "vae_lightning.objectives.IWAE": IWAE,
    "vae_lightning.likelihoods.Bernoulli": {},
    "vae_lightning.likelihoods.ContinuousBernoulli": {},
    "vae_lightning.likelihoods.Gaussian": {},
    "vae_lightning.estimators.Reparameterization": {},
    "vae_lightning.estimators.NoGradient": {},
    "vae_lightning.estimators.ScoreFunction": SCORE_FUNCTION,
    **{f"vae_lightning.schedules.{name}": rules for name, rules in SCHEDULES.items()},
    "vae_lightning.networks.ConvEncoder": CONVOLUTIONS,
    "vae_lightning.networks.ConvDecoder": CONVOLUTIONS,
    "vae_lightning.networks.ResidualEncoder": RESIDUAL,
    "vae_lightning.networks.ResidualDecoder": RESIDUAL,
    "vae_lightning.MNISTDataModule": {**MNIST, **IMAGES},
    "vae_lightning.FashionMNISTDataModule": {**MNIST, **IMAGES},
    "vae_lightning.KMNISTDataModule": {**MNIST, **IMAGES},
    "vae_lightning.EMNISTDataModule": {**MNIST, **EMNIST, **IMAGES},
    "vae_lightning.MNIST5kDataModule": IMAGES,
    "vae_lightning.FilesDataModule": {**FILES, **IMAGES},
    "vae_lightning.LinearProbe": PROBE,
    "vae_lightning.figures.Figures": FIGURES,
    "vae_lightning.throughput.Throughput": {},
    "vae_lightning.gradients.GradientStatistics": GRADIENTS,
}

# Loggers whose packages are extras, by whose names they go.
TRACKERS = {"lightning.pytorch.loggers.WandbLogger": "wandb", "lightning.pytorch.loggers.MLFlowLogger": "mlflow"}

# How many training images there are before validation takes its part, in each split where there are several.
TRAINING_IMAGES: dict[tuple[str, str | None], int] = {
    ("vae_lightning.MNISTDataModule", None): 60_000,
    ("vae_lightning.FashionMNISTDataModule", None): 60_000,
    ("vae_lightning.KMNISTDataModule", None): 60_000,
    ("vae_lightning.EMNISTDataModule", "balanced"): 112_800,
    ("vae_lightning.EMNISTDataModule", "byclass"): 697_932,
    ("vae_lightning.EMNISTDataModule", "bymerge"): 697_932,
    ("vae_lightning.EMNISTDataModule", "letters"): 124_800,
    ("vae_lightning.EMNISTDataModule", "digits"): 240_000,
    ("vae_lightning.EMNISTDataModule", "mnist"): 60_000,
    ("vae_lightning.MNIST5kDataModule", None): 4_000,
}


def check(values: Mapping[str, Any], rules: Mapping[str, Rule], prefix: str = "") -> None:
    """Refuse the first value that breaks its rule; keys without a rule pass.

    Raises:
        InputError: in one line the key with its prefix, the value and what is allowed.
    """
    for key, value in values.items():
        if key in rules and not rules[key].accepts(value):
            shown = value if str(value).isprintable() else repr(value)  # in one line
            raise InputError(f"{prefix}{key}={shown}: must be {rules[key].allowed}")


def check_choice(given: str, name: str, choices: Iterable[str]) -> None:
    """Refuse a name that is none of the choices, with the nearest one as a hint.

    Raises:
        InputError: in one line what was given, the nearest choice and all choices.
    """
    choices = sorted(choices)
    if name not in choices:
        near = difflib.get_close_matches(name, choices, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(f"{given}: there is no such name; {hint}allowed: {', '.join(choices)}")


def check_config(config: Mapping[str, Any]) -> None:
    """Refuse what can be refused before torch is imported: keys, types and ranges of everything in the tables above.

    Arguments:
        config: the resolved configuration as plain dicts and lists.

    Raises:
        InputError: the first thing that is wrong.
    """
    for group in ("data", "model", "optimizer", "trainer", "callbacks", "logger"):
        if not isinstance(config.get(group), Mapping):
            raise InputError(f"{group}={config.get(group)}: must be a mapping, as in a file of conf/{group}")
    check(config, SETTINGS)
    check(config.get("sweep", {}), SWEEP, "sweep.")
    check(config.get("trainer", {}), TRAINER, "trainer.")
    check(config.get("optimizer", {}), OPTIMIZER, "optimizer.")
    # The model last: it repeats what stands in groups of their own, by whose names it is to be told.
    for name in sorted(config, key=lambda name: name == "model"):
        _check_targets(config[name], f"{name}.")
    data = config.get("data", {})
    available = TRAINING_IMAGES.get((data.get("_target_"), data.get("split")))
    if available is not None and data["val_size"] >= available:
        raise InputError(
            f"data.val_size={data['val_size']}: must be a whole number from 0 to {available - 1}, "
            f"for the training set has {available} images"
        )

    for name, node in config.get("callbacks", {}).items():
        several_C = isinstance((node or {}).get("C"), list | tuple) and len(node["C"]) > 1
        if several_C and data.get("val_size") == 0:
            raise InputError(
                f"callbacks.{name}.C={node['C']}: must be one value, since data.val_size=0 leaves none to choose by"
            )


def check_trackers(loggers: Mapping[str, Any]) -> None:
    """Refuse loggers whose package is not installed.

    Raises:
        InputError: with the command that installs it.
    """
    for name, node in loggers.items():
        package = TRACKERS.get((node or {}).get("_target_", ""))
        if package is not None:
            check_installed(f"logger={name}", package)


def check_installed(what: str, extra: str, *packages: str) -> None:
    """Refuse what needs packages that are not installed.

    Arguments:
        what: needs them, in the user's words.
        extra: that brings them.
        packages: by name; if none, the one of the extra's name.

    Raises:
        InputError: with the command that installs the extra.
    """
    if not all(map(find_spec, packages or [extra])):
        raise InputError(f"{what}: needs an extra: pip install 'vae-lightning[{extra}]'")


def _check_targets(node: Any, path: str = "") -> None:
    if not isinstance(node, Mapping):
        return
    rules = RULES.get(node.get("_target_", ""))
    if rules is not None:
        for key in set(node) - {"_target_"}:
            check_choice(f"{path}{key}={node[key]}", key, rules)
        check(node, rules, path)
    for key, child in node.items():
        _check_targets(child, f"{path}{key}.")
