"""Hangul syllables and their jamo, and the recipe that learns to take them apart."""

import json
import unicodedata

import numpy as np
import pytest

import nbdl
from nbdl import data, train
from nbdl.cli import main
from nbdl.data import jamo
from nbdl.train.recipes.seq2seq import exact_match, mean_over_answers, share_of_matches, take_apart

SMALL = {"width": 8, "heads": 2, "layers": 1, "epochs": 2, "batch_size": 512}


@pytest.fixture(autouse=True)
def one_thread():
    threads = nbdl.get_num_threads()
    nbdl.set_num_threads(1)
    yield
    nbdl.set_num_threads(threads)


# ---------------------------------------------------------------- data


def arithmetic(syllable):
    """The numbers of initial, vowel and final by division, as the module's docstring has it."""
    number, final = divmod(ord(syllable) - 0xAC00, 28)
    return *divmod(number, 21), final


def test_jamo_are_quotients_and_remainders():
    for syllable in jamo.HANGUL_SYLLABLES[::7]:
        initial, vowel, final = arithmetic(syllable)
        wanted = chr(0x1100 + initial) + chr(0x1161 + vowel) + (chr(0x11A7 + final) if final else "")
        assert unicodedata.normalize("NFD", syllable) == wanted
    assert len(jamo.HANGUL_SYLLABLES) == 11_172


@pytest.mark.parametrize("order", jamo.ORDERS)
def test_tokenizer_there_and_back(order):
    tokenizer = data.JamoTokenizer(order)
    assert len(tokenizer.jamo) == 19 + 21 + 27 == tokenizer.size - 4
    ids = tokenizer.encode("값진나라")
    assert tokenizer.decode([tokenizer.begin, *ids, tokenizer.end, 7]) == "값진나라"
    assert tokenizer.letters(ids) == "ㄱㅏㅄㅈㅣㄴㄴㅏㄹㅏ"
    forwards = data.JamoTokenizer().encode("값진나라").tolist()
    backwards = [*forwards[2::-1], *forwards[5:2:-1], 3, *forwards[7:5:-1], 3, *forwards[9:7:-1]]
    assert ids.tolist() == (backwards if order == "division" else forwards)
    for syllable in jamo.HANGUL_SYLLABLES[::11]:
        assert tokenizer.decode(tokenizer.encode(syllable)) == syllable
    assert tokenizer.encode("").tolist() == [] and repr(tokenizer) == "JamoTokenizer(67 jamo)"


def test_parts_are_fixed_and_apart():
    known, asked = data.split_syllables()
    assert (len(known), len(asked)) == (8_938, 2_234)
    assert set(known) | set(asked) == set(jamo.HANGUL_SYLLABLES) and not set(known) & set(asked)
    assert data.split_syllables()[1] == asked != data.split_syllables(seed=1)[1]
    assert len(data.split_syllables(0.5)[0]) == 5_586


def test_what_a_decoder_reads_and_answers():
    sources, seen, answers = data.syllables_and_jamo("한하", data.JamoTokenizer("division")).arrays
    assert [bytes(row.astype(np.uint8)).decode() for row in sources] == ["한", "하"]
    assert answers.tolist() == [[47, 23, 22, 2], [3, 23, 22, 2]]
    assert seen.tolist() == [[1, 47, 23, 22], [1, 3, 23, 22]]
    _, seen, answers = data.syllables_and_jamo("한하", data.JamoTokenizer()).arrays
    assert answers.tolist() == [[22, 23, 47, 2], [22, 23, 2, 0]]


def test_baselines_know_neighbours_and_habits():
    tokenizer = data.JamoTokenizer()
    train_part = data.syllables_and_jamo("가각하", tokenizer)
    test_part = data.syllables_and_jamo("갂힣", tokenizer)
    nearest = jamo.nearest_syllable(train_part, test_part)
    assert [tokenizer.decode(row) for row in nearest] == ["각", "하"]
    habit = jamo.most_common_jamo(train_part, test_part)
    assert habit.shape == (2, 4) and tokenizer.decode(habit[0]) == "가"
    assert share_of_matches(habit, test_part.arrays[2]) == (0.0, 2 / 8)


@pytest.mark.parametrize(
    ("error", "said", "call"),
    [
        (data.TokenError, "Hangul", lambda: data.JamoTokenizer().encode("한a")),
        (data.TokenError, "ids", lambda: data.JamoTokenizer().decode([71])),
        (data.TokenError, "ids", lambda: data.JamoTokenizer().decode([-1])),
        (data.DataArgumentError, "order", lambda: data.JamoTokenizer("backwards")),
        (data.TokenError, "syllables", lambda: data.syllables_and_jamo("ㅎ", data.JamoTokenizer())),
        (data.EmptyDataError, "syllables", lambda: data.syllables_and_jamo("", data.JamoTokenizer())),
        (data.DataArgumentError, "test_share", lambda: data.split_syllables(1.0)),
        (data.DataArgumentError, "seed", lambda: data.split_syllables(seed=-1)),
    ],
)
def test_what_the_data_refuses(error, said, call):
    with pytest.raises(error, match=said):
        call()


# ---------------------------------------------------------------- recipe


def test_padding_counts_for_nothing():
    scores = np.zeros((2, 2, 5), np.float32)
    scores[0, 0, 3] = scores[0, 1, 2] = scores[1, 0, 4] = 5.0
    scores[1, 1, 1] = 9.0  # at a place of padding
    answers = nbdl.tensor([[3, 2], [4, 0]])
    assert exact_match(nbdl.from_numpy(scores), answers) == 1.0
    wanted = -np.log(np.exp(5) / (np.exp(5) + 4))
    assert mean_over_answers(nbdl.from_numpy(scores), answers).item() == pytest.approx(wanted, rel=1e-5)
    answers[0, 1] = 3
    assert exact_match(nbdl.from_numpy(scores), answers) == 0.5


def test_a_run_says_how_well_it_reads(tmp_path, capsys):
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    assert main(["train", "seq2seq-jamo", "--out", str(tmp_path), *options]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[-1].startswith("exact_match=0.0")
    assert {"most_common_exact_match=0.0000", "nearest_syllable_exact_match=0.0000"} <= set(lines)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert records[1]["loss"] < records[0]["loss"] and "validation_exact_match" in records[1]
    sample = (tmp_path / "sample.txt").read_text().splitlines()
    assert sample[0].startswith("딥러닝 -> ") and "mistake" in sample[-1]

    apart = unicodedata.normalize("NFD", "딥러닝")  # as some keyboards write it
    assert main(["sample", str(tmp_path), "--prompt", f"{apart} 역전파"]) == 0
    assert capsys.readouterr().out.splitlines() == sample[:2]
    for prompt, said in (("abc", "expected Hangul syllables"), ("\n", "prompt: expected Hangul syllables")):
        assert main(["sample", str(tmp_path), "--prompt", prompt]) == 1
        assert said in capsys.readouterr().err


class Stop(train.Callback):
    def on_batch_end(self, trainer, loss):
        if trainer.step == 25:
            trainer.save()
            raise KeyboardInterrupt


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    options = SMALL | {"order": "reading", "dropout": 0.1}
    whole = train.run_recipe("seq2seq-jamo", out=tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        train.run_recipe("seq2seq-jamo", out=tmp_path / "part", callbacks=[Stop()], **options)
    resumed = train.run_recipe("seq2seq-jamo", out=tmp_path / "part", resume=True)
    assert resumed.metrics == whole.metrics
    weights = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in ("whole", "part")]
    assert weights[0] == weights[1]


def test_one_syllable_of_an_endless_writer():
    """A model that never writes the end is cut off after as many answers as a syllable can have."""
    result = nbdl.models.Seq2SeqTransformer(256, 71, 8, 2, 1, max_length=4)
    nbdl.nn.init.zeros_(result.output.weight)
    result.output.bias._array[:] = 0
    result.output.bias._array[5] = 1
    assert take_apart(result, "한", data.JamoTokenizer()).tolist() == [[5, 5, 5, 5]]
