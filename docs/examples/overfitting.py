"""Overfitting: learning by heart, learning curves, what helps, and double descent."""

# --8<-- [start:by-heart]
import numpy as np

import nbdl
from nbdl import data
from labs.training import draw_split, learn, measure, mlp

nbdl.set_num_threads(1)  # networks this small gain nothing from more

split = draw_split(seed=0, examples=500)
images, labels = split.train.arrays
nonsense = data.RandomStream(seed=0, epoch=3).integers(0, 9, len(labels))

for kind, targets in (("true labels", labels), ("random labels", nonsense)):
    dataset = data.ArrayDataset(images, targets)
    model = learn(mlp, dataset, seed=0, steps=1600).model
    on_train, on_test = measure(model, dataset)[0], measure(model, split.test)[0]
    print(f"{kind:14} training error {on_train:6.1%}, test error {on_test:6.1%}")
# --8<-- [end:by-heart]

# --8<-- [start:read]
from labs.estimate import change, estimate
from labs.experiment import load

heart = load("overfitting-by-heart")
for kind, values in heart["values"].items():
    last = [errors[-1] for errors in values["train_error"]]
    print(
        f"{kind:14} training error {estimate(last):5.1%}, "
        f"test error {estimate(values['test_error']):5.1%}"
    )
# --8<-- [end:read]
assert estimate(heart["values"]["random labels"]["test_error"]).low < 0.9
assert estimate(heart["values"]["random labels"]["test_error"]).high > 0.88
assert max(e[-1] for e in heart["values"]["random labels"]["train_error"]) < 0.02

# --8<-- [start:curves]
curves = load("overfitting-curves")
every = curves["settings"]["every"] * curves["settings"]["steps_an_epoch"]
for wrong, parts in curves["values"].items():
    loss = estimate(parts["test_loss"])
    best = int(np.argmin(loss.mean))
    print(
        f"{float(wrong):.0%} wrong labels: "
        f"test loss lowest after {every * (best + 1)} steps, "
        f"{loss.mean[best]:.2f}; at the end {loss.mean[-1]:.2f} ± {loss.error[-1]:.2f}"
    )
# --8<-- [end:curves]
for parts in curves["values"].values():
    lowest = np.min(parts["test_loss"], axis=1)
    assert estimate(np.array(parts["test_loss"])[:, -1] - lowest).low > 0

# --8<-- [start:remedies]
remedies = load("overfitting-remedies")["values"]


def chosen(strengths):
    """The strength with the smallest error on the validation examples."""
    return min(strengths, key=lambda name: np.mean(strengths[name]["validation_error"]))


gains = {}
for wrong, table in remedies.items():
    plain = table["nothing"][""]
    print(
        f"{float(wrong):.0%} of the labels wrong; "
        f"with no remedy: test error {estimate(plain['test_error']):.1%}"
    )
    for remedy, strengths in table.items():
        if remedy == "nothing":
            continue
        name = chosen(strengths)
        error = change(strengths[name]["test_error"], plain["test_error"])
        loss = change(strengths[name]["test_loss"], plain["test_loss"])
        gains[wrong, remedy] = error
        print(f"  {remedy:16} {name:29} error {error:+6.1%}   loss {loss:+.2f}")
# --8<-- [end:remedies]
assert gains["0", "more data"].high < 0
for remedy in ("dropout", "weight decay", "early stopping"):
    strengths = remedies["0"][remedy]
    kept = strengths[chosen(strengths)]
    assert gains["0", remedy].high > 0, remedy
    assert change(kept["test_loss"], remedies["0"]["nothing"][""]["test_loss"]).high < 0
for remedy in set(remedies["0.2"]) - {"nothing"}:
    assert gains["0.2", remedy].high < 0, remedy

# --8<-- [start:descent]
features = load("overfitting-random-features")
networks = load("overfitting-width")


def error_by(results, part):
    """The sizes of a model and the errors, one column a size."""
    sizes = [int(size) for size in results["values"]]
    return sizes, estimate(np.transpose([v[part] for v in results["values"].values()]))


for name, results in (("random features", features), ("width of an MLP", networks)):
    sizes, test = error_by(results, "test_error")
    peak = int(np.argmax(np.where(np.array(sizes) > 40, test.mean, 0)))
    valley = int(np.argmin(test.mean[:peak]))
    for what, i in (("valley", valley), ("peak", peak), ("end", -1)):
        print(f"{name}: {what:6} at {sizes[i]:4}: {test.mean[i]:.1%} ± {test.error[i]:.1%}")
    rise = change(
        results["values"][f"{sizes[peak]}"]["test_error"],
        results["values"][f"{sizes[valley]}"]["test_error"],
    )
    fall = change(
        results["values"][f"{sizes[-1]}"]["test_error"],
        results["values"][f"{sizes[peak]}"]["test_error"],
    )
    print(f"{name}: up by {rise:.1%}, down again by {fall:.1%}")
    assert rise.low > 0 and fall.high < 0
# --8<-- [end:descent]

# --8<-- [start:corruption]
shares = load("overfitting-corruption")["values"]
for share, values in shares.items():
    print(
        f"{float(share):4.0%} random labels: "
        f"no training error after {estimate(values['steps']):.0f} steps, "
        f"test error {estimate(values['test_error']):.1%}"
    )
# --8<-- [end:corruption]
assert change(shares["1"]["steps"], shares["0.4"]["steps"]).high < 0

# --8<-- [start:paired]
plain, smooth = (remedies["0"][r] for r in ("nothing", "label smoothing"))
before = estimate(plain[""]["test_error"])
after = estimate(smooth[chosen(smooth)]["test_error"])
apart = np.hypot(before.error, after.error)
print(f"{before:.1%} and {after:.1%}: a difference of {before.mean - after.mean:.1%}")
print(f"error of the difference, as if the two had nothing in common: {apart:.1%}")
print(f"error of the difference, seed by seed: {gains['0', 'label smoothing'].error:.1%}")
# --8<-- [end:paired]


# --8<-- [start:ridge]
def ridge_error(seed, count, penalty):
    split = draw_split(seed, examples=200, wrong=0.2)
    directions = np.random.default_rng(seed).standard_normal((64, count))
    x, test = (
        np.maximum(part.arrays[0].reshape(-1, 64) @ directions, 0) / 8
        for part in (split.train, split.test)
    )
    targets = np.eye(10)[split.train.arrays[1]]
    if penalty:
        square = x.T @ x + penalty * np.eye(count)
        weights = np.linalg.solve(square, x.T @ targets)
    else:
        weights = np.linalg.lstsq(x, targets, rcond=1e-6)[0]
    return np.mean((test @ weights).argmax(axis=1) != split.test.arrays[1])


ridge = {}
for count in (50, 100, 200, 400, 800):
    for penalty in (0, 0.1, 10):
        errors = [ridge_error(seed, count, penalty) for seed in range(5)]
        ridge[count, penalty] = estimate(errors)
    row = "   ".join(f"{ridge[count, p]:4.1%}" for p in (0, 0.1, 10))
    print(f"{count:4} features, penalty 0, 0.1, 10:   {row}")
# --8<-- [end:ridge]
assert ridge[200, 0].low > 2 * ridge[200, 10].high
assert ridge[200, 10].mean < ridge[50, 10].mean + 0.01
