"""Train on a folder of sounds of one's own: vowels, from the formants of people."""

# --8<-- [start:folder]
import os
import tempfile
import wave
from pathlib import Path

import numpy as np

# Three resonances of the throat, in hertz, for men, women and children: means over 76
# speakers (Peterson and Barney, 1952), and the pitch of each.
FORMANTS = {
    "heed": ((270, 2290, 3010), (310, 2790, 3310), (370, 3200, 3730)),
    "head": ((530, 1840, 2480), (610, 2330, 2990), (690, 2610, 3570)),
    "had": ((660, 1720, 2410), (860, 2050, 2850), (1010, 2320, 3320)),
    "hod": ((730, 1090, 2440), (850, 1220, 2810), (1030, 1370, 3170)),
    "who'd": ((300, 870, 2240), (370, 950, 2670), (430, 1170, 3260)),
}
VOICES = {"man": 130, "woman": 220, "child": 270}
RATE = 8000
generator = np.random.default_rng(0)


def vowel(formants, pitch):
    """A third of a second of a voice: pulses of the vocal folds through resonances."""
    seconds = generator.uniform(0.25, 0.4)
    glide = (
        pitch
        * np.exp(generator.normal(0, 0.12))
        * np.linspace(1.05, 0.9, round(seconds * RATE))
    )
    phase = np.cumsum(glide) / RATE
    sound = np.diff(np.floor(phase), prepend=0) + 0.02 * generator.normal(size=len(phase))
    for centre in formants:
        centre = min(centre * np.exp(generator.normal(0, 0.06)), 0.48 * RATE)
        r, angle = np.exp(-np.pi * 90 / RATE), 2 * np.pi * centre / RATE
        a, b, past = 2 * r * np.cos(angle), -(r * r), (0.0, 0.0)
        for t, x in enumerate(sound):
            past = (x + a * past[0] + b * past[1], past[0])
            sound[t] = past[0]
    return sound / np.abs(sound).max() * generator.uniform(0.2, 0.9)


root = Path(tempfile.mkdtemp(), "vowels")
for word, people in FORMANTS.items():
    (root / word).mkdir(parents=True)
    for formants, (voice, pitch) in zip(people, VOICES.items(), strict=True):
        for take in range(12):
            samples = (vowel(formants, pitch) * 32767).astype("<i2")
            with wave.open(str(root / word / f"{voice}_{take:02}.wav"), "wb") as file:
                file.setparams((1, 2, RATE, 0, "NONE", ""))
                file.writeframes(samples.tobytes())
for folder in sorted(root.iterdir()):
    print(f"vowels/{folder.name}/".ljust(14), len(list(folder.glob("*.wav"))), "files")
# --8<-- [end:folder]

# --8<-- [start:read]
from nbdl import data

sounds = data.SoundClassFolder(root, bands=40, per_band=False)
print(sounds)
print(sounds.classes)
spectrogram, label = sounds[0]
print(spectrogram.shape, "frames of 10 ms x mel bands;", sounds.classes[label])
# --8<-- [end:read]

# --8<-- [start:train]
import nbdl
from nbdl import models, nn, optim, train


def fitted(training, test, epochs=15):
    nbdl.manual_seed(0)
    model = models.RecurrentClassifier(40, 32, len(sounds.classes), kind="gru", dropout=0.3)
    history = train.fit(
        model,
        data.BucketLoader(training, batch_size=16),
        optim.AdamW(model.parameters(), lr=1e-2),
        nn.CrossEntropyLoss(),
        validation=data.DataLoader(test, batch_size=64),
        metrics={"accuracy": train.accuracy},
        clip_norm=1.0,
        epochs=epochs,
    )
    return model, history


training, test = (
    sounds.select(rows) for rows in data.stratified_split(sounds.labels, 0.25, seed=0)
)
model, history = fitted(training, test)
for record in history[::4] + history[-1:]:
    print(
        f"epoch {record['epoch']:2}  loss {record['loss']:.3f}  "
        f"test accuracy {record['validation_accuracy']:.3f}"
    )
# --8<-- [end:train]
assert history[-1]["validation_accuracy"] > 0.9

# --8<-- [start:predict]
from nbdl import ops

model.eval()


def classify(path):
    """The likeliest word of a WAV file, and its probability."""
    features = data.read_spectrogram(path, bands=40, per_band=False)
    with nbdl.no_grad():
        scores = model(nbdl.tensor(features[None]), nbdl.tensor([len(features)]))
        chances = ops.softmax(scores, dim=1).numpy()[0]
    return sounds.classes[chances.argmax()], float(chances.max())


for path in sounds.paths[::45]:
    word, chance = classify(path)
    print(f"{path.parent.name}/{path.name} is {word} with {chance:.3f}")
# --8<-- [end:predict]

# --8<-- [start:keep]
described = {"classes": list(sounds.classes), "bands": 40, "per_band": False}
nbdl.save({"weights": model.state_dict(), **described}, root.parent / "vowels.safetensors")

kept = nbdl.load(root.parent / "vowels.safetensors")
again = models.RecurrentClassifier(kept["bands"], 32, len(kept["classes"]), kind="gru")
again.load_state_dict(kept["weights"])
again.eval()
features = data.read_spectrogram(path, kept["bands"], kept["per_band"])
with nbdl.no_grad():
    scores = again(nbdl.tensor(features[None]), nbdl.tensor([len(features)]))
answer = scores.numpy().argmax()
print(f"{path.parent.name}/{path.name} is {kept['classes'][answer]}")
# --8<-- [end:keep]
assert kept["classes"][answer] == word

# --8<-- [start:stranger]
voices = np.array([path.name.split("_")[0] for path in sounds.paths])
for voice in VOICES:
    others, own = np.flatnonzero(voices != voice), np.flatnonzero(voices == voice)
    _, run = fitted(sounds.select(others), sounds.select(own))
    print(f"{voice:6} never heard: accuracy {run[-1]['validation_accuracy']:.3f}")
# --8<-- [end:stranger]

# --8<-- [start:rate]
samples, rate = data.read_wav(root / "heed" / "man_00.wav")
print(f"{len(samples)} samples, {rate} a second: {len(samples) / rate:.2f} s")
right, wrong = data.log_mel(samples, rate), data.log_mel(samples, 16000)
print("frames:", len(right), "as it is,", len(wrong), "if taken for 16,000 a second")
# --8<-- [end:rate]

# --8<-- [start:formats]
import contextlib

with contextlib.chdir(root):
    Path("song.wav").write_bytes(b"ID3\x04\x00\x00\x00\x00\x00\x00\x00\x00")
    try:
        data.read_wav("song.wav")
    except data.AudioFormatError as error:
        print(error)
    os.remove("song.wav")
# --8<-- [end:formats]


# --8<-- [start:noise]
def with_noise(ratio):
    """The test sounds with noise whose loudness is this share of theirs."""
    features = []
    for path in np.array(sounds.paths)[
        data.stratified_split(sounds.labels, 0.25, seed=0)[1]
    ]:
        samples, rate = data.read_wav(path)
        noise = generator.normal(size=len(samples)) * samples.std() * ratio
        loud = data.log_mel(samples + noise.astype("float32"), rate)
        features.append(((loud - loud.mean()) / 3).astype("float32"))
    return data.SequenceDataset(features, test.labels)


trainer = train.Trainer(
    model, None, None, nn.CrossEntropyLoss(), metrics={"accuracy": train.accuracy}
)
for ratio in (0.0, 0.03, 0.3):
    result = trainer.evaluate(data.DataLoader(with_noise(ratio), batch_size=64))
    print(f"noise {ratio:4.0%}: accuracy {result['accuracy']:.3f}")
# --8<-- [end:noise]

# --8<-- [start:steady]
centred = data.SoundClassFolder(root, bands=40)
_, run = fitted(
    *(centred.select(rows) for rows in data.stratified_split(sounds.labels, 0.25, seed=0))
)
print(f"each band with mean 0: test accuracy {run[-1]['validation_accuracy']:.3f}")
# --8<-- [end:steady]
