// Optimizers race down the losses of three small models. Losses, gradients and steps are nbdl's kernels; here is the map.
import { begin, button, choice, element, onScheme, wordsOf } from "./figure.mjs";
import { everyFrame, field, written } from "./plot.mjs";
import { Batches, Generator, Optimizer } from "./training.mjs";

const WORDS = wordsOf({
  en: { surface: "Model", line: "y = a x + b: a valley", chain: "y = b tanh(a x): a saddle", wave: "y = sin(a x + b): several minima",
    batch: "Samples a batch", all: "all 32", rules: { plain: "Plain", momentum: "Momentum", adam: "Adam" }, rate: "learning rate", kept: "momentum",
    step: "Step", run: "Run", pause: "Pause", again: "Start again", startA: "Start at a", startB: "b", loss: "loss over all samples",
    map: "Map of the loss over a (to the right) and b (upwards)", taken: "Steps", out: "left the map",
    help: "Click the map to start there." },
  ko: { surface: "모델", line: "y = a x + b: 골짜기", chain: "y = b tanh(a x): 안장점", wave: "y = sin(a x + b): 최솟값 여럿",
    batch: "배치의 샘플 수", all: "32개 전부", rules: { plain: "기본", momentum: "모멘텀", adam: "Adam" }, rate: "학습률", kept: "모멘텀",
    step: "한 걸음", run: "달리기", pause: "멈추기", again: "처음부터", startA: "출발점 a", startB: "b", loss: "전체 샘플의 손실",
    map: "손실의 지도. 가로는 a, 세로는 b", taken: "걸음", out: "지도 밖",
    help: "지도를 누르면 그곳에서 출발합니다." },
});
const REACH = 3, SIDE = 480, LEVELS = 22, MOST = 400;
const RULES = { plain: { rule: "sgd", rate: 0.1 }, momentum: { rule: "sgd", rate: 0.03, momentum: 0.9 }, adam: { rule: "adam", rate: 0.1 } };
const START = { line: [-2, 2.5], chain: [-0.4, 2.4], wave: [0.2, -1.2] };
const RATES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.6, 1, 2];

class Race {
  constructor(place, model) {
    Object.assign(this, { place, model, surface: "line", batch: 32, running: false });
    this.generator = new Generator(0);
    this.count = model.line.weights.shape[1];
    this.batches = new Batches(model, this.count, this.generator);
    this.runners = Object.entries(RULES).map(([name, { rule, ...options }]) => {
      const [point, gradient] = [model.array("float32", [2]), model.array("float32", [2])];
      return { name, point, gradient, optimizer: new Optimizer(model, rule, [[point, gradient]], { ...options }), path: [], shown: true };
    });
    this.build();
    this.choose("line");
  }

  build() {
    this.canvas = element("canvas", { width: SIDE, height: SIDE, className: "nb-descent-map" });
    this.canvas.setAttribute("role", "img");
    this.canvas.addEventListener("pointerdown", (event) => this.startAt(this.under(event)));
    const [surface, batch] = [
      choice(WORDS.surface, ["line", "chain", "wave"].map((name) => [name, WORDS[name]]), (name) => this.choose(name)),
      choice(WORDS.batch, [[32, WORDS.all], [16, "16"], [8, "8"], [4, "4"], [1, "1"]], (size) => { this.batch = Number(size); })];
    this.inputs = [0, 1].map(() => element("input", { type: "number", step: 0.1, min: -REACH, max: REACH,
      oninput: () => this.startAt(this.inputs.map(({ value }) => Number(value)), false) }));
    this.go = button(WORDS.run, () => this.toggle());
    this.go.removeAttribute("aria-label"); // its name changes with its text
    const buttons = element("div", { className: "nb-buttons" }, button(WORDS.step, () => this.once()), this.go, button(WORDS.again, () => this.restart()));
    const starts = element("div", { className: "nb-buttons" }, field(WORDS.startA, this.inputs[0]), field(WORDS.startB, this.inputs[1]));
    this.said = element("p", { className: "nb-said", "aria-live": "polite" });
    const panel = element("div", { className: "nb-panel" }, element("div", { className: "nb-buttons" }, surface.node, batch.node),
      ...this.runners.map((runner) => this.controls(runner)), starts, buttons, this.said, element("p", { textContent: WORDS.help }));
    this.place.replaceChildren(element("div", { className: "nb-beside" }, this.canvas, panel));
    onScheme(() => {
      this.chart();
      this.draw();
    });
  }

  // One optimizer's row: whether it is shown, its learning rate, its loss.
  controls(runner) {
    const { name, optimizer } = runner;
    const box = element("input", { type: "checkbox", checked: true, onchange: () => { runner.shown = box.checked; this.draw(); } });
    const slider = element("input", { type: "range", min: 0, max: RATES.length - 1, value: RATES.indexOf(optimizer.options.rate) });
    slider.setAttribute("aria-label", `${WORDS.rules[name]}: ${WORDS.rate}`);
    const rate = element("output", {});
    const show = () => {
      optimizer.options.rate = RATES[slider.value];
      rate.textContent = RATES[slider.value];
      slider.setAttribute("aria-valuetext", rate.textContent);
    };
    slider.oninput = show;
    show();
    runner.loss = element("output", { className: "nb-loss" });
    const extra = [];
    if (name === "momentum") {
      const kept = element("input", { type: "number", min: 0, max: 0.99, step: 0.05, value: optimizer.options.momentum,
        oninput: () => { optimizer.options.momentum = Math.min(0.999, Math.max(0, Number(kept.value))); } });
      extra.push(field(WORDS.kept, kept));
    }
    return element("div", { className: `nb-runner nb-runner-${name}` }, element("label", { className: "nb-choice" }, box, element("b", { textContent: WORDS.rules[name] })),
      element("span", { className: "nb-choice" }, `${WORDS.rate} `, slider, rate), ...extra, runner.loss);
  }

  choose(surface) {
    this.surface = surface;
    this.look = this.model[surface];
    this.survey();
    this.startAt(START[surface]);
  }

  // The heights of the whole map, a row of points in each run.
  survey() {
    const { look } = this;
    const side = (this.side = look.points.shape[0]);
    this.heights = new Float32Array(side * side);
    look.weights.fill(1 / this.count);
    const along = (k) => -REACH + (2 * REACH * k) / (side - 1);
    for (let row = 0; row < side; row++) {
      const { points } = look;
      for (let k = 0; k < side; k++) points.set([along(k), along(row)], 2 * k);
      look();
      this.heights.set(look.loss.subarray(0, side), row * side);
    }
    this.chart();
  }

  startAt(point, write = true) {
    this.from = point.map((value) => Math.min(REACH, Math.max(-REACH, value)));
    if (write) this.inputs.forEach((input, k) => { input.value = Number(this.from[k].toFixed(2)); });
    this.restart();
  }

  restart() {
    this.taken = 0;
    this.generator.offset = 0;
    this.batches.left = [];
    for (const runner of this.runners) {
      runner.point.values.set(this.from);
      runner.optimizer.restart();
      runner.path = [[...runner.point.values]];
    }
    this.stop();
    this.judge();
    this.draw();
  }

  // Loss and gradient at the runners' points, each sample counted as the batch says.
  run(batch) {
    const { look } = this;
    const { weights } = look;
    weights.fill(0);
    for (const sample of batch) weights[sample] = 1 / batch.length;
    this.runners.forEach(({ point }, k) => look.points.set(point.values, 2 * k));
    look();
  }

  advance() {
    this.run(this.batches.next(this.batch));
    this.runners.forEach(({ point, gradient, optimizer, path }, k) => {
      gradient.values.set(this.look.gradient.subarray(2 * k, 2 * k + 2));
      optimizer.step();
      path.push([...point.values]);
    });
    this.taken += 1;
  }

  judge() {
    this.run([...Array(this.count).keys()]);
    const said = this.runners.map((runner, k) => {
      const loss = this.look.loss[k];
      runner.loss.textContent = written(loss);
      runner.loss.value = runner.loss.textContent;
      const [a, b] = runner.point.values;
      return `${WORDS.rules[runner.name]} ${written(loss)}${Math.abs(a) > REACH || Math.abs(b) > REACH || a !== a ? ` (${WORDS.out})` : ""}`;
    });
    this.said.setAttribute("aria-live", this.running ? "off" : "polite");
    this.said.textContent = `${WORDS.taken} ${this.taken}. ${WORDS.loss}: ${said.join(", ")}`;
  }

  once() {
    this.stop();
    this.advance();
    this.judge();
    this.draw();
  }

  stop() {
    this.running = false;
    this.go.textContent = WORDS.run;
  }

  toggle() {
    if (this.running) {
      this.stop();
      this.judge();
      return;
    }
    this.running = true;
    this.go.textContent = WORDS.pause;
    everyFrame(() => {
      if (!this.running) return false;
      this.advance();
      if (this.taken % MOST === 0) this.stop();
      this.judge();
      this.draw();
      return this.running;
    });
  }

  under(event) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    return [((event.clientX - left) / width) * 2 * REACH - REACH, REACH - ((event.clientY - top) / height) * 2 * REACH];
  }

  draw() {
    const context = this.canvas.getContext("2d");
    const style = getComputedStyle(this.canvas);
    const colour = (name) => style.getPropertyValue(name);
    context.clearRect(0, 0, SIDE, SIDE);
    context.drawImage(this.terrain, 0, 0);
    const at = ([a, b]) => [((a + REACH) / (2 * REACH)) * SIDE, ((REACH - b) / (2 * REACH)) * SIDE];
    const colours = { plain: colour("--nb-series-1"), momentum: colour("--nb-series-2"), adam: colour("--nb-series-3") };
    for (const { name, path, shown } of this.runners) {
      if (!shown) continue;
      context.strokeStyle = context.fillStyle = colours[name];
      context.lineWidth = 2;
      context.globalAlpha = 0.9;
      context.beginPath();
      path.forEach((point) => context.lineTo(...at(point)));
      context.stroke();
      path.slice(-60).forEach((point) => context.fillRect(at(point)[0] - 1.5, at(point)[1] - 1.5, 3, 3));
      context.beginPath();
      context.arc(...at(path.at(-1)), 6, 0, 7);
      context.fill();
    }
    context.globalAlpha = 1;
    this.canvas.setAttribute("aria-label", `${WORDS.map}. ${this.runners.map(({ name, point }) => `${WORDS.rules[name]} (${[...point.values].map((value) => written(value, 3)).join(", ")})`).join(", ")}`);
  }

  // The map without the runners: lines of equal loss, each a constant factor below the next, through the squares of the
  // grid. It is drawn once for a model and colour scheme.
  chart() {
    const { heights, side } = this;
    this.terrain = element("canvas", { width: SIDE, height: SIDE });
    const context = this.terrain.getContext("2d");
    const [low, high] = [Math.min(...heights), Math.max(...heights)];
    const step = SIDE / (side - 1);
    const levels = [...Array(LEVELS).keys()].map((level) => low * (high / low) ** ((level + 0.5) / LEVELS));
    const lines = levels.map(() => new Path2D());
    for (let row = 0; row + 1 < side; row++) {
      for (let k = 0; k + 1 < side; k++) {
        const corners = [[k, row], [k + 1, row], [k + 1, row + 1], [k, row + 1]];
        const values = corners.map(([x, y]) => heights[y * side + x]);
        const [least, most] = [Math.min(...values), Math.max(...values)];
        levels.forEach((height, level) => {
          if (height < least || height > most) return;
          const cuts = [];
          for (let edge = 0; edge < 4; edge++) {
            const [from, to] = [values[edge], values[(edge + 1) % 4]];
            if (from < height === to < height) continue;
            const share = (height - from) / (to - from);
            const [[x1, y1], [x2, y2]] = [corners[edge], corners[(edge + 1) % 4]];
            cuts.push([(x1 + share * (x2 - x1)) * step, SIDE - (y1 + share * (y2 - y1)) * step]);
          }
          for (let pair = 0; pair + 1 < cuts.length; pair += 2) {
            lines[level].moveTo(...cuts[pair]);
            lines[level].lineTo(...cuts[pair + 1]);
          }
        });
      }
    }
    context.strokeStyle = getComputedStyle(this.canvas).getPropertyValue("--nb-ink");
    lines.forEach((line, level) => {
      context.globalAlpha = 0.75 - (0.55 * level) / LEVELS;
      context.stroke(line);
    });
  }
}

begin(".nb-descent", "descent", (place, model) => new Race(place, model));
