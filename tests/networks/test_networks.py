"""Networks of the package and of one's own: shapes, descent, seeds, checkpoints, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Compose, FewDigits
from lightning.pytorch import Trainer
from torch import Tensor, nn

from vae_lightning import VAE, InputError
from vae_lightning.commands.command import CONF
from vae_lightning.config.resolving import resolved
from vae_lightning.config.targets import build
from vae_lightning.streams import generator

# A conditional model has the networks of an MLP.
# Those that differ in their networks alone.
KINDS = sorted(path.stem for path in (CONF / "model").glob("*.yaml") if path.stem not in ("conditional", "two_layers"))
Build = Callable[..., VAE]


@pytest.fixture
def built(composed: Compose) -> Build:
    """``built(kind, **arguments)``: as ``vae-train model=KIND`` makes it, but small in its latents."""

    def build_kind(kind: str, **arguments: Any) -> VAE:
        node = resolved(composed(f"model={kind}", "model.image_shape=[1,28,28]", "model.latent_dim=5"))["model"]
        return build("model", {**node, **arguments}, VAE)

    return build_kind


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator(0, "test"))


class Encoder(nn.Module):
    """One batch dimension, modes, a state, a layer that stays as it is, and weights made at the first forward."""

    def __init__(self, image_shape: tuple[int, ...], latent_dim: int, width: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(image_shape[0], width, 5, stride=4)
        self.norm = nn.BatchNorm2d(width)
        self.frozen = nn.BatchNorm2d(width).eval()
        self.dropout = nn.Dropout()
        self.head = nn.LazyLinear(2 * latent_dim)

    def forward(self, x: Tensor) -> Tensor:
        torch.rand(1)
        y: Tensor = self.head(self.dropout(self.frozen(self.norm(self.conv(x)))).flatten(1))
        return y


class Wrong(nn.Module):
    """What does not fit, in one way or another."""

    def __init__(self, image_shape: tuple[int, ...], latent_dim: int, how: str) -> None:
        super().__init__()
        self.latent_dim, self.how = latent_dim, how
        if how == "not made":
            raise RuntimeError("no luck")

    def forward(self, x: Tensor) -> Any:
        if self.how == "fails":
            raise RuntimeError("mat1 and mat2\nshapes cannot be multiplied")
        z = torch.zeros(len(x), self.latent_dim)
        return (z, z) if self.how == "tuple" else z


OWN = {"_target_": f"{__name__}.Encoder", "width": 4}


@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)])
@pytest.mark.parametrize("image_shape", [(1, 28, 28), (3, 16, 16), (2, 7, 13), (1, 1, 5)])
@pytest.mark.parametrize("kind", KINDS)
def test_any_images_in_any_batch(kind: str, image_shape: tuple[int, ...], batch: tuple[int, ...], built: Build) -> None:
    vae = built(kind, image_shape=image_shape)
    images = torch.rand(*batch, *image_shape, generator=generator(0, "test"))
    mu, logvar = vae.encode(images)
    assert mu.shape == logvar.shape == (*batch, 5)
    assert vae.decode(mu).shape == images.shape
    one_by_one = [vae.reconstruct(image) for image in images.reshape(-1, *image_shape)] if images.numel() else []
    for found, expected in zip(vae.reconstruct(images).reshape(-1, *image_shape), one_by_one, strict=True):
        torch.testing.assert_close(found, expected)


def test_as_many_stages_as_there_are_channels(built: Build) -> None:
    encoder = {"_target_": "vae_lightning.networks.ResidualEncoder", "channels": [2, 3, 4, 5, 6, 7], "blocks": 2}
    decoder = {"_target_": "vae_lightning.networks.ConvDecoder", "channels": [3]}
    vae = VAE(latent_dim=2, encoder=encoder, decoder=decoder)
    assert vae.reconstruct(torch.rand(4, 1, 28, 28)).shape == (4, 1, 28, 28)
    assert sum(isinstance(layer, nn.Conv2d) for layer in vae.encoder.modules()) == 6 * (1 + 2 * 2)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_parameter(kind: str, built: Build, images: Tensor) -> None:
    vae = built(kind)
    vae.elbo(images, noise(len(images), 5)).loss.mean().backward()
    assert {name for name, p in vae.named_parameters() if p.grad is None or not p.grad.any()} == set()


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_steps_descend_on_real_digits(kind: str, built: Build, images: Tensor) -> None:
    vae = built(kind)
    optimizer = vae.configure_optimizers()
    losses = []
    for step in range(40):
        loss = vae.elbo(images, torch.randn(len(images), 5, generator=generator(0, "test", step))).loss.mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[0] > 450  # 784 log 2 = 543 if every pixel is as good as unknown
    assert losses[-1] < 270


@pytest.mark.parametrize("kind", KINDS)
def test_initial_weights_depend_on_the_seed_alone(kind: str, built: Build) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = built(kind, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = built(kind, seed=3), built(kind, seed=4)
    for name, weight in one.named_parameters():
        assert torch.equal(again.get_parameter(name), weight)
        assert not torch.equal(other.get_parameter(name), weight)


def test_the_trial_of_ones_own_network_leaves_no_trace() -> None:
    before = torch.get_rng_state()
    vae, again = (VAE(encoder=OWN) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    encoder = vae.encoder.get_submodule("network")
    assert isinstance(encoder, Encoder)
    assert vae.encoder.training
    assert encoder.training
    assert encoder.dropout.training
    assert not encoder.frozen.training
    assert encoder.state_dict()["norm.num_batches_tracked"] == 0
    assert not encoder.state_dict()["norm.running_mean"].any()
    for weight, expected in zip(vae.parameters(), again.parameters(), strict=True):
        assert torch.equal(weight, expected)


@pytest.mark.parametrize("kind", [*KINDS, "own"])
def test_a_checkpoint_rebuilds_the_networks(
    kind: str, built: Build, few_digits: Callable[..., FewDigits], tmp_path: Path, images: Tensor
) -> None:
    vae = VAE(encoder=OWN) if kind == "own" else built(kind)
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.fit(vae, datamodule=few_digits(100, val_size=0))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    rebuilt = VAE.load_from_checkpoint(tmp_path / "last.ckpt")
    assert rebuilt.hparams == vae.hparams
    assert torch.equal(rebuilt.eval().reconstruct(images), vae.eval().reconstruct(images))


def test_a_checkpoint_names_networks_and_nothing_else(tmp_path: Path) -> None:
    content = {
        "state_dict": {},
        "hyper_parameters": {"encoder": {"_target_": "pathlib.Path.touch", "self": str(tmp_path / "was_run")}},
        "pytorch-lightning_version": "2.6.0",
    }
    torch.save(content, tmp_path / "hostile.ckpt")
    with pytest.raises(InputError, match=r"encoder\._target_=pathlib\.Path\.touch: must be the full name"):
        VAE.load_from_checkpoint(tmp_path / "hostile.ckpt")
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("decoder_widths", [None, []])
def test_without_hidden_layers_each_network_is_one_linear_layer(decoder_widths: list[int] | None) -> None:
    vae = VAE(latent_dim=3, widths=[], decoder_widths=decoder_widths)
    shapes = [tuple(layer.weight.shape) for layer in vae.modules() if isinstance(layer, nn.Linear)]
    assert shapes == [(6, 784), (784, 3)]
    z = noise(2, 3)
    torch.testing.assert_close(vae.decode(z) + vae.decode(-z), 2 * vae.decode(torch.zeros(2, 3)))


def test_a_decoder_without_hidden_layers_has_none_beside_an_encoder_with_some() -> None:
    vae = VAE(latent_dim=3, widths=[8], decoder_widths=[])
    assert [tuple(weight.shape) for weight in vae.decoder.parameters()] == [(784, 3), (784,)]


def test_an_activation_by_its_class_is_between_all_layers() -> None:
    vae = VAE(widths=[8, 6], activation={"_target_": "torch.nn.LeakyReLU", "negative_slope": 0.3})
    found = [layer for layer in vae.modules() if isinstance(layer, nn.LeakyReLU)]
    assert [layer.negative_slope for layer in found] == [0.3] * 4
    assert len({id(layer) for layer in found}) == 4
    named = VAE(widths=[8, 6], activation="relu")
    images = torch.rand(2, 1, 28, 28, generator=generator(0, "test"))
    assert not torch.equal(vae.reconstruct(images), named.reconstruct(images))
    as_relu = VAE(widths=[8, 6], activation={"_target_": "torch.nn.ReLU"})
    assert torch.equal(as_relu.reconstruct(images), named.reconstruct(images))


WRONG = f"{__name__}.Wrong"
PLAIN = "must be a mapping with _target_ (the class) and its arguments (plain values)"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"encoder": OWN["_target_"]}, f"encoder={__name__}.Encoder: {PLAIN}"),
        ({"decoder": {"channels": [3]}}, f"decoder={{'channels': [3]}}: {PLAIN}"),
        ({"encoder": {**OWN, "width": torch.tensor(3)}}, PLAIN),
        ({"encoder": {**OWN, "width": {"of": [nn.ReLU]}}}, PLAIN),
        ({"encoder": {"_target_": "nowhere.Encoder"}}, "encoder._target_=nowhere.Encoder: must be the full name of a"),
        ({"encoder": {"_target_": "os.system"}}, "_target_=os.system: must be the full name of a subclass of Module"),
        ({"encoder": {**OWN, "depth": 3}}, "encoder: Encoder refuses its arguments"),
        ({"encoder": {**OWN, "latent_dim": 3}}, "encoder: Encoder refuses its arguments"),
        (
            {"encoder": {"_target_": WRONG, "how": "small"}},
            f"encoder: {WRONG} maps (2, 1, 28, 28) to (2, 20): must be (2, 40)",
        ),
        (
            {"encoder": {"_target_": WRONG, "how": "tuple"}},
            f"encoder: {WRONG} maps (2, 1, 28, 28) to a tuple: must be (2, 40)",
        ),
        (
            {"decoder": {"_target_": WRONG, "how": "flat"}},
            f"decoder: {WRONG} maps (2, 20) to (2, 20): must be (2, 1, 28, 28)",
        ),
        (
            {"decoder": {"_target_": WRONG, "how": "fails"}},
            f"decoder: {WRONG} fails to map (2, 20) to (2, 1, 28, 28): RuntimeError: mat1 and mat2 shapes cannot",
        ),
        ({"encoder": {"_target_": WRONG, "how": "not made"}}, "Wrong refuses its arguments: no luck"),
        (
            {"encoder": {"_target_": "vae_lightning.networks.ConvEncoder", "channels": []}},
            "encoder: channels=[]: must be a list of one or more values",
        ),
        (
            {"decoder": {"_target_": "vae_lightning.networks.ResidualDecoder", "blocks": 0}},
            "decoder: blocks=0: must be a whole number of at least 1",
        ),
        (
            {"encoder": OWN, "decoder": {"_target_": "vae_lightning.networks.ConvDecoder"}, "widths": (64,)},
            "widths=[64]: must be [128]",
        ),
        ({"activation": "swish"}, "activation=swish: must be relu, leaky_relu, elu, silu, gelu, tanh or a mapping"),
        ({"activation": {"slope": 0.3}}, "activation={'slope': 0.3}: must be relu"),
        ({"activation": {"_target_": "torch.nn.Swish"}}, "activation._target_=torch.nn.Swish: must be the full name"),
        (
            {"activation": {"_target_": "torch.nn.LeakyReLU", "slope": 0.3}},
            "activation: LeakyReLU refuses its arguments",
        ),
        ({"activation": {"_target_": "torch.nn.GLU"}}, "activation: torch.nn.GLU maps (2, 128) to (2, 64): must be"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as refused:
        VAE(**arguments)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
