"""A NaN or an infinity in the loss or in a gradient: found in the same step, and where it comes from."""

import numpy as np
import pytest

import nbdl
from nbdl import nn, ops, optim


class Dividing(nn.Module):
    """Divides by the spread of its input, which is 0 for a constant row."""

    def forward(self, x):
        return (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)


def model():
    nbdl.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.ReLU(), Dividing()), nn.Linear(3, 2))


def test_a_loss_that_is_nan_names_the_layer_that_made_it():
    network = model()
    with nbdl.no_grad():
        network[0].weight.fill_(0)
        network[0].bias.fill_(1)
    with pytest.raises(nbdl.NumericalError) as error, nbdl.detect_anomaly():
        network(nbdl.ones(2, 4)).sum().backward()
    assert str(error.value) == (
        "loss: expected finite numbers, got NaN: Div in 1.1 (Dividing) made it, NaN, out of finite numbers"
    )
    assert all(parameter.grad is None for parameter in network.parameters())


def test_inputs_that_are_nan_are_told_from_results():
    x = nbdl.tensor([[1.0, np.nan, 2.0, 3.0]])
    said = r"got NaN: Linear in 0 \(Linear\) was given it, in input 0"
    with pytest.raises(nbdl.NumericalError, match=said), nbdl.detect_anomaly():
        model()(x).sum().backward()


def test_a_gradient_that_is_infinite_names_its_operation():
    class Root(nn.Module):
        def forward(self, x):
            return ops.sqrt(x)

    network = nn.Sequential(nn.Linear(2, 2, bias=False), Root())
    with nbdl.no_grad():
        network[0].weight.fill_(0)
    said = r"backward of Sqrt in 1 \(Root\): gradient of input 0, shape \[1, 2\], holds infinity"
    with pytest.raises(nbdl.NumericalError, match=said), nbdl.detect_anomaly():
        network(nbdl.ones(1, 2)).sum().backward()


def test_infinities_that_do_not_reach_the_loss_are_allowed():
    scores = nbdl.randn(2, 3, requires_grad=True)
    with nbdl.detect_anomaly():
        masked = ops.masked_fill(scores, nbdl.tensor([True, False, False]), -np.inf)
        ops.softmax(masked, 1)[:, 1].sum().backward()
    assert np.isfinite(scores.grad.numpy()).all()


def test_a_gradient_that_is_handed_in_is_looked_at():
    x = nbdl.ones(2, requires_grad=True)
    with pytest.raises(nbdl.NumericalError, match="gradient: expected finite numbers, got NaN"), nbdl.detect_anomaly():
        (x * 2).backward(nbdl.tensor([1.0, np.nan]))


def test_a_healthy_step_is_the_same_inside_and_nothing_stays_behind():
    def weights_after(steps, watched):
        network = model()
        optimizer = optim.Adam(network.parameters())
        x = nbdl.tensor(np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32))
        for _ in range(steps):
            optimizer.zero_grad()
            if watched:
                with nbdl.detect_anomaly():
                    network(x).square().sum().backward()
            else:
                network(x).square().sum().backward()
            optimizer.step()
        return np.concatenate([parameter.detach().numpy().ravel() for parameter in network.parameters()])

    np.testing.assert_array_equal(weights_after(3, watched=True), weights_after(3, watched=False))
    x = nbdl.zeros(1, requires_grad=True)
    ops.sqrt(x).sum().backward()  # after the block nobody looks
    assert np.isinf(x.grad.numpy()).all()


def test_switched_off_and_nested():
    x = nbdl.zeros(1, requires_grad=True)
    with nbdl.detect_anomaly(check_nan=False):
        ops.sqrt(x).sum().backward()
    assert np.isinf(x.grad.numpy()).all()
    with nbdl.detect_anomaly(), pytest.raises(nbdl.StateError, match="do not nest"), nbdl.detect_anomaly():
        pass
    with nbdl.detect_anomaly():  # the refusal has left no mark
        (x * 1).sum().backward()
