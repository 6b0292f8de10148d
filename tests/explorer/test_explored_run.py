"""What the page shows, without a browser: for every family of posteriors and priors."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from conftest import TinyImages, composing
from hydra import compose
from omegaconf import OmegaConf
from torch import Tensor

from vae_lightning import VAE
from vae_lightning.commands.command import CONF
from vae_lightning.config.errors import InputError
from vae_lightning.data.images import LabelledImages
from vae_lightning.explorer.explored_run import STEPS, ExploredRun
from vae_lightning.explorer.latent_map import PlaneMap, latent_map, projections
from vae_lightning.explorer.supports import between

POSTERIORS = sorted(path.stem for path in (CONF / "posterior").glob("*.yaml"))
PRIORS = sorted(path.stem for path in (CONF / "prior").glob("*.yaml"))
CASES: dict[str, Mapping[str, Any]] = {
    **{name: {"posterior": name} for name in POSTERIORS},
    **{f"prior={name}": {"prior": name} for name in PRIORS},
    "two layers": {
        "posterior": {"_target_": "vae_lightning.posteriors.TwoLayers"},
        "prior": {"_target_": "vae_lightning.priors.TwoLayers"},
    },
    "conditional": {"classes": 10},
    "one dimension": {"latent_dim": 1},
}


def explored(options: Mapping[str, Any], data: TinyImages | None = None) -> ExploredRun:
    chosen = {group: choice(group, name) for group, name in options.items() if isinstance(name, str)}
    estimator = {"_target_": "vae_lightning.estimators.LeaveOneOut"}  # which takes any posterior
    vae = VAE(**{"latent_dim": 3, "widths": [8], "estimator": estimator, **options, **chosen}).eval()
    return ExploredRun("run", vae, data or TinyImages(batch_size=20, val_size=20), "test", images=20)


def choice(group: str, name: str) -> Any:
    """The node of a file of conf."""
    with composing():
        node = compose("train", [f"{group}={name}", "run_dir=run"])["model"][group]
    return OmegaConf.to_container(node, resolve=True)


def is_on_support(vae: VAE, z: Tensor) -> bool:
    """Whether latents are on the support, or in the hull of a discrete one."""
    each = z.unflatten(-1, (vae.posterior.latent_dim, -1))
    match vae.posterior.support:
        case "positive numbers":
            return bool((z > 0).all())
        case "numbers between 0 and 1" | "binary vectors":
            return bool(((z >= 0) & (z <= 1)).all())
        case "the simplex":
            return bool((z >= 0).all()) and torch.allclose(z.sum(-1), torch.ones(()))
        case "one-hot vectors":
            return bool((z >= 0).all()) and torch.allclose(each.sum(-1), torch.ones(()))
        case "the unit sphere":
            return torch.allclose(torch.linalg.vector_norm(z, dim=-1), torch.ones(()))
        case support:
            assert support == "real numbers"
            return bool(z.isfinite().all())


@pytest.mark.parametrize("name", CASES)
def test_every_family_is_explored(name: str) -> None:
    run = explored(CASES[name])
    vae, size = run.vae, run.mean.shape[1]
    assert sorted(run.order) == [*range(vae.latent_dim)]
    assert (run.kl is not None) == vae.factorised
    # With two layers, those that the decoder sees.
    assert sorted(run.numbers_in_order()) == [*range(vae.posterior.layer_sizes[0])]
    if run.kl is not None:
        assert run.kl[run.order].diff().le(0).all()
    torch.testing.assert_close(run.onto_support(run.mean), run.mean, rtol=1e-4, atol=1e-4)
    # Each slider moves its own variable over the prior's range, and stays on the support.
    for dimension in run.order:
        rows = run.traversal(run.mean[0], dimension)
        assert len(rows) == (vae.posterior.values or len(STEPS))
        assert is_on_support(vae, rows)
        first, last = rows[[0, -1]].unflatten(-1, (vae.posterior.latent_dim, -1))[:, dimension]
        assert first.ne(last).any()
    # A point can be dragged to the edges of the map and beyond.
    for kind in projections(size):
        if kind != "umap":
            found = run.map(kind)
            for place in 2 * found.points[:5]:
                z = run.onto_support(found.latent(place, run.mean[0]))
                assert is_on_support(vae, z)
                assert run.decode(z[None], label=3).isfinite().all()
    way = run.interpolation(run.mean[0], run.mean[1], torch.linspace(0, 1, 9))
    assert is_on_support(vae, way)
    for end, mean in ((way[0], run.mean[0]), (way[-1], run.mean[1])):
        torch.testing.assert_close(end, mean, rtol=1e-4, atol=1e-4)
    # An image of the map that is seen again has its mean, and a reconstruction from it.
    seen = run.see(run.images[7], label=int(run.labels[7]))  # type: ignore[index]
    torch.testing.assert_close(seen.mean, run.mean[7], rtol=1e-4, atol=1e-5)
    assert seen.std.shape == (size,)
    assert seen.std.ge(0).all()
    examples = vae.examples((run.images, run.labels))
    with torch.no_grad():
        torch.testing.assert_close(seen.reconstruction, vae.reconstruct(examples)[7], rtol=1e-4, atol=1e-5)
    samples = run.samples(24, draw=1, label=None)
    assert samples.shape == (24, 1, 28, 28)
    assert ((samples >= 0) & (samples <= 1)).all()
    assert torch.equal(samples, run.samples(24, draw=1, label=None))
    assert not torch.equal(samples, run.samples(24, draw=2, label=None))


def test_the_standard_priors_scale_is_in_standard_deviations() -> None:
    run = explored({})
    rows = run.traversal(run.mean[0], 2)
    torch.testing.assert_close(rows[:, 2], STEPS.float())
    assert torch.equal(rows[:, :2], run.mean[0, :2].expand(len(STEPS), -1))


def test_the_deviation_is_that_of_the_posterior() -> None:
    run = explored({})
    with torch.no_grad():
        logvar = run.vae.encode(run.images[3:4]).logvar[0]
    torch.testing.assert_close(run.see(run.images[3]).std, torch.exp(logvar / 2), rtol=0.15, atol=0)


def test_a_conditional_model_sees_the_class() -> None:
    run = explored({"classes": 10})
    z = run.mean[:1]
    assert not torch.equal(run.decode(z, 1), run.decode(z, 2))
    assert not torch.equal(run.see(run.images[0], 1).mean, run.see(run.images[0], 2).mean)
    of_all, of_two = run.samples(20, 0, None), run.samples(20, 0, 2)
    torch.testing.assert_close(of_all[2::10], of_two[2::10], rtol=1e-5, atol=1e-6)
    assert not torch.equal(of_all[3::10], of_two[3::10])


@pytest.mark.parametrize("kind", ["principal", "first"])
def test_a_point_dragged_to_a_place_is_there(kind: str) -> None:
    torch.manual_seed(0)
    mean = torch.randn(50, 4) * torch.tensor([1.0, 5.0, 2.0, 0.1]) + 3
    found = latent_map(kind, mean, None)
    torch.testing.assert_close(found.place(mean), found.points)
    place = torch.tensor([1.5, -2.0])
    moved = found.latent(place, mean[7])
    torch.testing.assert_close(found.place(moved), place)
    torch.testing.assert_close(found.latent(found.points[7], mean[7]), mean[7])
    # What the map does not show stays as it is.
    hidden = moved - mean[7]
    assert (
        torch.linalg.matrix_rank(torch.stack([hidden, *(found.latent(p, mean[7]) - mean[7] for p in found.points[:9])]))
        == 2
    )
    if kind == "first":
        assert torch.equal(moved[2:], mean[7, 2:])
    assert found.nearest(found.points[7] + 1e-4, 0.01) == 7
    assert found.nearest(found.points.amax(0) + 10, 0.01) is None


def test_the_principal_map_shows_the_largest_variance() -> None:
    torch.manual_seed(0)
    mean = torch.randn(500, 3) * torch.tensor([0.1, 5.0, 1.0])
    variance = PlaneMap(mean, None, principal=True).points.var(0)
    torch.testing.assert_close(variance, mean.var(0)[[1, 2]], rtol=0.05, atol=0)


def test_umap_is_offered_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert projections(2).keys() - {"umap"} == {"first"}
    monkeypatch.setattr("vae_lightning.explorer.latent_map.find_spec", lambda name: None)
    assert projections(20) == {"principal": "Principal components", "first": "First two dimensions"}


@pytest.mark.slow
def test_a_place_on_a_map_by_umap_stands_for_its_neighbours() -> None:
    pytest.importorskip("umap")
    torch.manual_seed(0)
    mean = torch.cat([torch.randn(40, 5) - 4, torch.randn(40, 5) + 4])
    found = latent_map("umap", mean, None)
    for index in (3, 60):
        torch.testing.assert_close(found.latent(found.points[index], mean[0]), mean[index], rtol=1e-2, atol=1e-2)
        torch.testing.assert_close(found.place(mean[index]), found.points[index], rtol=1e-2, atol=1e-2)
    assert found.latent(found.points[:40].mean(0), mean[0]).mean() < 0


def test_the_way_on_a_sphere_is_a_great_circle_at_constant_speed() -> None:
    posterior = VAE(latent_dim=3, widths=[8], posterior=choice("posterior", "power_spherical")).posterior
    start, end = torch.eye(3)[:2]
    way = between(posterior, start, end, torch.linspace(0, 1, 5))
    angles = torch.atan2(way[:, 1], way[:, 0])
    torch.testing.assert_close(angles, torch.linspace(0, torch.pi / 2, 5))
    torch.testing.assert_close(way[:, 2], torch.zeros(5))
    same = between(posterior, start, start, torch.tensor([0.5]))
    torch.testing.assert_close(same[0], start)


def test_the_probe_says_what_the_runs_own_probe_would() -> None:
    run = explored({})
    found = run.classifier
    assert not isinstance(found, str)
    assert found.images == 40
    probabilities = found.probabilities(run.mean)
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(20))
    assert run.labels is not None
    right = found.classes[probabilities.argmax(-1)] == run.labels
    assert found.accuracy(run.mean, run.labels) == pytest.approx(right.double().mean())
    assert run.classifier is found


class Unlabelled(TinyImages):
    def test_dataloader(self) -> Any:
        return [batch[0] for batch in super().test_dataloader()]

    def train_dataloader(self) -> Any:
        return [batch[0] for batch in super().train_dataloader()]


def test_images_without_labels_have_a_map_and_no_probe() -> None:
    run = explored({}, Unlabelled(batch_size=20, val_size=20))
    assert run.labels is None
    assert run.label(0) is None
    assert run.map("principal").points.shape == (20, 2)
    assert run.classifier == "No probe: the data have no labels, i.e. one whole number for each image"


def test_a_conditional_model_needs_labels() -> None:
    with pytest.raises(InputError, match="classes=10: must be null, because the data have no labels"):
        explored({"classes": 10}, Unlabelled(batch_size=20, val_size=20))


class Coloured(TinyImages):
    image_shape = (3, 8, 5)

    def read(self) -> Any:
        return tuple(
            LabelledImages(part.images[:, :, :8, :5].expand(-1, 3, -1, -1), part.labels) for part in super().read()
        )


def test_colour_images_of_any_size() -> None:
    run = explored({"image_shape": [3, 8, 5]}, Coloured(batch_size=20, val_size=20))
    assert run.samples(4, 0, None).shape == (4, 3, 8, 5)
    assert run.see(run.images[0]).reconstruction.shape == (3, 8, 5)
