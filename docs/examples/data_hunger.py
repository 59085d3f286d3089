"""Data hunger: test error against the number of examples, augmentation, and transfer."""

# --8<-- [start:few]
import numpy as np

import nbdl
from labs.data_hunger import LEARNING, WAYS, steps_for
from labs.training import draw_split, learn, measure

nbdl.set_num_threads(1)

for examples in (40, 400):
    split = draw_split(seed=0, examples=examples)
    for name in ("linear", "MLP", "CNN"):
        make, settings = WAYS[name]
        model = learn(
            make, split.train, seed=0, steps=steps_for(examples), **LEARNING, **settings
        ).model
        error, _ = measure(model, split.test)
        print(f"{examples:4} examples, {name:6} test error {error:5.1%}")
# --8<-- [end:few]

# --8<-- [start:curves]
from labs.estimate import change, estimate
from labs.experiment import load

curves = load("data-sizes")["values"]
sizes = [int(size) for size in curves["linear"]]
print("examples  " + "".join(f"{name:>18}" for name in curves))
for size in sizes:
    row = [estimate(curves[name][f"{size}"]) for name in curves]
    print(f"{size:8}  " + "".join(f"{e:>.1%}".rjust(18) for e in row))
# --8<-- [end:curves]
last = str(sizes[-1])
assert change(curves["CNN"]["10"], curves["linear"]["10"]).high > 0  # no head start
for name in ("MLP", "CNN"):
    assert change(curves[name][last], curves["linear"][last]).high < 0
for size in ("160", last):
    assert change(curves["CNN, augmented"][size], curves["CNN"][size]).high < 0


# --8<-- [start:law]
def exponents(by_size):
    """The slope of log error over log examples, one a seed."""
    log_error = np.log(np.array(list(by_size.values())))
    return -np.polyfit(np.log(sizes), log_error, 1)[0]


laws = {name: estimate(exponents(by_size)) for name, by_size in curves.items()}
for name, law in laws.items():
    print(f"{name:15} exponent {law:.2f}: ten times the data, error / {10**law.mean:.1f}")
# --8<-- [end:law]
assert laws["CNN"].low > laws["linear"].high


# --8<-- [start:worth]
def needed(by_size, error):
    """How many examples the mean curve needs for an error, between two sizes as a power."""
    means = np.log([np.mean(errors) for errors in by_size.values()])
    return np.exp(np.interp(-np.log(error), -means, np.log(sizes)))


for size in (80, 160, 400):
    error = np.mean(curves["CNN, augmented"][f"{size}"])
    count = needed(curves["CNN"], error)
    print(
        f"CNN, augmented, {size} examples: error {error:.1%}; "
        f"without augmentation that takes {count:.0f}, {count / size:.1f} times as many"
    )
# --8<-- [end:worth]
assert needed(curves["CNN"], np.mean(curves["CNN, augmented"]["160"])) > 200

# --8<-- [start:transfer]
transfer = load("data-transfer")["values"]
scratch = transfer["from nothing"]
for name, by_size in transfer.items():
    print(name)
    for size, errors in by_size.items():
        gain = change(errors, scratch[size])
        print(f"{size:>5} examples: {estimate(errors):5.1%}, change {gain:+.1%}")
# --8<-- [end:transfer]
early = transfer["convolutions from 0 to 4"]
late = transfer["all but the last layer from 0 to 4"]
for size in ("5", "10", "40", "80"):
    assert change(early[size], scratch[size]).high < 0
for size in ("5", "10"):
    assert change(late[size], scratch[size]).high < 0
assert change(late["320"], scratch["320"]).high > 0
assert change(early["320"], late["320"]).high < 0

# --8<-- [start:beyond]
predicted, true = [], np.array(curves["CNN"][f"{sizes[-1]}"])
for seed in range(len(true)):
    early = [np.log(curves["CNN"][f"{size}"][seed]) for size in sizes[:5]]
    slope, start = np.polyfit(np.log(sizes[:5]), early, 1)
    predicted.append(np.exp(start + slope * np.log(sizes[-1])))
print(f"predicted from up to {sizes[4]} examples: {estimate(predicted):.1%}")
print(f"measured with {sizes[-1]}: {estimate(true):.1%}")
print(f"difference: {change(predicted, true):+.1%}")
# --8<-- [end:beyond]

# --8<-- [start:classes]
for examples in (10, 40):
    errors = {"balanced": [], "as they come": []}
    for seed in range(10):
        split = draw_split(seed, examples)
        whole = draw_split(seed, 1200).train
        order = np.random.default_rng(seed).permutation(1200)[:examples]
        drawn = nbdl.data.ArrayDataset(*whole.take(order))
        for name, dataset in (("balanced", split.train), ("as they come", drawn)):
            make, settings = WAYS["linear"]
            options = {**LEARNING, "steps": 200, **settings}
            model = learn(make, dataset, seed=seed, **options).model
            errors[name].append(measure(model, split.test)[0])
    for name, values in errors.items():
        print(f"{examples} examples, {name:12} {estimate(values):.1%}")
# --8<-- [end:classes]
