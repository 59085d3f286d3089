// Two players at several moments of their training: where the generator puts its samples, and what the discriminator thinks.
import { begin, button, element, onScheme, paint, wordsOf } from "./figure.mjs";
import { drawn } from "./plot.mjs";

const WORDS = wordsOf({
  en: { round: "Round", noise: "New noise", play: "Play", stop: "Stop", plane: "Samples of the generator among the eight clusters",
    meaning: "Dots: samples. Rings: the clusters of the data. Blue: the discriminator takes points here for real; orange: for made.",
    covered: (modes, near) => `Of 4,000 samples ${near} % lie near a cluster; ${modes} of 8 clusters are covered.` },
  ko: { round: "라운드", noise: "새 잡음", play: "재생", stop: "멈추기", plane: "여덟 덩어리 사이에 놓인 생성자의 샘플",
    meaning: "점은 샘플, 고리는 데이터의 덩어리입니다. 판별자가 파란 곳의 점은 진짜로, 주황 곳의 점은 가짜로 봅니다.",
    covered: (modes, near) => `샘플 4,000개 가운데 ${near} %가 덩어리 근처에 있고, 덩어리 8개 중 ${modes}개가 나타납니다.` },
});
const [SIZE, RING, DOT, PAUSE] = [320, 12, 2.2, 700];

class Film {
  constructor(place, model) {
    this.model = model;
    this.seed = 0;
    const { moments, means, grid, places } = model.description;
    Object.assign(this, { moments, grid });
    model.play.places.set(places);
    const samples = model.play.noise.shape[0];
    this.noise = model.array("float32", [2 * samples]);
    this.dots = [...Array(samples).keys()].map(() => drawn("circle", { r: DOT }));
    const rings = means.map(([x, y]) => drawn("circle", { r: RING, cx: this.along(x), cy: this.along(-y), class: "nb-mode" }));
    this.judged = element("canvas", { className: "nb-judged", "aria-hidden": "true" });
    const plane = drawn("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, role: "img", "aria-label": WORDS.plane }, ...rings, ...this.dots);
    this.slider = element("input", { type: "range", min: 0, max: moments.length - 1, step: 1, value: moments.length - 1,
      "aria-label": WORDS.round, oninput: () => this.run() });
    this.round = element("output", { className: "nb-share" });
    this.go = button(WORDS.play, () => this.toggle());
    this.text = element("p", { "aria-live": "polite" });
    place.replaceChildren(
      element("div", { className: "nb-plane" }, this.judged, plane),
      element("div", { className: "nb-buttons" }, element("label", { className: "nb-choice" }, `${WORDS.round} `, this.slider), this.round,
        this.go, button(WORDS.noise, () => { this.seed += 1; this.draw(); })),
      this.text, element("small", { textContent: WORDS.meaning }));
    onScheme(() => this.show());
    this.draw();
  }

  along(number) { return (number / this.model.description.extent + 1) * SIZE / 2; }

  // The same noise as nbdl.manual_seed(seed) and nbdl.randn give.
  draw() {
    const { model, noise } = this;
    model.normal(noise, this.seed, 0, 0, 0, 0, 1, Math.ceil(noise.shape[0] / 4));
    model.play.noise.set(noise.values);
    this.run();
  }

  // Copies the parameters of the chosen moment to where the program finds them, and plays it.
  run() {
    const { model } = this, { parameters } = model.description;
    const kept = model.state["1.tensor"];
    let from = Number(this.slider.value) * kept.strides[0];
    for (const name of parameters) {
      const parameter = model.state[name];
      parameter.set(kept.subarray(from, from + parameter.length));
      from += parameter.length;
    }
    model.play();
    this.show();
  }

  show() {
    const { points, real } = this.model.play;
    this.dots.forEach((dot, k) => {
      dot.setAttribute("cx", this.along(points[2 * k]).toFixed(1));
      dot.setAttribute("cy", this.along(-points[2 * k + 1]).toFixed(1));
    });
    paint(this.judged, this.grid, this.grid, (row, column) => 2 * real[row * this.grid + column] - 1);
    const { round, modes, near } = this.moments[this.slider.value];
    this.round.textContent = round.toLocaleString("en");
    this.slider.setAttribute("aria-valuetext", round);
    this.text.textContent = WORDS.covered(modes, (100 * near).toFixed(1));
  }

  toggle() {
    const runs = Boolean(this.timer);
    clearInterval(this.timer);
    this.timer = runs ? 0 : setInterval(() => this.next(), PAUSE);
    this.go.textContent = runs ? WORDS.play : WORDS.stop;
    this.go.setAttribute("aria-label", this.go.textContent);
    if (!runs) { this.slider.value = 0; this.run(); }
  }

  next() {
    this.slider.value = Number(this.slider.value) + 1;
    this.run();
    if (this.slider.value === this.slider.max) this.toggle();
  }
}

begin(".nb-gan", "gan", (place, model) => new Film(place, model));
