// The rival: a perceptron with ReLU, cross-entropy and Adam in plain JavaScript, on typed arrays, its loops in memory order.

export class PlainNetwork {
  constructor(sizes, rate, layers, rows) {
    Object.assign(this, { sizes, rate, rows, steps: 0 });
    const vector = (length) => new Float32Array(length);
    this.layers = layers.map(({ weight, bias }, k) => ({
      weight: Float32Array.from(weight), bias: Float32Array.from(bias), dweight: vector(weight.length), dbias: vector(bias.length),
      result: vector(rows * sizes[k + 1]), dresult: vector(rows * sizes[k + 1]),
      moments: [weight.length, weight.length, bias.length, bias.length].map(vector),
    }));
  }

  // One step on rows of features and class ids; returns the mean loss.
  learn(input, labels) {
    const { layers, sizes, rows } = this;
    layers.forEach((layer, k) => this.forward(layer, k ? layers[k - 1].result : input, sizes[k], sizes[k + 1], k + 1 < layers.length));
    const loss = this.softmax(layers.at(-1), labels, sizes.at(-1));
    for (let k = layers.length - 1; k >= 0; k--)
      this.backward(layers[k], k ? layers[k - 1] : null, k ? layers[k - 1].result : input, sizes[k], sizes[k + 1]);
    this.steps += 1;
    for (const { weight, bias, dweight, dbias, moments } of layers) {
      this.adam(weight, dweight, moments[0], moments[1]);
      this.adam(bias, dbias, moments[2], moments[3]);
    }
    return loss / rows;
  }

  forward({ weight, bias, result }, input, inputs, outputs, rectified) {
    for (let row = 0; row < this.rows; row++) {
      for (let o = 0; o < outputs; o++) {
        let sum = bias[o];
        for (let i = 0; i < inputs; i++) sum += input[row * inputs + i] * weight[o * inputs + i];
        result[row * outputs + o] = rectified && sum < 0 ? 0 : sum;
      }
    }
  }

  softmax({ result, dresult }, labels, classes) {
    let loss = 0;
    for (let row = 0; row < this.rows; row++) {
      const first = row * classes;
      let highest = result[first];
      for (let c = 1; c < classes; c++) highest = Math.max(highest, result[first + c]);
      let total = 0;
      for (let c = 0; c < classes; c++) total += dresult[first + c] = Math.exp(result[first + c] - highest);
      loss += Math.log(total) + highest - result[first + labels[row]];
      for (let c = 0; c < classes; c++) dresult[first + c] = (dresult[first + c] / total - (c === labels[row] ? 1 : 0)) / this.rows;
    }
    return loss;
  }

  backward({ weight, dweight, dbias, dresult }, below, input, inputs, outputs) {
    dweight.fill(0);
    dbias.fill(0);
    if (below) below.dresult.fill(0);
    for (let row = 0; row < this.rows; row++) {
      for (let o = 0; o < outputs; o++) {
        const slope = dresult[row * outputs + o];
        dbias[o] += slope;
        for (let i = 0; i < inputs; i++) dweight[o * inputs + i] += slope * input[row * inputs + i];
        if (below) for (let i = 0; i < inputs; i++) below.dresult[row * inputs + i] += slope * weight[o * inputs + i];
      }
    }
    if (below) for (let k = 0; k < below.dresult.length; k++) if (below.result[k] <= 0) below.dresult[k] = 0;
  }

  adam(x, dx, mean, square) {
    const [step, scale] = [this.rate / (1 - 0.9 ** this.steps), 1 / Math.sqrt(1 - 0.999 ** this.steps)];
    for (let i = 0; i < x.length; i++) {
      const g = dx[i];
      mean[i] = 0.9 * mean[i] + 0.1 * g;
      square[i] = 0.999 * square[i] + 0.001 * g * g;
      x[i] -= (step * mean[i]) / (Math.sqrt(square[i]) * scale + 1e-8);
    }
  }
}
