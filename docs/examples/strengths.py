"""Strengths: learned features, growing abstraction, one engine for five kinds of data."""

# --8<-- [start:features]
import numpy as np

import nbdl
from labs.estimate import change, estimate
from labs.experiment import load

nbdl.set_num_threads(1)

features = load("strengths-features")["values"]
for place, kinds in features.items():
    for kind, errors in kinds.items():
        print(f"{place:9} {kind:22} probe's test error {estimate(errors):4.1%}")
# --8<-- [end:features]
anywhere, centred = features["anywhere"], features["centred"]
own, other = "learned from 5 to 9", "learned from 0 to 4"
assert change(anywhere[own], anywhere["pixels"]).high < -0.4
assert change(anywhere[other], anywhere["pixels"]).high < 0
assert change(anywhere[other], anywhere["untrained network"]).high < 0
assert change(centred[own], centred["pixels"]).high < 0
assert change(centred[other], centred["pixels"]).low > 0

# --8<-- [start:layers]
layers = load("strengths-layers")
for network, targets in layers["values"].items():
    for target, stages in targets.items():
        row = "  ".join(f"{estimate(errors).mean:5.1%}" for errors in stages.values())
        print(f"{network:9} {target:5} {row}")
trained, untrained = layers["values"]["trained"], layers["values"]["untrained"]
# --8<-- [end:layers]
digit, row = trained["digit"], trained["row"]
assert change(digit["hidden layer"], digit["pixels"]).high < -0.5
assert change(row["scores"], row["pixels"]).low > 0.5
assert change(digit["convolution 3"], untrained["digit"]["convolution 3"]).high < -0.1

# --8<-- [start:look]
from labs.strengths import sheet_network
from labs.training import outputs

sheet = np.zeros((1, 1, 12, 12), np.float32)
sheet[0, 0, 3:9, 6] = 1  # a vertical stroke
nbdl.manual_seed(0)
network = sheet_network(10)
for name, end in (("convolution 1", 2), ("convolution 2", 5), ("convolution 3", 8)):
    shape = outputs(network[:end], sheet).shape[1:]
    print(f"{name}: {shape[0]} maps of {shape[1]} x {shape[2]}, {np.prod(shape)} numbers")
# --8<-- [end:look]

# --8<-- [start:table]
TASKS = {  # what, the network's measure, that of the baseline, and whether less is better
    "image": ("digits, 8 x 8 pixels", "test_accuracy", "baseline_accuracy", False),
    "text": (
        "next character, nats",
        "test_nats_per_character",
        "trigram_nats_per_character",
        True,
    ),
    "speech": ("spoken digits", "test_accuracy", "baseline_accuracy", False),
    "series": ("sunspots, error of 11 years", "test_rmse", "autoregression_rmse", True),
    "table": ("tumours, 30 columns", "test_accuracy", "linear_accuracy", False),
}
rows = []
for name, (what, ours, theirs, smaller) in TASKS.items():
    results = load(f"strengths-{name}")
    values, settings = results["values"], results["settings"]
    sign = -1 if smaller else 1
    gain = change(sign * np.array(values[ours]), sign * np.array(values[theirs]))
    how = ".1%" if ours.endswith("accuracy") else ".2f"
    rows.append(
        (
            settings["recipe"],
            what,
            format(estimate(values[ours]), how),
            settings["baseline"],
            format(estimate(values[theirs]), how),
            format(gain, "+" + how),
            len(results["seeds"]),
        )
    )
# --8<-- [end:table]
# --8<-- [start:scores]
for target, stages in trained.items():
    lost = change(stages["scores"], stages["convolution 3"])
    print(f"{target:5} from convolution 3 to the scores: {lost:+.1%}")
# --8<-- [end:scores]
