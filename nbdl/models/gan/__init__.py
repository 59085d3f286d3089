"""Generative adversarial networks: the games, the two players as perceptrons and as DCGAN, and both as one model."""

from nbdl.models.gan.dcgan import DCGANDiscriminator, DCGANGenerator
from nbdl.models.gan.game import (
    GAMES,
    Game,
    HingeGame,
    LeastSquaresGame,
    MinimaxGame,
    NonSaturatingGame,
    WassersteinGame,
)
from nbdl.models.gan.pair import GAN
from nbdl.models.gan.perceptron import MLPDiscriminator, MLPGenerator

__all__ = [
    "GAMES",
    "GAN",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "Game",
    "HingeGame",
    "LeastSquaresGame",
    "MLPDiscriminator",
    "MLPGenerator",
    "MinimaxGame",
    "NonSaturatingGame",
    "WassersteinGame",
]
