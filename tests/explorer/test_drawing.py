"""Drawings, and the small pictures of the page."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from vae_lightning.explorer.bars import posterior_bars, probability_bars
from vae_lightning.explorer.colours import colours
from vae_lightning.explorer.data_url import data_url
from vae_lightning.explorer.drawing import Drawing
from vae_lightning.palette import ON_ANY_GROUND


def test_a_stroke_is_ink_along_its_line_with_soft_edges() -> None:
    drawing = Drawing(28, 28)
    assert drawing.is_empty
    drawing.stroke((6, 14), (22, 14))
    column = drawing.ink[:, 14]
    assert column.max() > 0.95
    assert ((column > 0) & (column < 1)).any()
    torch.testing.assert_close(column, column.flip(0))  # the line is in the middle
    assert drawing.ink[14, 6:22].min() > 0.9
    assert drawing.ink[:, :3].max() == drawing.ink[:8].max() == 0
    before = drawing.ink
    drawing.stroke((14, 3), (14, 3))  # a dot
    assert (drawing.ink >= before).all()
    assert drawing.ink[3, 14] > 0.9
    drawing.clear()
    assert drawing.is_empty


@pytest.mark.parametrize("size", [(28, 28), (8, 20)])
def test_the_centre_of_mass_moves_to_the_middle(size: tuple[int, int]) -> None:
    drawing = Drawing(*size)
    assert drawing.offset() == (0, 0)
    drawing.stroke((3, 4), (6, 4))
    right, below = drawing.offset()
    assert right == pytest.approx(4.5 - size[1] / 2, abs=0.3)
    assert below == pytest.approx(4 - size[0] / 2, abs=0.3)
    drawing.ink = drawing.centred()
    assert drawing.offset() == pytest.approx((0, 0), abs=0.3)


def test_a_drawing_fits_models_of_other_images() -> None:
    drawing = Drawing(28, 28)
    drawing.stroke((5, 5), (20, 20))
    image = drawing.as_image((3, 14, 10), centred=False)
    assert image.shape == (3, 14, 10)
    assert 0 <= image.min() < image.max() <= 1
    assert torch.equal(drawing.as_image((1, 28, 28), centred=False)[0], drawing.ink)
    torch.testing.assert_close(drawing.as_image((1, 28, 28), centred=True)[0], drawing.centred())


@pytest.mark.parametrize(("channels", "shape"), [(1, (6, 4)), (3, (6, 4, 3)), (2, (6, 8))])
def test_images_come_back_from_their_addresses(channels: int, shape: tuple[int, ...]) -> None:
    image = torch.rand(channels, 6, 4)
    head, content = data_url(image).split(",")
    assert head == "data:image/png;base64"
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
    assert pixels.shape == shape
    assert pixels.flat[0] == round(255 * float(image[0, 0, 0]))
    assert pixels[-1, -1].flat[-1] == round(255 * float(image[-1, -1, -1]))


def test_labels_have_different_colours() -> None:
    assert colours(3) == [*ON_ANY_GROUND[:3]]
    for count in (10, 47):
        found = colours(count)
        assert len({*found}) == count
        assert all(len(colour) == 7 and colour.startswith("#") for colour in found)


def test_bars_show_deviations_on_the_priors_scale_and_the_most_probable_classes() -> None:
    scale = torch.tensor([[-3.0, -3.0], [3.0, 3.0]])
    chart = posterior_bars(torch.tensor([0.0, 3.0]), torch.tensor([1.0, 0.5]), scale)
    assert chart.count('class="mean"') == 2
    assert 'cy="35.0"' in chart  # the prior's median is in the middle
    assert 'cy="7.0"' in chart
    assert posterior_bars(torch.zeros(200), torch.ones(200), torch.zeros(2, 200)).count('class="mean"') == 40
    assert probability_bars([3, 4], [0.25, 0.75], ["#a", "#b"]).index(">3<") > 0
    many = probability_bars([*range(47)], [k / 1081 for k in range(47)], colours(47))
    assert many.count('class="probability"') == 10
    assert many.index(">46<") < many.index(">45<")
    assert ">36<" not in many
