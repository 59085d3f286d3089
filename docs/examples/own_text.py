"""Train on a text file of one's own: a network that goes on with what one begins."""

# --8<-- [start:file]
import tempfile
from pathlib import Path
from pydoc_data.topics import topics

from nbdl import data

path = Path(tempfile.mkdtemp(), "book.txt")
path.write_text("\n".join(topics.values()), encoding="utf-8")

text = data.read_text(path)
print(f"{len(text):,} characters, {len(set(text))} different ones")
print(text[:64])
# --8<-- [end:file]

# --8<-- [start:tokens]
tokenizer = data.CharacterTokenizer.of(text)
ids = tokenizer.encode(text)
split = len(ids) * 9 // 10
print(ids[:12], "->", repr(tokenizer.decode(ids[:12])))

baselines = {
    order: data.NgramModel(ids[:split], order, tokenizer.size).loss(ids[split:])
    for order in (1, 2, 3)
}
for order, loss in baselines.items():
    print(f"{data.ngram_name(order):8} {loss:.3f} nats per character")
# --8<-- [end:tokens]

# --8<-- [start:train]
import nbdl
from nbdl import models, nn, optim, train

nbdl.manual_seed(0)
sizes = {"embedding_dim": 32, "hidden_size": 128}
model = models.RecurrentLanguageModel(tokenizer.size, **sizes)
loader = data.StreamLoader(ids[:split], batch_size=32, steps=64)
epochs = 2
optimizer = optim.AdamW(model.parameters(), lr=1e-2)
schedule = optim.lr_scheduler.OneCycleLR(
    optimizer, 1e-2, total_steps=epochs * len(loader), cycle_momentum=False
)
trainer = train.StreamTrainer(
    model,
    loader,
    optimizer,
    nn.CrossEntropyLoss(),
    validation=data.StreamLoader(ids[split:], 8, 256),
    schedule=schedule,
    schedule_each="batch",
    clip_norm=1.0,
)
for record in trainer.run(epochs):
    print(
        f"epoch {record['epoch']}  training {record['loss']:.3f}, "
        f"held out {record['validation_loss']:.3f} nats per character"
    )
# --8<-- [end:train]
assert record["validation_loss"] < baselines[3]

# --8<-- [start:write]
prompt = tokenizer.encode("The return statement ")
written = list(models.generate(model, prompt, length=250, temperature=0.5, seed=1))
print("The return statement " + tokenizer.decode(written))
# --8<-- [end:write]

# --8<-- [start:keep]
folder = path.parent
nbdl.save(
    {"weights": model.state_dict(), "sizes": sizes, "tokenizer": tokenizer.description()},
    folder / "writer.safetensors",
)
kept = nbdl.load(folder / "writer.safetensors")
known = data.tokenizer_from(kept["tokenizer"])
again = models.RecurrentLanguageModel(known.size, **kept["sizes"])
again.load_state_dict(kept["weights"])
repeated = list(models.generate(again, prompt, length=250, temperature=0.5, seed=1))
print("writes the same:", repeated == written)
# --8<-- [end:keep]
assert repeated == written

# --8<-- [start:unknown]
try:
    tokenizer.encode("naïve, 딥러닝")
except data.TokenError as error:
    print(error)
bytes_of = data.ByteTokenizer()
print(bytes_of.encode("딥"), bytes_of.decode(bytes_of.encode("naïve, 딥러닝")))
# --8<-- [end:unknown]

# --8<-- [start:encoding]
import contextlib

(folder / "old.txt").write_bytes("딥러닝".encode("cp949"))
with contextlib.chdir(folder):
    try:
        data.read_text("old.txt")
    except data.DataFileError as error:
        print(error)
    converted = Path("old.txt").read_bytes().decode("cp949")
    Path("new.txt").write_text(converted, encoding="utf-8")
    print(data.read_text("new.txt"))
# --8<-- [end:encoding]

# --8<-- [start:pieces]
merged = data.BpeTokenizer.train(text[:split], size=512)
tokens = merged.encode(text[split:])
print("|".join(merged.decode([token]) for token in merged.encode("The return statement")))
print(f"{len(text) - split:,} characters are {len(tokens):,} tokens")
characters = len(text) - split
print(f"2.5 nats per token are {2.5 * len(tokens) / characters:.2f} per character")
# --8<-- [end:pieces]

# --8<-- [start:temperature]
for temperature in (0.0, 0.5, 1.2):
    written = models.generate(model, prompt, 60, temperature, seed=2)
    print(f"{temperature}  {tokenizer.decode(list(written))!r}")
# --8<-- [end:temperature]

# --8<-- [start:copied]
story = tokenizer.decode(list(models.generate(model, prompt, 1000, 0.5, seed=3)))
story, book = " ".join(story.split()), " ".join(text.split())  # runs of blanks are easy
for length in (5, 10, 20, 40):
    places = range(len(story) - length)
    found = sum(story[i : i + length] in book for i in places) / len(places)
    print(f"pieces of {length:2} characters that stand in the book: {found:5.1%}")
# --8<-- [end:copied]
