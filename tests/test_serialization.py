"""Files that were saved load as they were; damaged ones are refused by name."""

import io

import numpy as np
import pytest
import safetensors.numpy

import nbdl
from nbdl import nn, serialization


def test_state_dict_round_trip(tmp_path):
    path = tmp_path / "model.safetensors"
    model, other = (nn.Sequential(nn.Linear(3, 2), nn.PReLU()) for _ in range(2))
    nbdl.save(model.state_dict(), path, {"epoch": "3"})
    assert list(nbdl.load(path)) == list(model.state_dict())
    assert str(other.load_state_dict(nbdl.load(path))) == "<All keys matched successfully>"
    assert np.array_equal(other[0].weight.detach().numpy(), model[0].weight.detach().numpy())
    assert serialization.load_metadata(path) == {"epoch": "3"}
    assert sorted(safetensors.numpy.load_file(path)) == sorted(model.state_dict())
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_nested_objects():
    tensor = nbdl.tensor([[1.0, 2.0]]).requires_grad_()
    given = {
        "numbers": [1, 2.5, None, True, 'a "sha256":"text"'],
        "pair": (tensor, np.arange(6).reshape(2, 3).T),
        3: {"scalar": nbdl.tensor(2.0), "empty": nbdl.zeros(0, 3)},
        "dtypes": [np.zeros(1, kind) for kind in (np.float64, np.int8, np.uint8, np.int16, np.int32, np.bool_)],
        "a.b": np.float32(1),
        "a": {"b": np.int64(2)},
    }
    file = io.BytesIO()
    nbdl.save(given, file)
    file.seek(0)
    got = nbdl.load(file)
    assert got["numbers"] == given["numbers"]
    assert isinstance(got["pair"], tuple)
    assert got["pair"][0].tolist() == [[1.0, 2.0]]
    assert got["pair"][1].tolist() == given["pair"][1].tolist()
    assert got[3]["scalar"].shape == ()
    assert got[3]["empty"].shape == (0, 3)
    assert [t.dtype for t in got["dtypes"]] == [a.dtype for a in given["dtypes"]]
    assert (got["a.b"].item(), got["a"]["b"].item()) == (1, 2)
    got["pair"][0].fill_(0.0)  # memory of its own


def test_every_damaged_byte_is_noticed():
    contents = serialization.to_bytes({"x": nbdl.arange(5), "y": [1, 2]})
    for place in range(len(contents)):
        with pytest.raises(nbdl.FileFormatError):
            serialization.from_bytes(contents[:place])
        changed = contents[:place] + bytes([contents[place] ^ 4]) + contents[place + 1 :]
        with pytest.raises(nbdl.FileFormatError):
            serialization.from_bytes(changed)


def test_files_of_other_programs():
    plain = safetensors.numpy.save({"w": np.ones((2, 2), np.float16)})
    assert serialization.from_bytes(plain)["w"].dtype == np.float32
    for contents in (b"", b"x", b"hello, world", b"\xff" * 100, plain[:-1]):
        with pytest.raises(nbdl.FileFormatError, match="safetensors"):
            serialization.from_bytes(contents)


def test_refusals(tmp_path):
    with pytest.raises(TypeError, match=r"a\.0"):
        nbdl.save({"a": [object()]}, tmp_path / "x")
    with pytest.raises(TypeError, match="keys"):
        nbdl.save({(1, 2): 3}, tmp_path / "x")
    with pytest.raises(ValueError, match="sha256"):
        nbdl.save({}, tmp_path / "x", {"sha256": "a"})
    with pytest.raises(FileNotFoundError):
        nbdl.load(tmp_path / "x")
    with pytest.raises(OSError, match="folder"):
        nbdl.save({}, tmp_path / "no folder" / "x")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x"
    nbdl.save({"version": 1}, path)
    monkeypatch.setattr(serialization.os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        nbdl.save({"version": 2}, path)
    assert nbdl.load(path) == {"version": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


def test_the_same_object_makes_the_same_bytes():
    objects = [{"가": nbdl.ones(3), "b": [1.5, '\x7f\t"x"'], "c": np.zeros((2, 0))} for _ in range(8)]
    files = {serialization.to_bytes(value, {"one": "1", "two": "2", "three": "3"}) for value in objects}
    assert len(files) == 1
    assert serialization.from_bytes(files.pop())["b"] == objects[0]["b"]
