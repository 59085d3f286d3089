// Training steps a second of nbdl's kernels and of plain JavaScript, on the same weights and data, in turns.
import { load } from "./nbdl.mjs";
import { Network, Training } from "./network.mjs";
import { PlainNetwork } from "./plain.mjs";

const SHAPES = [[[2, 8, 8, 2], 16], [[2, 16, 16, 2], 16], [[2, 32, 32, 2], 32], [[2, 64, 64, 64, 2], 64], [[64, 48, 10], 64]];
const ROUNDS = 15, MILLISECONDS = 60;

// Microseconds a step: as many steps as fit into a while.
function time(step) {
  const start = performance.now();
  let steps = 0;
  do {
    for (let k = 0; k < 20; k++) step();
    steps += 20;
  } while (performance.now() - start < MILLISECONDS);
  return (1000 * (performance.now() - start)) / steps;
}

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

export async function compare(fetchFile) {
  const model = await load("perceptron", fetchFile);
  return SHAPES.map(([sizes, rows]) => {
    const network = new Network(model, sizes, { activation: "relu", initial: "default", dropout: 0, rule: "adam", rate: 0.001, seed: 1 });
    const training = new Training(network, rows);
    const layers = network.layers.map(({ weight, bias }) => ({ weight: weight.values.slice(), bias: bias.values.slice() }));
    const plain = new PlainNetwork(sizes, 0.001, layers, rows);
    const input = Float32Array.from({ length: rows * sizes[0] }, (_, k) => Math.sin(0.7 * k));
    const labels = Int32Array.from({ length: rows }, (_, k) => k % sizes.at(-1));
    training.input.values.set(input);
    training.labels.values.set([...labels].map(BigInt));
    const difference = Math.max(...[1, 2, 3, 4, 5].map(() => Math.abs(training.learn() - plain.learn(input, labels))));
    const times = [[], []];
    for (let round = 0; round < ROUNDS; round++) {
      times[0].push(time(() => training.learn()));
      times[1].push(time(() => plain.learn(input, labels)));
    }
    const ratios = times[0].map((own, k) => times[1][k] / own);
    return { sizes, rows, difference, nbdl: median(times[0]), plain: median(times[1]), ratio: median(ratios), least: Math.min(...ratios), most: Math.max(...ratios) };
  });
}
