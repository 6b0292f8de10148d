"""The pictures of a run, small enough to be part of a page."""

import io
from base64 import b64encode
from pathlib import Path

__all__ = ["embedded_pictures"]

# Pixels of the longer side, and bytes of all pictures together.
SIDE, ROOM = 900, 330_000


def embedded_pictures(run: Path, room: int = ROOM) -> list[dict[str, str]]:
    """Return the title and the data URL of each picture in a run's ``figures``, in alphabetical order.

    The curves are left out, because the page draws them. A picture that cannot be read, or for which there is no room
    left, is left out as well.

    Arguments:
        run: the run directory.
        room: bytes for all pictures together.
    """
    found = []
    for path in sorted(run.glob("figures/*.png")):
        if path.stem == "curves":
            continue
        small = _shrunken(path)
        if small is not None and len(small[1]) <= room:
            kind, content = small
            room -= len(content)
            found.append({"title": path.stem.replace("_", " "), "src": f"data:image/{kind};base64,{content}"})
    return found


def _shrunken(path: Path) -> tuple[str, str] | None:
    """Return a picture's type and its content in base64: as it is, or as JPEG if that is smaller."""
    from PIL import Image, UnidentifiedImageError

    try:
        original = path.read_bytes()
        picture = Image.open(io.BytesIO(original)).convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
        return None
    picture.thumbnail((SIDE, SIDE))
    jpeg = io.BytesIO()
    picture.save(jpeg, "jpeg", quality=82)
    kind, content = min(("png", original), ("jpeg", jpeg.getvalue()), key=lambda each: len(each[1]))
    return kind, b64encode(content).decode()
