// A multi-layer perceptron as a list of kernel launches: what nbdl.nn.Sequential, autograd and an optimizer run, in the
// same order, on arrays of the module. Only sizes, strides and places in memory are worked out here.
import { Generator, Optimizer } from "./training.mjs";

const LANES = 4; // float32 in a vector of WebAssembly
const NEAR = 1 << 18; // bytes of B from which on a matrix product packs it
const CHUNK_ROWS = 128; // rows that `sum_columns` sums at once
const LEAST = -Infinity;

export const ACTIVATIONS = { relu: null, tanh: ["tanh_of", "tanh_slope"], sigmoid: ["sigmoid", "sigmoid_slope"] };

// How initial weights are drawn, for fans I and O: a kernel and its two numbers, and whether the bias is drawn, too.
const INITIAL = {
  default: (inputs) => ["uniform", -1 / Math.sqrt(inputs), 2 / Math.sqrt(inputs), true],
  he: (inputs) => ["normal", 0, Math.sqrt(2 / inputs)],
  xavier: (inputs, outputs) => ["uniform", -Math.sqrt(6 / (inputs + outputs)), 2 * Math.sqrt(6 / (inputs + outputs))],
  large: () => ["normal", 0, 3],
  zero: () => ["normal", 0, 0],
};

const ceil = (size, step) => Math.ceil(size / step) * step;

export class Network {
  // sizes: features, neurons of each hidden layer, classes. options: activation, initial, dropout, rule, rate, seed.
  constructor(model, sizes, options) {
    model.release();
    Object.assign(this, { model, sizes, options });
    this.generator = new Generator(options.seed ?? 0);
    this.none = model.array("float32", [0]);
    this.smoothing = model.array("float32", [1]);
    this.one = model.array("float32", [1]);
    this.one.values.set([1]);
    this.smoothing.values.set([0]);
    this.layers = sizes.slice(1).map((outputs, k) => ({ weight: this.matrix(outputs, sizes[k]), bias: this.vector(outputs),
      dweight: this.matrix(outputs, sizes[k]), dbias: this.vector(outputs) }));
    const pairs = this.layers.flatMap(({ weight, bias, dweight, dbias }) => [[weight, dweight], [bias, dbias]]);
    const { rule, rate, momentum } = options;
    this.optimizer = new Optimizer(model, rule, pairs, { rate, momentum });
    this.draw();
  }

  matrix(rows, columns) { return this.model.array("float32", [rows, columns]); }

  vector(length) { return this.model.array("float32", [length]); }

  // Initial weights.
  draw() {
    const { model, generator } = this;
    this.layers.forEach(({ weight, bias }, k) => {
      const [kernel, first, second, drawsBias] = INITIAL[this.options.initial](this.sizes[k], this.sizes[k + 1]);
      const fill = (array) => model[kernel](flat(array), ...generator.next(), first, second, Math.ceil(array.values.length / 4));
      fill(weight);
      if (drawsBias) fill(bias);
      else bias.values.fill(0);
    });
  }

  // A launch of the matrix product c [m, n] = a [m, k] b [k, n] + bias, operands as [array, row step, column step].
  product([a, aRow, aInner], [b, bInner, bColumn], c, bias, floor, m, n, k) {
    const width = n > LANES ? 2 * LANES : LANES;
    const columns = ceil(n, width);
    const packs = bColumn !== 1 || (k * n * 4 > NEAR && m > 32);
    const atOnce = packs ? Math.min(256, columns) : width;
    const sizes = this.model.array("int64", [22]);
    sizes.values.set([1, m, n, k, 0, aRow, aInner, 0, bInner, bColumn, n, 1, 0, 1, m, columns, k, m, atOnce, 0, packs ? 1 : 0, 0].map(BigInt));
    const workspace = this.matrix(1, ceil(packs || n % LANES ? k * atOnce : 0, LANES));
    return this.model.bind("gemm", flat(a), flat(b), flat(c), bias ?? this.none, workspace, sizes, 0, floor, 1);
  }
}

const flat = (array) => ({ ...array, shape: [array.shape.reduce((product, size) => product * size, 1)] });

// The network's work on a number of rows: `run` forward, or `learn` from classes. Buffers are made once.
export class Pass {
  constructor(network, rows, trains = false) {
    Object.assign(this, { network, rows, trains, model: network.model, forward: [] });
    this.input = network.matrix(rows, network.sizes[0]);
    this.scores = this.input;
    this.kept = network.layers.map((layer, k) => this.layer(layer, k));
    const classes = network.sizes.at(-1);
    this.shares = network.matrix(rows, classes);
    this.softmax = this.model.bind("softmax", this.scores, this.shares, rows);
    this.labels = this.model.array("int64", [rows]);
    this.notes = network.matrix(3, rows);
    this.powers = network.matrix(rows, classes); // of e: the softmax before the division
    this.loss = network.vector(1);
    this.tally = network.vector(2);
    const about = [this.labels, network.none, -100];
    const losses = { ...this.notes, shape: [rows] };
    this.judge = [
      this.model.bind("cross_entropy", this.scores, ...about, network.smoothing, this.notes, this.powers, rows),
      this.model.bind("total", losses, ...about, classes, 1, this.loss, this.tally, 1),
    ];
  }

  // Adds the launches of a layer and returns what its backward needs.
  layer({ weight, bias }, k) {
    const { network, rows } = this;
    const [inputs, outputs] = [network.sizes[k], network.sizes[k + 1]];
    const isLast = k === network.layers.length - 1;
    const { activation, dropout } = network.options;
    const map = isLast ? null : ACTIVATIONS[activation];
    const input = this.scores;
    const product = network.matrix(rows, outputs);
    const floor = !isLast && activation === "relu" ? 0 : LEAST;
    this.forward.push(network.product([input, inputs, 1], [weight, 1, inputs], product, bias, floor, rows, outputs, inputs));
    let result = product;
    if (map) {
      result = network.matrix(rows, outputs);
      this.forward.push(this.model.bind(map[0], flat(product), flat(result), rows * outputs));
    }
    const drop = this.trains && !isLast && dropout > 0 ? { words: null } : null;
    this.scores = drop ? network.matrix(rows, outputs) : result;
    const dropped = this.scores;
    if (drop) this.forward.push(() => this.drop(result, dropped, (drop.words = network.generator.next())));
    return { input, result, map, drop };
  }

  // Backward drops what forward did: the words of the generator say which elements.
  drop(from, to, words) {
    const { dropout } = this.network.options;
    this.model.dropout(flat(from), ...words, Math.round(dropout * 2 ** 32), 1 / (1 - dropout), 0, 0, flat(to), Math.ceil(from.values.length / 4));
  }

  // Class shares of the rows in `input`.
  run() {
    for (const launch of this.forward) launch();
    this.softmax();
  }

  // The mean loss of the rows in `input` against `labels`.
  measure() {
    for (const launch of this.forward) launch();
    for (const launch of this.judge) launch();
    return this.loss.values[0];
  }
}

// A pass that also goes backward and takes a step of the optimizer.
export class Training extends Pass {
  constructor(network, rows) {
    super(network, rows, true);
    const dscores = network.matrix(rows, network.sizes.at(-1));
    this.judge.push(this.model.bind("cross_entropy_backward", network.one, this.tally, this.powers, 1, this.labels, network.none, -100,
      network.smoothing, this.notes, dscores, rows));
    this.backward = [];
    let slope = dscores;
    for (let k = network.layers.length - 1; k >= 0; k--) slope = this.back(k, slope);
    this.steps = [...this.forward, ...this.judge, ...this.backward];
  }

  // Adds the launches of a layer's backward; returns where the gradient of its input will be.
  back(k, dresult) {
    const { network, model, rows } = this;
    const { input, result, map, drop } = this.kept[k];
    const { weight, dweight, dbias } = network.layers[k];
    const [inputs, outputs] = [network.sizes[k], network.sizes[k + 1]];
    const isLast = k === network.layers.length - 1;
    if (drop) {
      const [from, to] = [dresult, network.matrix(rows, outputs)];
      this.backward.push(() => this.drop(from, to, drop.words));
      dresult = to;
    }
    const chunks = Math.ceil(rows / CHUNK_ROWS);
    const partial = chunks === 1 ? { ...dbias, shape: [1, outputs] } : network.matrix(chunks, outputs);
    let dproduct = dresult;
    if (!isLast && !map) {
      dproduct = network.matrix(rows, outputs);
      this.backward.push(model.bind("relu_backward", dresult, result, dproduct, partial, 0, chunks));
    } else {
      if (map) {
        dproduct = network.matrix(rows, outputs);
        this.backward.push(model.bind(map[1], flat(dresult), flat(result), flat(dproduct), rows * outputs));
      }
      this.backward.push(model.bind("sum_columns", dproduct, partial, chunks));
    }
    if (chunks > 1) this.backward.push(model.bind("sum_rows", partial, dbias, outputs));
    let dinput = null;
    if (k > 0) {
      dinput = network.matrix(rows, inputs);
      this.backward.push(network.product([dproduct, outputs, 1], [weight, inputs, 1], dinput, null, LEAST, rows, inputs, outputs));
    }
    this.backward.push(network.product([dproduct, 1, outputs], [input, inputs, 1], dweight, null, LEAST, outputs, inputs, rows));
    return dinput;
  }

  learn() {
    for (const launch of this.steps) launch();
    this.network.optimizer.step();
    return this.loss.values[0];
  }
}
