"""Image files in a folder, and the splits and classes that its folders give."""

import os
from pathlib import Path
from typing import NamedTuple

from vae_lightning.config.errors import InputError

__all__ = ["ImageTree", "find_images"]

SUFFIXES = (".png", ".jpg", ".jpeg")

# The names of a split's folder, in lower case.
SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}


class ImageTree(NamedTuple):
    """Image files by split, ``train`` first; ``val`` and ``test`` only if they have folders. All are sorted by path.

    Attributes:
        files: the paths of each split.
        labels: the class of each path; empty lists without classes.
        class_names: the names of the classes 0, 1, ..., sorted; None without classes.
        skipped: numbers of files left out, by the reason.
    """

    files: dict[str, list[Path]]
    labels: dict[str, list[int]]
    class_names: tuple[str, ...] | None
    skipped: dict[str, int]


def find_images(root: Path) -> ImageTree:
    """Find the PNG and JPEG files in a folder and below it.

    The class of an image is the name of the topmost folder that it lies in, below the folder of its split.

    Arguments:
        root: a folder of images or of classes, or one with such folders named ``train``, ``val`` and ``test``.

    Raises:
        InputError: if there are no images, or their folders are ambiguous.
    """
    if not root.is_dir():
        raise InputError(f"data.path={root}: must be a folder of PNG and JPEG files")
    images, skipped = _walk(root)
    names = _split_names(root)
    files: dict[str, list[Path]] = {split: [] for split in names.values()} or {"train": []}
    classes: dict[str, list[str]] = {split: [] for split in files}
    outside = 0
    for path in sorted(images, key=lambda path: path.parts):
        below = path.relative_to(root).parts
        if names and below[0] not in names:
            outside += 1
            continue
        split, below = (names[below[0]], below[1:]) if names else ("train", below)
        files[split].append(path)
        classes[split].append(below[0] if len(below) > 1 else "")  # no folder is named so
    for split, found in files.items():
        if not found:
            place = next((root / name for name in names if names[name] == split), root)
            raise InputError(f"data.path={root}: must hold PNG or JPEG files, and {place} holds none")
    known = sorted({name for each in classes.values() for name in each})
    if len(known) > 1 and not known[0]:
        alone = next(
            path for split in files for path, name in zip(files[split], classes[split], strict=True) if not name
        )
        raise InputError(
            f"data.path={root}: must hold images or folders of images, the classes, but {alone} is in none of the "
            f"folders {', '.join(known[1:4])}{', ...' if len(known) > 4 else ''}"
        )
    reasons = {"hidden or neither PNG nor JPEG": skipped, f"outside the folders {', '.join(names)}": outside}
    labelled = bool(known[0])
    places = {name: label for label, name in enumerate(known)}
    return ImageTree(
        files,
        {split: [places[name] for name in each] if labelled else [] for split, each in classes.items()},
        tuple(known) if labelled else None,
        {reason: count for reason, count in reasons.items() if count},
    )


def _walk(root: Path) -> tuple[list[Path], int]:
    """Return the images below a folder, and the number of other files."""
    images: list[Path] = []
    skipped, seen = 0, set()
    for place, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else [name for name in folders if not name.startswith(".")]
        if real not in seen:
            found = [name for name in names if not name.startswith(".") and name.lower().endswith(SUFFIXES)]
            images += [Path(place, name) for name in found]
            skipped += len(names) - len(found)
        seen.add(real)  # links can lead in circles
    return images, skipped


def _split_names(root: Path) -> dict[str, str]:
    """Return the split that each of some folders holds, training first; nothing if there are no splits."""
    below = sorted(path.name for path in root.iterdir() if path.is_dir())
    found = {name: split for split, names in SPLITS.items() for name in below if name.lower() in names}
    twice = [name for name, split in found.items() if [*found.values()].count(split) > 1]
    if twice:
        raise InputError(f"data.path={root}: must hold one folder of {found[twice[0]]}, not {' and '.join(twice)}")
    if found and "train" not in found.values():
        raise InputError(
            f"data.path={root}: must hold a folder train beside {' and '.join(found)}; if these are classes, put "
            "them in a folder train together with the others"
        )
    return found
