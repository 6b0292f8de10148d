"""Rules for the arguments of data modules, and sizes of data sets."""

from collections.abc import Mapping
from typing import Any

from vae_lightning.config.errors import InputError
from vae_lightning.config.moved_names import current_name
from vae_lightning.config.rules import Rule, boolean, either, integer, one_of, optional, seed, several, text

_IMAGES = {
    "batch_size": integer(at_least=1),
    "eval_batch_size": integer(at_least=1),
    "block_size": either(one_of("auto"), integer(at_least=1)),
    "val_size": integer(at_least=0),
    "split_seed": seed,
    "seed": seed,
    "binarisation": one_of("none", "dynamic", "threshold"),
    "device": text,
}
_PUBLISHED = {"root": text, "mirror": optional(text), **_IMAGES}

RULES: dict[str, dict[str, Rule]] = {
    "EMNISTDataModule": {
        **_PUBLISHED,
        "split": one_of("balanced", "byclass", "bymerge", "letters", "digits", "mnist"),
    },
    "FashionMNISTDataModule": _PUBLISHED,
    "FilesDataModule": {
        "path": text,
        "memory_map": either(one_of("auto"), boolean),
        "test_size": integer(at_least=1),
        **_IMAGES,
    },
    "ImageDataModule": _IMAGES,
    "ImageFolderDataModule": {
        **_IMAGES,
        "path": text,
        "size": optional(either(integer(at_least=1), several(integer(at_least=1), count=2))),
        "mode": one_of("auto", "grey", "rgb"),
        "cache": either(boolean, text),
        "test_size": either(one_of("auto"), integer(at_least=1)),
        "val_size": either(one_of("auto"), integer(at_least=0)),
    },
    "KMNISTDataModule": _PUBLISHED,
    "MNIST5kDataModule": _IMAGES,
    "MNISTDataModule": _PUBLISHED,
    "PublishedDataModule": _PUBLISHED,
}

# Number of images in EMNIST's splits: for training and validation, and for testing.
EMNIST_IMAGES = {
    "balanced": (112_800, 18_800),
    "byclass": (697_932, 116_323),
    "bymerge": (697_932, 116_323),
    "letters": (124_800, 20_800),
    "digits": (240_000, 40_000),
    "mnist": (60_000, 10_000),
}

# Classes by split; the labels of ``letters`` start at 1.
EMNIST_CLASSES = {"balanced": 47, "byclass": 62, "bymerge": 47, "letters": 27, "digits": 10, "mnist": 10}

# Number of images for training and validation, where it depends on the class alone.
_TRAINING_IMAGES = {
    "FashionMNISTDataModule": 60_000,
    "KMNISTDataModule": 60_000,
    "MNIST5kDataModule": 4_000,
    "MNISTDataModule": 60_000,
}


def check_val_size(node: Mapping[str, Any]) -> None:
    """Refuse a ``val_size`` that leaves no images for training, if the size of the data set is known in advance.

    Arguments:
        node: the ``data`` node of a configuration.

    Raises:
        InputError: naming the largest value allowed.
    """
    package, _, name = current_name(str(node.get("_target_"))).rpartition(".")
    available = _TRAINING_IMAGES.get(name) if package == __package__ else None
    if package == __package__ and name == "EMNISTDataModule" and "split" in node:
        available = EMNIST_IMAGES[node["split"]][0]
    if available is not None and "val_size" in node:
        check_leaves_training(node["val_size"], available)


def check_leaves_training(val_size: int, available: int) -> None:
    """Refuse a ``val_size`` that leaves none of the ``available`` images for training.

    Raises:
        InputError: naming the largest value allowed.
    """
    if val_size >= available:
        raise InputError(
            f"data.val_size={val_size}: must be a whole number from 0 to {available - 1}, "
            f"because the training set has {available} images"
        )
