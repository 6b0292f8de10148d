"""PNG and JPEG files, decoded into memory."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from vae_lightning.config.errors import InputError, one_line
from vae_lightning.distributed import rank
from vae_lightning.memory import check_memory
from vae_lightning.progress_bar import progress_bar

__all__ = ["decode_images"]

# Pillow's modes: of grey values, and of colours.
GREY, COLOUR = ("1", "L", "LA"), ("P", "PA", "RGB", "RGBA")

ORIENTATION = 0x0112  # a tag of EXIF; from 5 on, width and height are exchanged


def decode_images(files: Sequence[Path], size: tuple[int, int] | None = None, mode: str = "auto") -> NDArray[np.uint8]:
    """Decode images, upright as their EXIF orientation asks.

    Arguments:
        files: the paths.
        size: height and width: an image is cropped about its centre to their ratio, and resized (bicubic). None if all
            have one size.
        mode: ``"grey"``, ``"rgb"``, or ``"auto"``: grey if all images are.

    Returns:
        The images, ``(N, C, H, W)``.

    Raises:
        InputError: naming the first file that cannot be decoded, has more than 8 bits a channel, transparent pixels or
            several frames, is neither grey nor RGB, or has another size than the first.
    """
    with ThreadPoolExecutor() as threads:
        with progress_bar(len(files), "images: sizes", shown=rank() == 0) as bar:
            heads = []
            for head in threads.map(_head, files):
                heads.append(head)
                bar.update()
        if size is None:
            size = heads[0][1]
            for file, (_, other) in zip(files, heads, strict=True):
                if other != size:
                    raise InputError(
                        f"data.size=None: must be given, e.g. data.size={min(size)} or "
                        f"data.size=[{size[0]},{size[1]}], because images differ "
                        f"in height x width: {files[0]} has {size[0]} x {size[1]} pixels, and {file} "
                        f"{other[0]} x {other[1]}"
                    )
        if mode == "auto":
            mode = "grey" if all(is_grey for is_grey, _ in heads) else "rgb"
        shape = (len(files), 1 if mode == "grey" else 3, *size)
        check_memory(f"data.path={Path(files[0]).parent}: {shape[0]} images", int(np.prod(shape, dtype=object)))
        images = np.empty(shape, np.uint8)

        def decode(place: int) -> None:
            images[place] = _decoded(files[place], size, mode)

        with progress_bar(len(files), "images: decoding", shown=rank() == 0) as bar:
            for _ in threads.map(decode, range(len(files))):
                bar.update()
    return images


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    """Open an image; an error in the ``with`` block names the file."""
    try:
        with Image.open(file, formats=("PNG", "JPEG")) as image:
            yield image
    except InputError:
        raise
    except Exception as error:  # a damaged or hostile file can raise errors of many types
        raise InputError(f"{file}: cannot be decoded ({one_line(error)}); replace it or remove it") from error


def _head(file: Path) -> tuple[bool, tuple[int, int]]:
    """Return whether an image is grey, and its height and width, without decoding it."""
    with _opened(file) as image:
        # Pillow would drop the lower 8 bits of a colour.
        deep = image.mode.startswith("I") or any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))
        fault, remedy = "", "Image.open(f).convert('RGB').save(f)"
        if deep:
            fault = "has 16 bits per channel"
            if image.mode not in COLOUR:
                remedy = "Image.fromarray((np.asarray(Image.open(f)) / 257).astype(np.uint8)).save(f)"
        elif image.mode not in GREY + COLOUR:
            fault = f"has the mode {image.mode}"
        elif image.format == "PNG" and getattr(image, "n_frames", 1) > 1:
            fault = "has several frames"
        if fault:
            raise InputError(f"{file}: {fault}; images must be grey or RGB with 8 bits{_conversion(file, remedy)}")
        width, height = image.size
        if image.getexif().get(ORIENTATION, 1) >= 5:
            width, height = height, width
        return image.mode in GREY, (height, width)


def _decoded(file: Path, size: tuple[int, int], mode: str) -> NDArray[np.uint8]:
    """Return an image, ``(C, H, W)``."""
    with _opened(file) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
            image = image.convert("RGBA")
            if image.getchannel("A").getextrema() != (255, 255):
                on_white = "i = Image.open(f).convert('RGBA'); w = Image.new('RGBA', i.size, 'white')"
                composed = f"{on_white}; Image.alpha_composite(w, i).convert('RGB').save(f)"
                raise InputError(f"{file}: has transparent pixels; images must be opaque{_conversion(file, composed)}")
        image = image.convert("L" if mode == "grey" else "RGB")
        if image.size != size[::-1]:
            image = ImageOps.fit(image, size[::-1])
        return np.asarray(image).reshape(*size, -1).transpose(2, 0, 1)


def _conversion(file: Path, statements: str) -> str:
    """Return the end of an error: the statements that convert a file ``f`` with Pillow."""
    return f"; to convert it: from PIL import Image; f = {str(file)!r}; {statements}"
