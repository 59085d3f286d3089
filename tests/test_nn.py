"""Modules: registration, walking, state, hooks, containers; and, where PyTorch is installed, the same as PyTorch's."""

import copy
import importlib
import inspect
import math
import pickle
import typing

import numpy as np
import pytest

import nbdl
from nbdl import nn
from nbdl.testing import gradcheck

try:
    import torch
except ImportError:
    torch = None

parity = [pytest.mark.parity, pytest.mark.skipif(torch is None, reason="PyTorch is not installed")]


class Block(nn.Module):
    """A module with everything: parameters, an absent one, buffers, children, a plain attribute."""

    def __init__(self, features=3):
        super().__init__()
        self.scale = nn.Parameter(nbdl.ones(features))
        self.register_parameter("absent", None)
        self.register_buffer("count", nbdl.zeros(1))
        self.register_buffer("scratch", nbdl.zeros(2), persistent=False)
        self.inner = nn.Linear(features, features)
        self.name = "block"

    def forward(self, x, power=1):
        return self.inner(x) * self.scale * power


def batch(rows=4, columns=3, dtype=np.float32):
    return nbdl.tensor(np.random.default_rng(0).standard_normal((rows, columns)).astype(dtype))


# ---------------------------------------------------------------- registration


def test_assignment_registers():
    block = Block()
    assert [name for name, _ in block.named_parameters()] == ["scale", "inner.weight", "inner.bias"]
    assert [name for name, _ in block.named_buffers()] == ["count", "scratch"]
    assert [name for name, _ in block.named_modules()] == ["", "inner"]
    assert [name for name, _ in block.named_parameters(prefix="a", recurse=False)] == ["a.scale"]
    assert block.absent is None
    assert block.scale is block._parameters["scale"]


def test_assignment_before_init_is_refused():
    class Forgetful(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"super\(\).__init__"):
        Forgetful()


def test_assignments_keep_kinds():
    block = Block()
    for name, value in (("scale", nbdl.ones(3)), ("inner", 3), ("count", "x"), ("scale", 1.0)):
        with pytest.raises(TypeError, match=name):
            setattr(block, name, value)
    block.count = nbdl.ones(1)
    assert dict(block.named_buffers())["count"] is block.count
    block.inner = None
    assert block.inner is None
    assert "inner" in block._modules
    block.absent = nn.Parameter(nbdl.ones(1))
    assert "absent" in dict(block.named_parameters())


def test_a_name_moves_between_kinds():
    module = nn.Module()
    module.thing = 3
    module.thing = nn.Parameter(nbdl.ones(1))
    assert list(dict(module.named_parameters())) == ["thing"]
    for other in (nn.ReLU(), nn.Buffer(nbdl.ones(1)), nbdl.ones(1)):
        with pytest.raises(TypeError, match="parameter 'thing'"):
            module.thing = other
    assert list(dict(module.named_parameters())) == ["thing"]
    module.thing = None
    del module.thing
    module.thing = nn.ReLU()
    assert not list(module.parameters())
    assert list(dict(module.named_children())) == ["thing"]
    module.thing = nn.Parameter(nbdl.ones(2))
    assert not list(module.children())
    del module.thing
    assert not hasattr(module, "thing")
    assert not list(module.parameters())
    with pytest.raises(AttributeError):
        del module.thing


def test_assigned_buffers():
    module = nn.Module()
    module.mean = nn.Buffer(nbdl.zeros(2))
    module.cache = nn.Buffer(nbdl.zeros(2), persistent=False)
    assert list(module.state_dict()) == ["mean"]
    assert [name for name, _ in module.named_buffers()] == ["mean", "cache"]


def test_names_are_checked():
    module = nn.Module()
    module.taken = 1
    for register in (module.register_parameter, module.register_buffer, module.register_module):
        for name in ("", "a.b", "taken", "forward"):
            with pytest.raises(KeyError, match="name"):
                register(name, None)
        with pytest.raises(TypeError):
            register(3, None)
        with pytest.raises(TypeError):
            register("x", "not one")


def test_missing_attribute_and_forward():
    module = nn.Module()
    with pytest.raises(AttributeError, match="no attribute 'weight'"):
        _ = module.weight
    with pytest.raises(NotImplementedError, match="Module"):
        module(1)


def test_shared_parameters_count_once():
    first = nn.Linear(2, 2)
    second = nn.Linear(2, 2)
    second.weight = first.weight
    model = nn.Sequential(first, second, first)
    assert len(list(model.parameters())) == 3
    assert len(list(model.named_parameters(remove_duplicate=False))) == 6
    assert len(list(model.modules())) == 3
    assert list(model.state_dict()) == [f"{i}.{name}" for i in (0, 1, 2) for name in ("weight", "bias")]
    model(batch(4, 2)).sum().backward()
    assert first.weight.grad is second.weight.grad


def test_lookups():
    model = nn.Sequential(Block(), nn.ModuleDict({"a": nn.ReLU()}))
    assert model.get_submodule("") is model
    assert model.get_submodule("0.inner") is model[0].inner
    assert model.get_parameter("0.inner.weight") is model[0].inner.weight
    assert model.get_buffer("0.count") is model[0].count
    for lookup, name in (
        (model.get_submodule, "0.nothing"),
        (model.get_parameter, "0.absent"),
        (model.get_parameter, "0.name"),
        (model.get_buffer, "0.scale"),
    ):
        with pytest.raises(AttributeError):
            lookup(name)
    model.set_submodule("0.inner", nn.Identity())
    assert isinstance(model[0].inner, nn.Identity)


# ---------------------------------------------------------------- modes, gradients, conversions


def test_train_and_eval_reach_all_modules():
    model = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.5)))
    model.eval()
    assert not any(module.training for module in model.modules())
    x = batch()
    assert np.array_equal(model(x).numpy(), x.numpy())
    assert model.train() is model
    assert all(module.training for module in model.modules())
    with pytest.raises(ValueError, match="mode"):
        model.train("yes")


def test_zero_grad_and_requires_grad():
    model = Block()
    model(batch()).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    model.zero_grad(set_to_none=False)
    assert all(not parameter.grad.numpy().any() for parameter in model.parameters())
    model.zero_grad()
    assert all(parameter.grad is None for parameter in model.parameters())
    model.requires_grad_(False)
    assert not model(batch()).requires_grad


def test_apply_visits_children_first():
    model = nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.ReLU()))
    seen = []
    model.apply(lambda module: seen.append(type(module).__name__))
    assert seen == ["Linear", "ReLU", "Sequential", "Sequential"]


def test_conversion_keeps_identity():
    block = Block()
    block.register_buffer("ids", nbdl.tensor([1, 2]))
    parameters = list(block.parameters())
    block(batch()).sum().backward()
    assert block.double() is block
    assert [id(p) for p in block.parameters()] == [id(p) for p in parameters]
    assert {p.dtype for p in block.parameters()} == {np.dtype(np.float64)}
    assert block.scale.grad.dtype == np.float64
    assert block.count.dtype == np.float64
    assert block.ids.dtype == np.int64
    assert block(batch(dtype=np.float64)).dtype == np.float64
    assert block.to(nbdl.float32).scale.dtype == np.float32
    assert block.to(nbdl.zeros(1, dtype=nbdl.float64)).scale.dtype == np.float64
    assert block.to("cpu", nbdl.float32).float().cpu().scale.dtype == np.float32
    with pytest.raises(TypeError, match="dtype"):
        block.to(nbdl.int64)
    with pytest.raises(nbdl.DeviceError):
        block.to("cuda:99")


# ---------------------------------------------------------------- state


def test_state_dict_shares_memory():
    block = Block()
    state = block.state_dict()
    assert list(state) == ["scale", "count", "inner.weight", "inner.bias"]
    assert not state["scale"].requires_grad
    state["scale"].fill_(5.0)
    assert block.scale.tolist() == [5.0] * 3
    assert block.state_dict(prefix="x.", keep_vars=True)["x.scale"] is block.scale


def test_load_state_dict():
    source, target = Block(), Block()
    assert str(target.load_state_dict(source.state_dict())) == "<All keys matched successfully>"
    assert np.array_equal(source.inner.weight.detach().numpy(), target.inner.weight.detach().numpy())
    arrays = {name: np.asarray(value, np.float64) for name, value in source.state_dict().items()}
    target.load_state_dict(arrays)
    assert target.scale.dtype == np.float32


def test_load_state_dict_lists_every_problem_and_changes_nothing():
    model = Block()
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    state = {
        "scale": np.full(3, 9.0),
        "inner.weight": np.zeros((2, 3)),
        "inner.bias": "text",
        "extra": np.zeros(1),
    }
    with pytest.raises(nbdl.StateError) as caught:
        model.load_state_dict(state)
    for text in ('Missing key(s) in state_dict: "count"', 'Unexpected key(s) in state_dict: "extra"', "size mismatch"):
        assert text in str(caught.value)
    assert "inner.bias" in str(caught.value)
    assert isinstance(caught.value, RuntimeError)
    for name, value in model.state_dict().items():
        assert np.array_equal(value.numpy(), before[name])
    result = model.load_state_dict({"scale": np.ones(3), "extra": 1}, strict=False)
    assert result.missing_keys == ["count", "inner.weight", "inner.bias"]
    assert result.unexpected_keys == ["extra"]
    with pytest.raises(TypeError, match="state_dict"):
        model.load_state_dict([1])


def test_load_state_dict_assign():
    model = nn.Linear(2, 2, bias=False).requires_grad_(False)
    weight = nbdl.zeros(2, 2, dtype=nbdl.float64)
    model.load_state_dict({"weight": weight}, assign=True)
    assert model.weight.dtype == np.float64
    assert not model.weight.requires_grad
    weight.fill_(3.0)
    assert model.weight.tolist() == [[3.0, 3.0], [3.0, 3.0]]


class Counting(nn.Linear):
    """A layer with a state besides its tensors."""

    def __init__(self):
        super().__init__(2, 2)
        self.calls = 0

    def get_extra_state(self):
        return {"calls": self.calls}

    def set_extra_state(self, state):
        self.calls = state["calls"]


def test_extra_state_travels_with_the_state_dict():
    model, other = nn.Sequential(Counting()), nn.Sequential(Counting())
    model[0].calls = 3
    state = model.state_dict()
    assert list(state) == ["0.weight", "0.bias", "0._extra_state"]
    other.load_state_dict(state)
    assert other[0].calls == 3
    del state["0._extra_state"]
    with pytest.raises(nbdl.StateError, match=r"0\._extra_state"):
        other.load_state_dict(state)
    with pytest.raises(nbdl.StateError, match="_extra_state"):
        nn.Sequential(nn.Linear(2, 2)).load_state_dict(model.state_dict())
    with pytest.raises(NotImplementedError, match="set_extra_state"):
        nn.Linear(1, 1).get_extra_state()


def test_hooks_of_the_state():
    model, seen = nn.Sequential(nn.Linear(2, 2)), []
    model[0].register_state_dict_pre_hook(lambda module, prefix, keep_vars: seen.append((prefix, keep_vars)))
    model[0].register_state_dict_post_hook(lambda module, state, prefix, metadata: state.pop(prefix + "bias"))
    state = model.state_dict()
    assert list(state) == ["0.weight"]
    assert seen == [("0.", False)]

    def rename(module, state_dict, prefix, metadata, strict, missing, unexpected, messages):
        state_dict[prefix + "weight"] = state_dict.pop(prefix + "kernel")

    target = nn.Sequential(nn.Linear(2, 2, bias=False))
    target[0].register_load_state_dict_pre_hook(rename)
    given = {"0.kernel": np.full((2, 2), 5.0)}
    target.load_state_dict(given)
    assert target[0].weight.tolist() == [[5, 5], [5, 5]]
    assert list(given) == ["0.kernel"]

    forgiving = nn.Sequential(nn.Linear(2, 2))
    forgiving.register_load_state_dict_post_hook(lambda module, keys: keys.missing_keys.clear())
    assert forgiving.load_state_dict(state).missing_keys == []
    assert np.array_equal(forgiving[0].weight.detach().numpy(), state["0.weight"].numpy())


def test_dtypes_of_modules():
    layer = nn.Linear(2, 2).type(nbdl.float64)
    assert layer.weight.dtype == nbdl.float64
    with pytest.raises(nbdl.DTypeError, match="dst_type"):
        layer.type(nbdl.int64)
    assert layer.weight.half().dtype == nbdl.float16
    assert layer.half().weight.dtype == nbdl.float16
    assert layer.float().weight.dtype == nbdl.float32


def test_loading_is_seen_by_backward():
    layer = nn.Linear(2, 2)
    x = batch(3, 2)
    x.requires_grad_()
    y = layer(x)
    layer.load_state_dict(layer.state_dict())
    with pytest.raises(nbdl.GradientError, match="in place"):
        y.sum().backward()


def test_copies_are_apart():
    block = Block()
    twin = copy.deepcopy(block)
    assert twin.scale is twin._parameters["scale"]
    assert twin.inner is twin._modules["inner"]
    twin.scale.data.fill_(7.0)
    assert block.scale.tolist() == [1.0] * 3
    shared = nn.ModuleList([block.inner, block.inner])
    both = copy.deepcopy(shared)
    assert both[0] is both[1]
    tied = copy.deepcopy(nn.ParameterList([block.scale, block.scale]))
    assert tied[0] is tied[1]
    assert isinstance(copy.deepcopy(nn.Buffer(nbdl.ones(1), persistent=False)), nn.Buffer)
    leaf = nbdl.ones(2).requires_grad_()
    result = (leaf * 2).sum()
    result.backward()
    assert copy.deepcopy(leaf).grad.tolist() == [2.0, 2.0]
    with pytest.raises(nbdl.GradientError, match="deepcopy"):
        copy.deepcopy(result)


def test_functional_is_importable():
    module = importlib.import_module("nbdl.nn.functional")
    assert module.relu is nbdl.ops.relu


def test_pickle_round_trip():
    linear = nn.Linear(2, 3)
    again = pickle.loads(pickle.dumps(linear))
    assert np.array_equal(again.weight.detach().numpy(), linear.weight.detach().numpy())
    assert again.weight is again._parameters["weight"]


# ---------------------------------------------------------------- hooks


def test_forward_hooks():
    layer = nn.Identity()
    calls = []
    first = layer.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    second = layer.register_forward_hook(lambda module, args, output: calls.append(output.tolist()))
    third = layer.register_forward_hook(lambda module, args, output: output * 10, prepend=True)
    assert layer(nbdl.tensor([1.0])).tolist() == [20.0]
    assert calls == [[20.0]]
    for handle in (first, second, third):
        handle.remove()
    assert layer(nbdl.tensor([1.0])).tolist() == [1.0]


def test_forward_hooks_with_keywords():
    block = Block()
    seen = {}
    block.register_forward_pre_hook(lambda m, args, kwargs: (args, {**kwargs, "power": 2}), with_kwargs=True)
    block.register_forward_hook(lambda m, args, kwargs, output: seen.update(kwargs), with_kwargs=True)
    plain = Block()
    plain.load_state_dict(block.state_dict())
    assert np.allclose(block(batch()).detach().numpy(), 2 * plain(batch()).detach().numpy())
    assert seen == {"power": 2}
    block.register_forward_pre_hook(lambda m, args, kwargs: 3, with_kwargs=True)
    with pytest.raises(TypeError, match="pre-hook"):
        block(batch())


def test_always_called_hooks():
    class Broken(nn.Module):
        def forward(self, x):
            raise ValueError("broken")

    calls = []
    module = Broken()
    module.register_forward_hook(lambda *args: calls.append("no"))
    module.register_forward_hook(lambda *args: calls.append("yes"), always_call=True)
    with pytest.raises(ValueError, match="broken"):
        module(1)
    assert calls == ["yes"]


def test_the_same_function_can_be_two_hooks():
    layer, calls = nn.Identity(), []

    def hook(*args):
        calls.append(1)

    one = layer.register_forward_hook(hook)
    layer.register_forward_hook(hook)
    one.remove()
    layer(nbdl.ones(1))
    assert calls == [1]


def test_backward_hooks():
    layer = nn.Linear(3, 2)
    seen = []
    layer.register_full_backward_pre_hook(lambda module, grad_output: (grad_output[0] * 2,))
    layer.register_full_backward_hook(lambda module, grad_input, grad_output: seen.append((grad_input, grad_output)))
    layer.register_full_backward_hook(lambda module, grad_input, grad_output: (grad_input[0] * 0 + 7,))
    x = batch().requires_grad_()
    layer(x).sum().backward()
    ((grad_input,), (grad_output,)) = seen[0]
    assert grad_output.tolist() == [[2.0, 2.0]] * 4
    assert np.allclose(grad_input.numpy(), 2 * layer.weight.detach().numpy().sum(0))
    assert x.grad.tolist() == [[7.0] * 3] * 4


def test_backward_hook_of_a_module_whose_inputs_need_no_gradient():
    layer, seen = nn.Linear(3, 2), []
    layer.register_full_backward_hook(lambda module, grad_input, grad_output: seen.append((grad_input, grad_output)))
    layer(batch()).sum().backward()
    assert seen[0][0] == (None,)
    assert seen[0][1][0].tolist() == [[1.0, 1.0]] * 4


# ---------------------------------------------------------------- containers


def test_sequential():
    layers = [nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)]
    model = nn.Sequential(*layers)
    assert model[0] is layers[0]
    assert model[-1] is layers[2]
    assert list(model) == layers
    assert len(model) == 3
    assert list(model[1:].state_dict()) == ["2.weight", "2.bias"]
    assert np.array_equal(model(batch()).detach().numpy(), model[2](model[:2](batch())).detach().numpy())
    model.append(nn.ReLU()).insert(0, nn.Identity()).extend([nn.Tanh()])
    assert [type(m).__name__ for m in model] == ["Identity", "Linear", "ReLU", "Linear", "ReLU", "Tanh"]
    assert list(model._modules) == [str(i) for i in range(6)]
    del model[1:4]
    assert [type(m).__name__ for m in model] == ["Identity", "ReLU", "Tanh"]
    assert isinstance(model.pop(-1), nn.Tanh)
    model[0] = nn.Sigmoid()
    assert isinstance(model[0], nn.Sigmoid)
    assert len(model + model) == 4
    assert len(model * 3) == 6
    model += [nn.Tanh()]
    assert len(model) == 3
    for index in (3, -4):
        with pytest.raises(IndexError):
            model[index]
    with pytest.raises(TypeError):
        nn.Sequential(3)
    named = nn.Sequential({"first": nn.Linear(1, 1), "second": nn.ReLU()})
    assert named.first is named[0]
    assert list(named.state_dict()) == ["first.weight", "first.bias"]


def test_module_list():
    modules = nn.ModuleList([nn.Linear(1, 1), nn.ReLU()])
    modules.append(nn.Tanh())
    modules.insert(1, nn.Sigmoid())
    modules += [nn.ReLU()]
    assert [type(m).__name__ for m in modules] == ["Linear", "Sigmoid", "ReLU", "Tanh", "ReLU"]
    assert isinstance(modules[1:3], nn.ModuleList)
    assert len(modules + [nn.ReLU()]) == 6
    del modules[0]
    assert list(modules._modules) == ["0", "1", "2", "3"]
    with pytest.raises(NotImplementedError):
        modules(1)


def test_module_dict():
    modules = nn.ModuleDict({"a": nn.Linear(1, 1)})
    modules["b"] = nn.ReLU()
    modules.update([("c", nn.Tanh())])
    assert list(modules) == list(modules.keys()) == ["a", "b", "c"]
    assert "b" in modules
    assert modules.a is modules["a"]
    assert isinstance(modules.pop("b"), nn.ReLU)
    assert not hasattr(modules, "b")
    assert [type(m).__name__ for m in modules.values()] == ["Linear", "Tanh"]
    with pytest.raises(KeyError):
        modules["keys"] = nn.ReLU()
    modules.clear()
    assert len(modules) == 0


def test_parameter_containers():
    listed = nn.ParameterList([nbdl.ones(2), nn.Parameter(nbdl.zeros(1)), 3])
    assert [name for name, _ in listed.named_parameters()] == ["0", "1"]
    assert listed[-1] == 3
    listed.append(nbdl.ones(1)).extend([nbdl.ones(3)])
    assert len(listed) == 5
    assert isinstance(listed[4], nn.Parameter)
    assert len(listed[1:3]) == 2
    named = nn.ParameterDict({"a": nbdl.ones(2)})
    named["b"] = nbdl.zeros(1)
    named.update({"c": nbdl.zeros(2)})
    assert [name for name, _ in named.named_parameters()] == ["a", "b", "c"]
    assert named.pop("b").shape == (1,)
    assert named.get("b") is None
    assert "b" not in named
    assert list((named | nn.ParameterDict({"d": nbdl.ones(1)})).keys()) == ["a", "c", "d"]


def test_parameter():
    data = nbdl.zeros(2)
    parameter = nn.Parameter(data)
    assert parameter.requires_grad
    assert parameter.is_leaf
    data.fill_(3.0)
    assert parameter.tolist() == [3.0, 3.0]
    assert repr(parameter) == "Parameter containing:\ntensor([3., 3.], requires_grad=True)"
    assert not nn.Parameter(nbdl.tensor([1]), requires_grad=False).requires_grad
    with pytest.raises(TypeError):
        nn.Parameter(nbdl.tensor([1]))
    with pytest.raises(TypeError, match="data"):
        nn.Parameter([1.0])


# ---------------------------------------------------------------- layers


def test_layers_pass_gradient_checks():
    rng = np.random.default_rng(3)
    x = nbdl.tensor(rng.standard_normal((3, 4)))
    linear = nn.Linear(4, 2, dtype=nbdl.float64)
    gradcheck(linear, [x.clone().requires_grad_()], parameters=list(linear.parameters()))
    bilinear = nn.Bilinear(4, 2, 3, dtype=nbdl.float64)
    y = nbdl.tensor(rng.standard_normal((3, 2)))
    inputs = [x.clone().requires_grad_(), y.requires_grad_()]
    gradcheck(bilinear, inputs, parameters=list(bilinear.parameters()))
    prelu = nn.PReLU(4, dtype=nbdl.float64)
    gradcheck(prelu, [x.clone().requires_grad_()], parameters=list(prelu.parameters()))


def test_sizes_are_checked():
    for build in (lambda: nn.Linear(-1, 2), lambda: nn.Linear(2, 1.5), lambda: nn.Bilinear(0, 1, 1)):
        with pytest.raises((ValueError, TypeError), match="features"):
            build()
    with pytest.raises(ValueError, match="p:"):
        nn.Dropout(1.5)
    with pytest.raises(TypeError, match="dtype"):
        nn.Linear(1, 1, dtype=nbdl.int64)


def test_embedding():
    table = nn.Embedding(5, 3, padding_idx=-1)
    assert table.padding_idx == 4
    assert not table.weight.detach().numpy()[4].any()
    table(nbdl.tensor([[0, 4], [1, 1]])).sum().backward()
    assert table.weight.grad.tolist() == [[1.0] * 3, [2.0] * 3, [0.0] * 3, [0.0] * 3, [0.0] * 3]
    frozen = nn.Embedding.from_pretrained(nbdl.ones(2, 3))
    assert not frozen.weight.requires_grad
    with pytest.raises(ValueError, match="padding_idx"):
        nn.Embedding(3, 2, padding_idx=3)


def test_vectors_of_parameters():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    vector = nn.utils.parameters_to_vector(model.parameters())
    assert vector.shape == (13,)
    vector.sum().backward()
    assert model[0].weight.grad.tolist() == [[1.0, 1.0]] * 3
    nn.utils.vector_to_parameters(nbdl.arange(13).to(nbdl.float32), model.parameters())
    assert model[1].bias.tolist() == [12.0]
    with pytest.raises(ValueError, match="vec"):
        nn.utils.vector_to_parameters(nbdl.zeros(12), model.parameters())


# ---------------------------------------------------------------- initial values


def filled(function, *shape, **options):
    nbdl.manual_seed(1)
    return function(nbdl.zeros(*shape), **options).numpy()


def test_uniform_and_normal_schemes():
    shape = (200, 300)
    init = nn.init
    assert abs(filled(init.uniform_, *shape, a=-1, b=3).mean() - 1) < 0.02
    assert abs(filled(init.normal_, *shape, mean=1, std=2).std() - 2) < 0.02
    assert abs(filled(init.xavier_uniform_, *shape, gain=2).max() - 2 * math.sqrt(6 / 500)) < 1e-3
    assert abs(filled(init.xavier_normal_, *shape).std() - math.sqrt(2 / 500)) < 1e-3
    assert abs(filled(init.kaiming_uniform_, *shape, a=math.sqrt(5)).max() - 1 / math.sqrt(300)) < 1e-4
    gain = filled(init.kaiming_normal_, *shape, mode="fan_out", nonlinearity="relu").std()
    assert abs(gain - math.sqrt(2 / 200)) < 1e-3
    assert abs(filled(init.kaiming_uniform_, 8, 4, 5, 5, nonlinearity="linear").max() - math.sqrt(3 / 100)) < 2e-3
    truncated = filled(init.trunc_normal_, *shape, std=1.0, a=-1.0, b=0.5)
    assert truncated.min() >= -1
    assert truncated.max() <= 0.5
    assert abs(filled(init.trunc_normal_, *shape, a=3.0, b=4.0).mean() - 3.2626) < 5e-3


def test_constant_and_structured_schemes():
    init = nn.init
    assert filled(init.ones_, 2, 2).tolist() == [[1, 1], [1, 1]]
    assert filled(init.constant_, 2, val=0.5).tolist() == [0.5, 0.5]
    assert filled(init.eye_, 2, 3).tolist() == [[1, 0, 0], [0, 1, 0]]
    dirac = filled(init.dirac_, 4, 2, 3, groups=2)
    assert dirac[:, :, 1].tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]
    assert not dirac[:, :, [0, 2]].any()
    for shape in ((5, 5), (3, 8), (8, 3), (4, 2, 3)):
        matrix = filled(init.orthogonal_, *shape, gain=2).reshape(shape[0], -1)
        small = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
        assert np.allclose(small, 4 * np.eye(len(small)), atol=1e-5)
    sparse = filled(init.sparse_, 10, 4, sparsity=0.25)
    assert (sparse == 0).sum(0).tolist() == [3] * 4


def test_initial_values_repeat_and_ignore_layout():
    first = filled(nn.init.normal_, 6, 4)
    assert np.array_equal(first, filled(nn.init.normal_, 6, 4))
    nbdl.manual_seed(1)
    transposed = nbdl.zeros(4, 6).transpose(0, 1)
    assert np.array_equal(nn.init.normal_(transposed).numpy(), first)


def test_initial_values_refuse():
    x = nbdl.zeros(3, 3)
    for call in (
        lambda: nn.init.uniform_(x, 1, 0),
        lambda: nn.init.normal_(x, std=-1),
        lambda: nn.init.kaiming_uniform_(x, mode="fan"),
        lambda: nn.init.calculate_gain("softmax"),
        lambda: nn.init.xavier_uniform_(nbdl.zeros(3)),
        lambda: nn.init.eye_(nbdl.zeros(3)),
        lambda: nn.init.dirac_(x),
        lambda: nn.init.dirac_(nbdl.zeros(3, 2, 1), groups=2),
        lambda: nn.init.orthogonal_(nbdl.zeros(3)),
        lambda: nn.init.sparse_(x, 2.0),
    ):
        with pytest.raises(ValueError, match=":"):
            call()
    with pytest.warns(UserWarning, match="zero-element"):
        nn.init.kaiming_normal_(nbdl.zeros(0, 3))


# ---------------------------------------------------------------- the same as PyTorch's

MODULES = {
    "CELU": [{}, {"alpha": 0.5, "inplace": True}],
    "ELU": [{}, {"alpha": 0.5}],
    "GELU": [{}, {"approximate": "tanh"}],
    "GLU": [{}, {"dim": 1}],
    "Hardshrink": [{}, {"lambd": 0.3}],
    "Hardsigmoid": [{}, {"inplace": True}],
    "Hardswish": [{}],
    "Hardtanh": [{}, {"min_val": -2.0, "max_val": 0.5}],
    "Identity": [{}],
    "LeakyReLU": [{}, {"negative_slope": 0.2, "inplace": True}],
    "LogSigmoid": [{}],
    "LogSoftmax": [{"dim": 1}],
    "Mish": [{}],
    "PReLU": [{}, {"num_parameters": 4}],
    "RReLU": [{}, {"lower": 0.1, "upper": 0.2}],
    "ReLU": [{}, {"inplace": True}],
    "ReLU6": [{}],
    "SELU": [{}],
    "SiLU": [{}],
    "Sigmoid": [{}],
    "Softmax": [{"dim": -1}, {"dim": 0}],
    "Softmin": [{"dim": 1}],
    "Softplus": [{}, {"beta": 2.0, "threshold": 5.0}],
    "Softshrink": [{}, {"lambd": 0.3}],
    "Softsign": [{}],
    "Tanh": [{}],
    "Tanhshrink": [{}],
    "Threshold": [{"threshold": 0.1, "value": 20.0}],
    "Dropout": [{}, {"p": 0.3, "inplace": True}],
    "Dropout1d": [{}],
    "Dropout2d": [{}],
    "AlphaDropout": [{"p": 0.2}],
    "FeatureAlphaDropout": [{}],
    "Flatten": [{}, {"start_dim": 0}],
    "Unflatten": [{"dim": 1, "unflattened_size": (2, 2)}],
    "Linear": [{"in_features": 4, "out_features": 3}, {"in_features": 4, "out_features": 2, "bias": False}],
}


def module_cases():
    return [pytest.param(name, options, id=f"{name}-{options}") for name, every in MODULES.items() for options in every]


def declared(function):
    """The signature for readers: the first overload's where the function itself takes anything."""
    overloads = typing.get_overloads(function)
    return inspect.signature(overloads[0] if overloads else function)


NOT_IN_TORCH_NN = {
    *("AveragedModel", "KVCache", "LayerSummary", "ModelSummary", "SwiGLU"),
    *("LearnedPositions", "RotaryPositions", "SinusoidalPositions"),
}
"""Modules of nbdl that PyTorch has elsewhere or not at all."""


class TestParity:
    pytestmark = parity

    @pytest.mark.parametrize(("name", "options"), module_cases())
    def test_modules(self, name, options):
        """Repr, state dict, forward and gradients, in evaluation mode so that nothing is random."""
        mine, theirs = getattr(nn, name)(**options).double().eval(), getattr(torch.nn, name)(**options).double().eval()
        assert repr(mine) == repr(theirs)
        assert {k: tuple(v.shape) for k, v in mine.state_dict().items()} == {
            k: tuple(v.shape) for k, v in theirs.state_dict().items()
        }
        mine.load_state_dict(theirs.state_dict())
        values = np.random.default_rng(1).standard_normal((6, 4, 4) if name.endswith(("1d", "2d")) else (6, 4)) * 2
        x, other_x = nbdl.tensor(values).requires_grad_(), torch.tensor(values, requires_grad=True)
        y, other_y = mine(x * 1.0), theirs(other_x * 1.0)
        assert y.shape == tuple(other_y.shape)
        assert np.allclose(y.detach().numpy(), other_y.detach().numpy(), rtol=1e-7, atol=1e-12)
        cotangent = np.random.default_rng(2).standard_normal(y.shape)
        y.backward(nbdl.tensor(cotangent))
        other_y.backward(torch.tensor(cotangent))
        assert np.allclose(x.grad.numpy(), other_x.grad.numpy(), rtol=1e-7, atol=1e-12)
        for (_, p), (_, q) in zip(mine.named_parameters(), theirs.named_parameters(), strict=True):
            assert np.allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-9)

    @pytest.mark.parametrize("name", sorted(n for n in nn.__all__ if inspect.isclass(getattr(nn, n))))
    def test_signatures(self, name):
        """Names, order and defaults of the arguments; PyTorch may have older ones behind them."""
        if not hasattr(torch.nn, name):
            assert name in NOT_IN_TORCH_NN
            return
        if "__init__" not in vars(getattr(torch.nn, name)) or name in ("Parameter", "Buffer", "Module", "Sequential"):
            return
        mine, theirs = (
            [
                (k, p.default.__name__ if inspect.isfunction(p.default) else p.default)  # relu is each library's own
                for k, p in declared(getattr(library, name).__init__).parameters.items()
            ]
            for library in (nn, torch.nn)
        )
        assert mine == theirs[: len(mine)]

    def test_signatures_of_init(self):
        for name in (n for n in dir(nn.init) if n.endswith("_") and not n.startswith("_")):
            mine = inspect.signature(getattr(nn.init, name)).parameters
            theirs = inspect.signature(getattr(torch.nn.init, name)).parameters
            assert {k: p.default for k, p in mine.items()} == {k: p.default for k, p in theirs.items()}, name

    def test_losses(self):
        rng = np.random.default_rng(0)
        x, y = rng.standard_normal((5, 3)), rng.uniform(0.1, 0.9, (5, 3))
        ids, weight = rng.integers(0, 3, 5), rng.uniform(0.5, 2, 3)
        cases = [
            ("MSELoss", {}, y), ("L1Loss", {"reduction": "sum"}, y), ("SmoothL1Loss", {"beta": 0.5}, y),
            ("HuberLoss", {"delta": 0.7}, y), ("BCEWithLogitsLoss", {"pos_weight": weight}, y),
            ("NLLLoss", {"weight": weight, "ignore_index": 1}, ids), ("KLDivLoss", {"reduction": "batchmean"}, y),
            ("CrossEntropyLoss", {"weight": weight, "label_smoothing": 0.1}, ids), ("CrossEntropyLoss", {}, y),
            ("MSELoss", {"reduce": False}, y), ("L1Loss", {"size_average": False}, y),
        ]  # fmt: skip
        for name, options, target in cases:
            results = []
            for library, wrap in ((nn, nbdl.tensor), (torch.nn, torch.tensor)):
                given = {k: wrap(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
                loss = getattr(library, name)(**given)
                assert list(loss.state_dict()) == [k for k, v in options.items() if isinstance(v, np.ndarray)]
                input = wrap(x).requires_grad_()
                value = loss(input, wrap(target))
                value.sum().backward()
                results.append((repr(loss), value.detach().numpy(), input.grad.numpy()))
            assert results[0][0] == results[1][0]
            assert np.allclose(results[0][1], results[1][1], rtol=1e-10)
            assert np.allclose(results[0][2], results[1][2], rtol=1e-10)

    def test_losses_of_several_inputs(self):
        rng = np.random.default_rng(0)
        a, b, c = (rng.standard_normal((4, 3)) for _ in range(3))
        signs, positive = rng.choice([-1.0, 1.0], 4), rng.uniform(0.5, 2, (4, 3))
        cases = [
            ("MarginRankingLoss", {"margin": 0.3}, (a, b, np.repeat(signs[:, None], 3, 1))),
            ("HingeEmbeddingLoss", {}, (positive, np.repeat(signs[:, None], 3, 1))),
            ("CosineEmbeddingLoss", {"margin": 0.2}, (a, b, signs)),
            ("TripletMarginLoss", {"p": 1.5, "swap": True, "reduction": "sum"}, (a, b, c)),
            ("GaussianNLLLoss", {"full": True}, (a, b, positive)),
            ("PoissonNLLLoss", {"full": True}, (a, positive)),
            ("SoftMarginLoss", {}, (a, np.repeat(signs[:, None], 3, 1))),
            ("TripletMarginWithDistanceLoss", {"margin": 0.5}, (a, b, c)),
            ("MultiMarginLoss", {"p": 2, "margin": 0.7}, (a, np.array([0, 2, 1, 0]))),
            ("MultiLabelMarginLoss", {}, (a, np.array([[0, -1, 1], [2, 1, -1], [-1, 0, 0], [0, 1, 2]]))),
            ("MultiLabelSoftMarginLoss", {"reduction": "sum"}, (a, (b > 0).astype(float))),
        ]
        for name, options, arrays in cases:
            results = []
            for library, wrap in ((nn, nbdl.tensor), (torch.nn, torch.tensor)):
                first, *others = (wrap(array) for array in arrays)
                value = getattr(library, name)(**options)(first.requires_grad_(), *others)
                value.backward()
                results.append((value.detach().numpy(), first.grad.numpy()))
            assert np.allclose(results[0][0], results[1][0], rtol=1e-10), name
            assert np.allclose(results[0][1], results[1][1], rtol=1e-9), name

    def test_repr_of_nested_modules(self):
        def build(library):
            return library.Sequential(
                library.Linear(2, 3),
                library.ModuleList([library.ReLU(), library.ReLU(), library.Dropout(0.1)]),
                library.ModuleDict({"a": library.Sequential(library.Tanh())}),
                library.Sequential(),
                library.ModuleList([library.Sequential(library.Linear(1, 1)) for _ in range(3)]),
            )

        assert repr(build(nn)) == repr(build(torch.nn))

    def test_state_of_nested_modules(self):
        def build(library):
            return library.Sequential(
                library.Linear(4, 3), library.PReLU(3), library.ModuleList([library.Bilinear(2, 3, 4)]),
                library.Embedding(3, 2),
            )  # fmt: skip

        mine, theirs = build(nn), build(torch.nn)
        assert list(mine.state_dict()) == list(theirs.state_dict())
        assert str(mine.load_state_dict(theirs.state_dict())) == str(theirs.load_state_dict(theirs.state_dict()))
        for name, value in theirs.state_dict().items():
            assert np.array_equal(mine.state_dict()[name].numpy(), value.numpy())
        half = {name: value.to(torch.bfloat16) for name, value in theirs.state_dict().items()}
        mine.load_state_dict(half)
        assert np.array_equal(mine[0].weight.detach().numpy(), half["0.weight"].float().numpy())


# ---------------------------------------------------------------- fusion


class Shifted(nn.Linear):
    """A linear layer of one's own."""

    def forward(self, input):
        return super().forward(input) + 1


def gradients(model, x):
    model.zero_grad()
    y = model(x)
    (y * y).sum().backward()
    return [y.detach().numpy(), *[parameter.grad.numpy() for parameter in model.parameters()]]


@pytest.mark.parametrize(
    ("activation", "operation"), [(nn.ReLU(), "LinearOp"), (nn.LeakyReLU(0.2, inplace=True), "LinearLeakyReluOp")]
)
def test_a_linear_layer_and_its_rectifier_run_as_one_operation(activation, operation):
    model = nn.Sequential(nn.Linear(5, 4), activation, nn.Linear(4, 2))
    x = nbdl.randn(200, 5)  # more rows than layers in a row take
    names = []
    node = model(x).grad_fn
    while not isinstance(node, nbdl.Tensor) and node is not None:
        names.append(node.op.__name__)
        node = next((edge[0] for edge in node.edges if isinstance(edge, tuple)), None)
    assert names == ["LinearOp", operation]
    one_by_one = nn.Sequential(nn.Linear(5, 4), nn.Sequential(activation), nn.Linear(4, 2))
    one_by_one.load_state_dict(model.state_dict())
    for fused, separate in zip(gradients(model, x), gradients(one_by_one, x), strict=True):
        np.testing.assert_array_equal(fused, separate)


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect"])
def test_a_convolution_and_its_relu_run_as_one_operation(padding_mode):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode=padding_mode), nn.ReLU())
    x = nbdl.randn(2, 3, 6, 5)
    assert model(x).grad_fn.op.__name__ == "ConvolutionOp"
    one_by_one = nn.Sequential(model[0], nn.Sequential(nn.ReLU()))
    assert one_by_one(x).grad_fn.op.__name__ == "ReluOp"
    for fused, separate in zip(gradients(model, x), gradients(one_by_one, x), strict=True):
        np.testing.assert_allclose(fused, separate, rtol=1e-5, atol=1e-5)


def test_hooks_and_subclasses_see_what_lies_between():
    x = nbdl.randn(7, 5)
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU())
    seen = []
    handle = model[0].register_forward_hook(lambda module, inputs, output: seen.append(output.numpy().min()))
    with nbdl.no_grad():
        plain = model(x)
        assert seen and seen[0] < 0
        handle.remove()
        model[1].forward = lambda input: input
        assert model(x).numpy().min() < 0
        del model[1].forward
        np.testing.assert_array_equal(model(x).numpy(), plain.numpy())
        own = nn.Sequential(Shifted(5, 4), nn.ReLU())
        own.load_state_dict(model.state_dict())
        np.testing.assert_allclose(
            own(x).numpy(), np.maximum(nn.functional.linear(x, *own.parameters()).numpy() + 1, 0)
        )


def test_an_empty_sequential_returns_its_input():
    x = nbdl.randn(2, 3)
    assert nn.Sequential()(x) is x
    assert nn.Sequential(nn.Linear(3, 4), nn.ReLU())[:0](x) is x
