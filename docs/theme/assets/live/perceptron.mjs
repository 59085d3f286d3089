// Points in the plane, and a network that learns to tell their classes apart while the reader watches. The network's
// numbers are nbdl's kernels'; here are the points, the controls and the picture.
import { begin, button, choice, element, onScheme, wordsOf } from "./figure.mjs";
import { Network, Pass, Training } from "./network.mjs";
import { everyFrame, field, written } from "./plot.mjs";
import { Batches, Generator } from "./training.mjs";

const WORDS = wordsOf({
  en: { data: "Data", circle: "circle", checkers: "checkers", spiral: "spiral", blobs: "three heaps", own: "own points", depth: "Hidden layers", width: "Neurons a layer",
    activation: "Activation", initial: "Initial weights", initials: { default: "nbdl's", he: "He", xavier: "Xavier", large: "far too large", zero: "all zero" },
    dropout: "Dropout", batch: "Samples a batch", rule: "Optimizer", rules: { adam: "Adam", momentum: "Momentum", sgd: "SGD" }, rate: "Learning rate",
    step: "One epoch", run: "Train", pause: "Pause", again: "Start again", map: "The plane, coloured by what the network says",
    epoch: "Epoch", loss: "loss", right: "right", parameters: "parameters", place: "Click or tap to add a point; or go with the arrow keys and press the space bar.", label: "Class of new points",
    undo: "Take back", empty: "Remove all", csv: "Own CSV: two numbers and a class in each line", read: "Use it", file: "Open a file",
    few: "A network needs at least 4 points of at least 2 classes.", bad: (line) => `Line ${line}: expected two numbers and a class.`,
    many: "More than 5 classes.", long: "More than 1,000 lines.", cursor: "cursor", exploded: "The numbers have run away: a smaller learning rate, or other initial weights." },
  ko: { data: "데이터", circle: "원", checkers: "바둑판", spiral: "나선", blobs: "세 무더기", own: "직접 찍은 점", depth: "은닉층", width: "층마다 뉴런",
    activation: "활성화 함수", initial: "초기 가중치", initials: { default: "nbdl 기본", he: "He", xavier: "Xavier", large: "너무 큼", zero: "모두 0" },
    dropout: "드롭아웃", batch: "배치의 샘플 수", rule: "최적화", rules: { adam: "Adam", momentum: "모멘텀", sgd: "SGD" }, rate: "학습률",
    step: "한 에폭", run: "학습", pause: "멈추기", again: "처음부터", map: "신경망의 답으로 칠한 평면",
    epoch: "에폭", loss: "손실", right: "정답", parameters: "파라미터", place: "누르면 점이 생깁니다. 화살표로 움직여 스페이스 바를 눌러도 됩니다.", label: "새 점의 클래스",
    undo: "되돌리기", empty: "모두 지우기", csv: "내 CSV: 한 줄에 숫자 두 개와 클래스 하나", read: "쓰기", file: "파일 열기",
    few: "클래스 둘 이상, 점 네 개 이상이 필요합니다.", bad: (line) => `${line}번째 줄: 숫자 두 개와 클래스 하나가 있어야 합니다.`,
    many: "클래스가 다섯 개를 넘습니다.", long: "1,000줄을 넘습니다.", cursor: "커서", exploded: "값이 발산했습니다. 학습률을 줄이거나 초기 가중치를 바꿔 보세요." },
});
const SIDE = 480, GRID = 48, MOST_CLASSES = 5, MOST_ROWS = 1000;
const OPTIONS = { depth: [0, 1, 2, 3, 4, 6], width: [2, 3, 4, 8, 16, 32, 64], activation: ["relu", "tanh", "sigmoid"],
  initial: ["default", "he", "xavier", "large", "zero"], dropout: [0, 0.1, 0.25, 0.5], batch: [4, 8, 16, 32, 64, 128],
  rule: ["adam", "momentum", "sgd"], rate: [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1] };
const FIRST = { depth: 2, width: 16, activation: "relu", initial: "default", dropout: 0, batch: 16, rule: "adam", rate: 0.01 };
const REBUILDS = new Set(["depth", "width", "activation", "initial", "dropout", "batch", "rule"]);

// Lines of "x, y, class" as points; coordinates are moved and scaled into the picture.
export function parseTable(text) {
  const lines = text.split(/\r?\n/).map((line) => line.trim());
  const rows = [];
  for (const [k, line] of lines.entries()) {
    if (!line) continue;
    const cells = line.split(/[,;\t]/).map((cell) => cell.trim().replace(/^"(.*)"$/, "$1"));
    const [x, y] = cells.slice(0, 2).map((cell) => (cell === "" ? NaN : Number(cell)));
    if (cells.length === 3 && Number.isFinite(x) && Number.isFinite(y) && cells[2]) rows.push([x, y, cells[2]]);
    else if (rows.length || k) throw new Error(WORDS.bad(k + 1)); // the first line may be a heading
  }
  if (rows.length > MOST_ROWS) throw new Error(WORDS.long);
  const names = [...new Set(rows.map(([, , name]) => name))].sort();
  if (names.length > MOST_CLASSES) throw new Error(WORDS.many);
  const scale = [0, 1].map((axis) => {
    const values = rows.map((row) => row[axis]);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    return (value) => (high > low ? (1.8 * (value - low)) / (high - low) - 0.9 : 0);
  });
  return rows.map(([x, y, name]) => [scale[0](x), scale[1](y), names.indexOf(name)]);
}

class Playground {
  constructor(place, model) {
    Object.assign(this, { place, model, settings: { ...FIRST }, running: false, cursor: null, newClass: 0 });
    this.own = [];
    this.build();
    this.take("circle");
  }

  build() {
    this.canvas = element("canvas", { width: SIDE, height: SIDE, className: "nb-descent-map", tabIndex: 0 });
    this.canvas.setAttribute("role", "application");
    this.canvas.addEventListener("pointerdown", (event) => this.add(this.under(event)));
    this.canvas.addEventListener("keydown", (event) => this.press(event));
    this.canvas.addEventListener("blur", () => { this.cursor = null; this.draw(); });
    this.source = choice(WORDS.data, ["circle", "checkers", "spiral", "blobs", "own"].map((name) => [name, WORDS[name]]), (name) => this.take(name));
    const shown = (name, value) => WORDS[`${name}s`]?.[value] ?? String(value);
    const controls = Object.entries(OPTIONS).map(([name, values]) => {
      const { list, node } = choice(WORDS[name], values.map((value) => [value, shown(name, value)]), (value) => this.set(name, value));
      list.value = FIRST[name];
      list.name = name;
      return node;
    });
    this.go = button(WORDS.run, () => this.toggle());
    this.go.removeAttribute("aria-label"); // its name changes with its text
    this.said = element("p", { className: "nb-said", "aria-live": "polite" });
    this.curve = element("canvas", { width: 300, height: 60, className: "nb-curve" });
    this.curve.setAttribute("role", "img");
    const buttons = element("div", { className: "nb-buttons" }, this.go, button(WORDS.step, () => this.once()), button(WORDS.again, () => this.rebuild()));
    const panel = element("div", { className: "nb-panel" }, element("div", { className: "nb-buttons" }, this.source.node, ...controls), buttons, this.said, this.curve);
    this.place.replaceChildren(element("div", { className: "nb-beside" }, this.canvas, panel), this.pointControls(), this.tableControls());
    onScheme(() => this.draw());
  }

  pointControls() {
    const classes = element("select", { onchange: () => { this.newClass = Number(classes.value); } },
      ...[...Array(MOST_CLASSES).keys()].map((k) => element("option", { value: k, textContent: String(k + 1) })));
    return element("div", { className: "nb-buttons nb-own" }, element("span", { textContent: WORDS.place }), field(WORDS.label, classes),
      button(WORDS.undo, () => this.edit(this.points.slice(0, -1))), button(WORDS.empty, () => this.edit([])));
  }

  tableControls() {
    const text = element("textarea", { rows: 4, value: "x,y,class\n1.2,0.4,a\n1.0,0.9,a\n3.1,2.2,b\n2.8,2.9,b\n" });
    const refusal = element("p", { className: "nb-refusal", role: "alert" });
    const use = () => {
      try {
        this.edit(parseTable(text.value));
        refusal.textContent = "";
      } catch (error) {
        refusal.textContent = error.message;
      }
    };
    const file = element("input", { type: "file", accept: ".csv,.txt,.tsv", onchange: async () => { text.value = await file.files[0].text(); use(); } });
    const label = element("label", { className: "nb-field" }, WORDS.csv, text);
    const buttons = element("div", { className: "nb-buttons" }, button(WORDS.read, use), field(WORDS.file, file));
    return element("details", {}, element("summary", { textContent: "CSV" }), label, buttons, refusal);
  }

  take(name) {
    this.points = name === "own" ? this.own : this.model.description.data[name];
    this.source.list.value = name;
    this.rebuild();
  }

  // Other points: from here on they are the reader's own.
  edit(points) {
    this.own = points;
    this.take("own");
  }

  set(name, value) {
    this.settings[name] = ["activation", "initial", "rule"].includes(name) ? value : Number(value);
    if (REBUILDS.has(name)) this.rebuild();
    else this.network.optimizer.options.rate = this.settings.rate;
  }

  // A new network with new weights, and everything that depends on the points.
  rebuild() {
    this.stop();
    const { model, points, settings } = this;
    const classes = Math.max(2, ...points.map((point) => point[2] + 1));
    this.isReady = points.length >= 4 && new Set(points.map((point) => point[2])).size >= 2;
    const { depth, width, activation, initial, dropout, batch, rule, rate } = settings;
    this.network = new Network(model, [2, ...Array(depth).fill(width), classes],
      { activation, initial, dropout, rule: rule === "adam" ? "adam" : "sgd", momentum: rule === "momentum" ? 0.9 : 0, rate, seed: 0 });
    this.rows = Math.min(batch, Math.max(2, points.length));
    this.training = new Training(this.network, this.rows);
    this.all = new Pass(this.network, Math.max(2, points.length));
    points.forEach(([x, y, label], k) => {
      this.all.input.values.set([x, y], 2 * k);
      this.all.labels.values.set([BigInt(label)], k);
    });
    this.grid = new Pass(this.network, GRID * GRID);
    const at = (k) => -1 + (2 * k + 1) / GRID;
    const { values } = this.grid.input;
    for (let k = 0; k < GRID * GRID; k++) values.set([at(k % GRID), -at(Math.floor(k / GRID))], 2 * k);
    this.batches = new Batches(model, points.length, new Generator(1));
    this.epoch = 0;
    this.losses = [];
    this.judge();
    this.draw();
  }

  // All points once, in batches.
  learn() {
    const { values } = this.training.input;
    const labels = this.training.labels.values;
    for (let done = 0; done + this.rows <= this.points.length; done += this.rows) {
      this.batches.next(this.rows).forEach((sample, k) => {
        const [x, y, label] = this.points[sample];
        values[2 * k] = x;
        values[2 * k + 1] = y;
        labels[k] = BigInt(label);
      });
      this.training.learn();
    }
    this.epoch += 1;
  }

  judge() {
    this.isRight = 0;
    if (this.isReady) {
      this.loss = this.all.measure();
      this.all.softmax();
      const classes = this.network.sizes.at(-1);
      const { values } = this.all.shares;
      this.points.forEach(([, , label], k) => {
        const shares = values.subarray(k * classes, (k + 1) * classes);
        if (shares.every((share, other) => other === label || share < shares[label])) this.isRight += 1;
      });
      this.losses.push(this.loss);
    }
    this.say();
  }

  say() {
    const { network, points, epoch, loss, isRight } = this;
    const parameters = network.layers.reduce((sum, { weight, bias }) => sum + weight.values.length + bias.values.length, 0);
    const text = !this.isReady ? WORDS.few : Number.isFinite(loss)
      ? `${WORDS.epoch} ${epoch}: ${WORDS.loss} ${written(loss)}, ${WORDS.right} ${isRight}/${points.length}. ${WORDS.parameters}: ${parameters}` : WORDS.exploded;
    this.said.setAttribute("aria-live", this.running ? "off" : "polite");
    this.said.textContent = text;
  }

  once() {
    this.stop();
    if (!this.isReady) return;
    this.train();
  }

  // An epoch, and what it made of the map.
  train() {
    this.learn();
    this.judge();
    this.draw();
    if (!Number.isFinite(this.loss)) this.stop();
  }

  stop() {
    this.running = false;
    this.go.textContent = WORDS.run;
  }

  toggle() {
    if (this.running || !this.isReady) {
      this.stop();
      this.say();
      return;
    }
    this.running = true;
    this.go.textContent = WORDS.pause;
    everyFrame(() => {
      if (this.running) this.train();
      return this.running;
    });
  }

  under(event) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    return [((event.clientX - left) / width) * 2 - 1, 1 - ((event.clientY - top) / height) * 2];
  }

  add([x, y]) {
    if (this.points.length < MOST_ROWS) this.edit([...this.points, [x, y, this.newClass]]);
  }

  press(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (step) {
      const from = this.cursor ?? [0, 0];
      this.cursor = from.map((value, axis) => Math.min(0.95, Math.max(-0.95, value + 0.05 * step[axis])));
      this.draw();
    } else if (event.key === " ") this.add(this.cursor ?? [0, 0]);
    else if (event.key === "Backspace") this.edit(this.points.slice(0, -1))
    else return;
    event.preventDefault();
  }

  draw() {
    const context = this.canvas.getContext("2d");
    const style = getComputedStyle(this.canvas);
    const colours = [1, 2, 3, 4, 5].map((k) => style.getPropertyValue(`--nb-series-${k}`));
    context.clearRect(0, 0, SIDE, SIDE);
    this.grid.run();
    const { values } = this.grid.shares;
    const classes = this.network.sizes.at(-1);
    const cell = SIDE / GRID;
    for (let k = 0; k < GRID * GRID; k++) {
      let best = 0;
      for (let c = 1; c < classes; c++) if (values[k * classes + c] > values[k * classes + best]) best = c;
      context.globalAlpha = 0.55 * Math.max(0, (values[k * classes + best] - 1 / classes) / (1 - 1 / classes));
      context.fillStyle = colours[best];
      context.fillRect((k % GRID) * cell, Math.floor(k / GRID) * cell, cell, cell);
    }
    context.globalAlpha = 1;
    context.strokeStyle = style.getPropertyValue("--md-default-bg-color");
    const at = ([x, y]) => [((x + 1) / 2) * SIDE, ((1 - y) / 2) * SIDE];
    for (const point of this.points) {
      context.fillStyle = colours[point[2]];
      context.beginPath();
      context.arc(...at(point), 6, 0, 7);
      context.fill();
      context.stroke();
    }
    if (this.cursor) {
      context.strokeStyle = style.getPropertyValue("--nb-ink");
      context.strokeRect(at(this.cursor)[0] - 9, at(this.cursor)[1] - 9, 18, 18);
    }
    const where = this.cursor ? `. ${WORDS.cursor} ${this.cursor.map((value) => written(value, 2)).join(", ")}` : "";
    this.canvas.setAttribute("aria-label", `${WORDS.map}${where}`);
    this.drawCurve(style);
  }

  drawCurve(style) {
    const { width, height } = this.curve;
    const context = this.curve.getContext("2d");
    context.clearRect(0, 0, width, height);
    this.curve.setAttribute("aria-label", `${WORDS.loss}: ${this.losses.length ? written(this.losses.at(-1)) : ""}`);
    const most = Math.max(...this.losses.filter(Number.isFinite), 1e-9);
    context.strokeStyle = style.getPropertyValue("--md-accent-fg-color");
    context.lineWidth = 2;
    context.beginPath();
    this.losses.forEach((loss, k) => context.lineTo((k / Math.max(this.losses.length - 1, 1)) * width, height - 2 - (loss / most) * (height - 4)));
    context.stroke();
  }
}

begin(".nb-perceptron", "perceptron", (place, model) => new Playground(place, model));
