// What nbdl does in Python around its kernels, for figures that train: tables of addresses, coefficients, a count of
// random fills. No element of a tensor is computed here.

// A stream of random numbers, as nbdl.manual_seed begins one: the seed, and how many fills were made.
export class Generator {
  constructor(seed) {
    this.seed = seed;
    this.offset = 0;
  }

  next() { return [this.seed, 0, this.offset++, 0]; }
}

const CHUNK = 8192;
const COEFFICIENTS = { sgd: 5, adam: 9 };
const STATES = { sgd: 1, adam: 3 };

// One of nbdl.optim's update rules over some parameters, each given as [parameter, gradient], arrays of the module.
// `options` may change between steps: rate, and momentum for "sgd"; `rate` and betas for "adam".
export class Optimizer {
  constructor(model, rule, parameters, options) {
    Object.assign(this, { model, rule, options, steps: 0 });
    const states = STATES[rule];
    const kept = parameters.map(([parameter]) => [...Array(states).keys()].map(() => model.array("float32", parameter.shape)));
    this.kept = kept.flat();
    this.like = model.array("float32", [1]);
    this.addresses = model.array("int64", [parameters.length, 2 + states]);
    this.addresses.values.set(parameters.flatMap((pair, k) => [...pair, ...kept[k]].map(({ address }) => BigInt(address))));
    const rows = [];
    let total = 0;
    parameters.forEach(([{ values: { length } }], number) => {
      for (let first = 0; first < length; first += CHUNK) {
        const count = Math.min(CHUNK, length - first);
        rows.push(number, first, count, (total += count));
      }
    });
    this.chunks = model.array("int64", [rows.length / 4, 4]);
    this.chunks.values.set(rows.map(BigInt));
    this.coefficients = model.array("float64", [parameters.length, COEFFICIENTS[rule]]);
    this.restart();
  }

  restart() {
    this.steps = 0;
    this.kept.forEach(({ values }) => values.fill(0));
  }

  row() {
    const { rate, momentum = 0, betas: [beta1, beta2] = [0.9, 0.999] } = this.options;
    if (this.rule === "sgd") return [rate, 1, 0, this.steps > 1 ? momentum : 0, 1]; // a buffer starts as the first gradient
    const scale = 1 / Math.sqrt(1 - beta2 ** this.steps);
    return [1, 0, 1, beta1, beta2, 0, rate / (1 - beta1 ** this.steps), scale, 1e-8];
  }

  step() {
    this.steps += 1;
    const { model, like, addresses, chunks, coefficients } = this;
    const row = this.row();
    for (let at = 0; at < coefficients.values.length; at += row.length) coefficients.values.set(row, at);
    const tables = [like, addresses, chunks, coefficients];
    if (this.rule === "sgd") model.sgd(...tables, this.options.momentum ?? 0, 0, chunks.shape[0]);
    else model.adam(...tables, 0, chunks.shape[0]);
  }
}

// The samples of an epoch in batches, shuffled by nbdl's permutation.
export class Batches {
  constructor(model, count, generator) {
    Object.assign(this, { model, generator, order: model.array("int64", [count]) });
    this.left = [];
  }

  next(size) {
    const count = this.order.shape[0];
    if (size >= count) return [...Array(count).keys()];
    if (this.left.length < size) {
      this.model.permutation(this.order, ...this.generator.next(), 1);
      this.left = Array.from(this.order.values, Number);
    }
    return this.left.splice(0, size);
  }
}
