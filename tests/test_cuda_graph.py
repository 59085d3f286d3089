"""Graphs of training steps, on a simulated GPU: recorded once, run again, never with a wrong answer."""

import numpy as np
import pytest

import nbdl
from nbdl import nn, ops, optim
from nbdl.testing import simulated

rng = np.random.default_rng(0)
X = rng.standard_normal((4, 5, 4)).astype(np.float32)
Y = rng.integers(0, 3, (4, 5))


def make_model():
    nbdl.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Dropout(0.4), nn.Linear(3, 3))
    return model.to("cuda"), []


def train(with_graph, batches, zero=True):
    model, losses = make_model()
    update = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step(x, y):
        loss = ops.cross_entropy(model(x), y)
        loss.backward()
        return loss

    run = nbdl.cuda.graph(step) if with_graph else step
    for x, y in batches:
        if zero:
            update.zero_grad()
        losses.append(run(nbdl.tensor(x, device="cuda"), nbdl.tensor(y, device="cuda")))
        update.step()
    state = {name: value.cpu().numpy() for name, value in model.state_dict().items()}
    return [float(loss) for loss in losses], state, run


@pytest.mark.parametrize("zero", [True, False])
def test_a_graph_computes_what_the_function_does(zero):
    batches = list(zip(X, Y, strict=True))
    with simulated.gpu() as plain:
        losses, state, _ = train(False, batches, zero)
    with simulated.gpu() as machine:
        graph_losses, graph_state, run = train(True, batches, zero)
    assert run.recordings == 1
    assert machine.graph_runs == len(batches)
    assert plain.graph_runs == 0
    np.testing.assert_array_equal(graph_losses, losses)  # equal dropout masks among them
    for name, value in state.items():
        if name != "1.num_batches_tracked":
            np.testing.assert_array_equal(graph_state[name], value, err_msg=name)
    assert graph_state["1.num_batches_tracked"] == len(batches)


def test_other_shapes_are_recorded_anew():
    batches = [(X[0], Y[0]), (X[1][:3], Y[1][:3]), (X[2], Y[2]), (X[3][:3], Y[3][:3])]
    with simulated.gpu():
        losses, state, _ = train(False, batches)
    with simulated.gpu():
        graph_losses, graph_state, run = train(True, batches)
    assert run.recordings == 2
    np.testing.assert_array_equal(graph_losses, losses)
    np.testing.assert_array_equal(graph_state["0.weight"], state["0.weight"])


def test_a_switched_module_or_a_replaced_weight_is_recorded_anew():
    with simulated.gpu():
        model, _ = make_model()
        predict = nbdl.cuda.graph(model)
        x = nbdl.tensor(X[0], device="cuda")
        model.eval()
        first = predict(x)
        np.testing.assert_array_equal(first.cpu(), model(x).detach().cpu())
        model.train()
        predict(x)
        assert predict.recordings == 2
        model.eval()
        model[4].weight.data = nbdl.zeros(3, 3, device="cuda")
        after = predict(x)
        assert predict.recordings == 3
        np.testing.assert_array_equal(after.cpu(), model(x).detach().cpu())
        assert not np.array_equal(first.cpu(), after.cpu())
        with nbdl.no_grad():
            predict(x)
        assert predict.recordings == 4


def test_results_of_one_run_outlive_the_next():
    with simulated.gpu():
        double = nbdl.cuda.graph(lambda x: x + x)
        first = double(nbdl.tensor([1.0], device="cuda"))
        second = double(nbdl.tensor([5.0], device="cuda"))
        assert (first.item(), second.item(), double.recordings) == (2.0, 10.0, 1)
        held = nbdl.cuda.memory_reserved()
        double.reset()
        nbdl.cuda.empty_cache()
        assert nbdl.cuda.memory_reserved() < held


def test_what_a_graph_cannot_hold_is_refused():
    with simulated.gpu():
        x = nbdl.tensor([1.0, 2.0], device="cuda")
        weight = nn.Parameter(nbdl.ones(2, device="cuda"))
        update = optim.SGD([weight], lr=0.1)

        def steps(x):
            (weight * x).sum().backward()
            update.step()
            return x

        for function, what in (
            (lambda x: x * x.sum().item(), "a value of the GPU"),
            (lambda x: x + nbdl.tensor([1.0, 2.0]).to("cuda"), "a copy to the GPU"),
            (steps, "an optimizer's step"),
        ):
            with pytest.raises(nbdl.DeviceError, match=what):
                nbdl.cuda.graph(function)(x)
        assert weight.grad is None
        with pytest.raises(nbdl.DeviceError, match=r"argument 0: .* on the CPU"):
            nbdl.cuda.graph(lambda x: x)(nbdl.ones(2))
        assert (x + x).tolist() == [2.0, 4.0]  # and nothing stays behind


def test_attention_drops_other_weights_in_each_run():
    q, k, v = rng.standard_normal((3, 1, 1, 3, 2)).astype(np.float32)

    def attend(run):
        nbdl.manual_seed(4)
        x = [nbdl.tensor(part, device="cuda") for part in (q, k, v)]
        return [run(*x).tolist() for _ in range(3)]

    def function(q, k, v):
        return ops.scaled_dot_product_attention(q, k, v, dropout_p=0.5)

    with simulated.gpu():
        wanted = attend(function)
        assert wanted[0] != wanted[1]
        assert attend(nbdl.cuda.graph(function)) == wanted


def test_ids_out_of_range_are_found_after_a_run():
    with simulated.gpu():
        table = nbdl.tensor([[1.0], [2.0]], device="cuda")
        look_up = nbdl.cuda.graph(lambda ids: ops.embedding(ids, table))
        assert look_up(nbdl.tensor([1, 0], device="cuda")).tolist() == [[2.0], [1.0]]
        with pytest.raises(nbdl.IndexRangeError, match=r"expected integers in \[0, 1\], got 7"):
            look_up(nbdl.tensor([1, 7], device="cuda"))
