"""Images as addresses that a page can show."""

import base64
import io

from PIL import Image
from torch import Tensor

__all__ = ["data_url"]


def data_url(image: Tensor) -> str:
    """Return an image ``(C, H, W)`` in [0, 1] as a data URL of a PNG; other than 1 or 3 channels stand side by side."""
    if image.shape[0] not in (1, 3):
        image = image.movedim(0, -2).flatten(-2)[None]
    pixels = image.clamp(0, 1).mul(255).round().byte().movedim(0, -1).squeeze(-1)
    content = io.BytesIO()
    Image.fromarray(pixels.contiguous().numpy()).save(content, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
