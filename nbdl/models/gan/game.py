r"""The games that a generator and a discriminator play: what each of them wants to be small.

The discriminator scores samples: $D(x)$ is a number without bounds, the log odds that $x$ is real where the game knows
probabilities, $p = \sigma(D(x))$. With the scores of a real batch $r$ and of a generated batch $f$, means over both:

| game | the discriminator's loss | the generator's loss |
|---|---|---|
| minimax | $-\log \sigma(r) - \log (1 - \sigma(f))$ | $\log (1 - \sigma(f))$ |
| non-saturating | the same | $-\log \sigma(f)$ |
| least squares | $\tfrac12 (r - 1)^2 + \tfrac12 f^2$ | $\tfrac12 (f - 1)^2$ |
| hinge | $\max(0, 1 - r) + \max(0, 1 + f)$ | $-f$ |
| Wasserstein | $f - r$ | $-f$ |

The Wasserstein game asks for a discriminator that does not stretch distances. Two ways to have one: clip its weights
after each step (`WassersteinGame(clip=0.01)`), or normalize them (`nbdl.nn.utils.spectral_norm`). The third way, a
penalty on the length of its gradient, needs the derivative of a gradient, which nbdl does not have.

Sources: Goodfellow et al. (2014), "Generative Adversarial Nets", equation 1 and section 3; Mao et al. (2017), "Least
Squares Generative Adversarial Networks", equation 9; Lim and Ye (2017), "Geometric GAN"; Arjovsky, Chintala and Bottou
(2017), "Wasserstein GAN", algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from nbdl import ops
from nbdl.autograd import Tensor, no_grad
from nbdl.ops import creation
from nbdl.runtime.checks import check_number


def _cross_entropy(scores: Tensor, real: bool) -> Tensor:
    r"""$-\log \sigma(s)$ if they should be taken for real, $-\log (1 - \sigma(s))$ otherwise; the mean."""
    target = (creation.ones_like if real else creation.zeros_like)(scores, requires_grad=False)
    return ops.binary_cross_entropy_with_logits(scores, target)


class Game:
    """Base of the games. Scores are tensors [N, 1] or [N]; losses are means, tensors []."""

    name = ""

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """What the discriminator wants small, from its scores of real and of generated samples."""
        raise NotImplementedError

    def generator_loss(self, fake: Tensor) -> Tensor:
        """What the generator wants small, from the discriminator's scores of what it made."""
        raise NotImplementedError

    def constrain(self, parameters: Iterable[Tensor]) -> None:
        """Called with the discriminator's parameters after each of its steps: what the game asks of them."""

    def __repr__(self) -> str:
        return self.name


class MinimaxGame(Game):
    r"""The game as it was first written: one value, $V = E[\log \sigma(D(x))] + E[\log(1 - \sigma(D(G(z))))]$, which
    one player wants large and the other small.

    The generator's loss saturates: where the discriminator is sure, $\sigma(f) \approx 0$, its derivative $-\sigma(f)$
    vanishes.

    Example:
        >>> game = MinimaxGame()
        >>> game.generator_loss(nbdl.zeros(4, 1))
        tensor(-0.6931)

    Source:
        Goodfellow et al. (2014), "Generative Adversarial Nets", equation 1.
    """

    name = "minimax"

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """The negative value of the game."""
        return _cross_entropy(real, True) + _cross_entropy(fake, False)

    def generator_loss(self, fake: Tensor) -> Tensor:
        """The part of the value that depends on the generator."""
        return -_cross_entropy(fake, False)


class NonSaturatingGame(MinimaxGame):
    r"""The minimax game with another loss for the generator, $-\log \sigma(f)$.

    Same fixed point, but the derivative $\sigma(f) - 1$ is largest where the generator is worst.

    Example:
        >>> NonSaturatingGame().generator_loss(nbdl.zeros(4, 1))
        tensor(0.6931)

    Source:
        Goodfellow et al. (2014), "Generative Adversarial Nets", section 3.
    """

    name = "non-saturating"

    def generator_loss(self, fake: Tensor) -> Tensor:
        """The surprise of a discriminator that took them for real."""
        return _cross_entropy(fake, True)


class LeastSquaresGame(Game):
    r"""Scores as targets of a regression: 1 for real, 0 for generated.

    A sample on the right side of the boundary but far from it still has a gradient.

    Example:
        >>> LeastSquaresGame().discriminator_loss(nbdl.ones(4, 1), nbdl.ones(4, 1))
        tensor(0.5000)

    Source:
        Mao et al. (2017), "Least Squares Generative Adversarial Networks", equation 9.
    """

    name = "least-squares"

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Half the squared distances from 1 and from 0."""
        return 0.5 * ops.mse_loss(real, creation.ones_like(real)) + 0.5 * ops.mse_loss(fake, creation.zeros_like(fake))

    def generator_loss(self, fake: Tensor) -> Tensor:
        """Half the squared distance from 1."""
        return 0.5 * ops.mse_loss(fake, creation.ones_like(fake))


class HingeGame(Game):
    r"""Scores with a margin: real samples beyond 1 and generated ones below -1 no longer interest the discriminator.

    Example:
        >>> HingeGame().discriminator_loss(nbdl.full((4, 1), 2.0), nbdl.zeros(4, 1))
        tensor(1.)

    Source:
        Lim and Ye (2017), "Geometric GAN".
    """

    name = "hinge"

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """How far scores are on the wrong side of their margin."""
        return ops.relu(1 - real).mean() + ops.relu(1 + fake).mean()

    def generator_loss(self, fake: Tensor) -> Tensor:
        """The negative mean score."""
        return -fake.mean()


class WassersteinGame(Game):
    r"""The distance that earth must be moved from one distribution to the other, as a smooth critic measures it.

    $W = \max_{\lVert D \rVert_L \le 1} E[D(x)] - E[D(G(z))]$ over critics that do not stretch distances. It falls
    steadily as the generator gets nearer, even where the distributions do not overlap.

    Args:
        clip: Bring each weight of the critic into [-clip, clip] after its steps; None for a critic that is smooth
            already, as with `nbdl.nn.utils.spectral_norm`.

    Raises:
        ArgumentError: clip is not above 0.

    Example:
        >>> WassersteinGame().discriminator_loss(nbdl.ones(4, 1), nbdl.zeros(4, 1))
        tensor(-1.)

    Source:
        Arjovsky, Chintala and Bottou (2017), "Wasserstein GAN", algorithm 1.
    """

    name = "wasserstein"

    def __init__(self, clip: float | None = None) -> None:
        self.clip = None if clip is None else float(check_number("clip", clip, 0, open_low=True))

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """The negative distance as far as the critic sees it."""
        return fake.mean() - real.mean()

    def generator_loss(self, fake: Tensor) -> Tensor:
        """The negative mean score."""
        return -fake.mean()

    def constrain(self, parameters: Iterable[Tensor]) -> None:
        """Clips the weights, if so chosen."""
        if self.clip is not None:
            with no_grad():
                for parameter in parameters:
                    parameter.clamp_(-self.clip, self.clip)

    def __repr__(self) -> str:
        return self.name if self.clip is None else f"{self.name}, weights clipped at {self.clip:g}"


GAMES: dict[str, Callable[[], Game]] = {
    game.name: game for game in (MinimaxGame, NonSaturatingGame, LeastSquaresGame, HingeGame, WassersteinGame)
}
"""The games by name."""
