"""A VAE in pythae's way (github.com/clementchadebec/benchmark_VAE), with our model, for peers.py.

    STAMPS=FILE python benchmarks/peer_pythae.py --data DIR

DIR holds the MNIST files where torchvision looks for them; the interpreter must find pythae 0.1.2. As its README
teaches: a ``VAEConfig``, a ``VAE`` with an encoder and a decoder of one's own, and a ``TrainingPipeline`` that gets the
images as an array in [0, 1]. Without images for evaluation, pythae keeps a copy of the best weights on the training
images.
"""

from typing import Any

from peer_job import job_parser
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.pipelines import TrainingPipeline
from pythae.trainers import BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from stamps import stamp
from torch import Tensor, nn
from torchvision.datasets import MNIST


class Encoder(BaseEncoder):  # type: ignore[misc]  # pythae has no types
    """784-128-(latent_dim, latent_dim)."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU())
        self.mu, self.logvar = nn.Linear(128, latent_dim), nn.Linear(128, latent_dim)

    def forward(self, x: Tensor) -> ModelOutput:
        h = self.hidden(x)
        return ModelOutput(embedding=self.mu(h), log_covariance=self.logvar(h))


class Decoder(BaseDecoder):  # type: ignore[misc]
    """latent_dim-128-784, probabilities."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(latent_dim, 128), nn.ReLU(), nn.Linear(128, 784), nn.Sigmoid())

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.layers(z).view(-1, 1, 28, 28))


class Stamps(TrainingCallback):  # type: ignore[misc]
    """Stamps an epoch's beginning and the end of its training steps."""

    def on_epoch_begin(self, training_config: object, **_: Any) -> None:
        stamp()

    def on_epoch_end(self, training_config: object, **_: Any) -> None:
        stamp()


def main() -> None:
    options = job_parser(__doc__).parse_args()
    images = MNIST(str(options.data)).data.numpy().reshape(-1, 1, 28, 28) / 255
    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=options.latent_dim, reconstruction_loss="bce")
    training = BaseTrainerConfig(
        output_dir="pythae",
        learning_rate=options.lr,
        per_device_train_batch_size=64,
        num_epochs=options.epochs,
        no_cuda=options.device == "cpu",
    )
    model = VAE(config, encoder=Encoder(options.latent_dim), decoder=Decoder(options.latent_dim))
    TrainingPipeline(training_config=training, model=model)(train_data=images, callbacks=[Stamps()])


if __name__ == "__main__":
    main()
