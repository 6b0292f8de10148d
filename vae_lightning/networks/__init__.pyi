from .conv import ConvDecoder, ConvEncoder
from .mlp import ACTIVATIONS, mlp_decoder, mlp_encoder
from .residual import ResidualDecoder, ResidualEncoder

__all__ = [
    "ACTIVATIONS",
    "ConvDecoder",
    "ConvEncoder",
    "ResidualDecoder",
    "ResidualEncoder",
    "mlp_decoder",
    "mlp_encoder",
]
