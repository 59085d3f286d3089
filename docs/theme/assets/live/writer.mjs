// A GPT in the page: what it holds for the next character of the reader's own text, where it looks, and how it goes on.
import { begin, button, element, onScheme, paint, shareList, visible, wordsOf } from "./figure.mjs";

const WORDS = wordsOf({
  en: { text: "Your text", next: "Next character", write: "Write", stop: "Stop", temperature: "Temperature",
    start: "The for statement is used to iterate over the ele", unknown: "Characters it has never seen are left out:",
    heads: "Where each head looks", layer: "layer", head: "head", rows: "Row: the character that looks; column: the one it looks at.",
    looks: "Choose a head, then a character: the darker a character before it, the more of it is taken. Arrow keys work too.",
    from: "looks from", at: "at" },
  ko: { text: "글", next: "다음 글자", write: "쓰기", stop: "멈추기", temperature: "온도",
    start: "The for statement is used to iterate over the ele", unknown: "처음 보는 글자는 빼고 읽습니다:",
    heads: "헤드마다 보는 곳", layer: "층", head: "헤드", rows: "행은 보는 글자, 열은 보이는 글자입니다.",
    looks: "헤드를 고르고 글자를 고르세요. 앞의 글자가 진할수록 거기서 많이 가져옵니다. 화살표로도 고를 수 있습니다.",
    from: "보는 글자", at: "보이는 글자" },
});
const SHOWN = 8, LENGTH = 160, MOST = 4;

class Writer {
  constructor(place, model) {
    this.model = model;
    this.characters = model.description.characters;
    this.context = model.predict.tokens.shape[1];
    this.text = element("textarea", { value: WORDS.start, rows: 4, className: "nb-text", oninput: () => this.change() });
    this.note = element("p", { "aria-live": "polite" });
    this.likeliest = shareList(SHOWN, WORDS.next);
    this.heat = element("input", { type: "range", min: 0.1, max: 1.5, step: 0.1, value: 0.7, oninput: () => this.read() });
    this.go = button(WORDS.write, () => this.toggle());
    const label = element("label", { className: "nb-field" }, WORDS.text, this.text);
    const controls = element("div", { className: "nb-buttons" }, this.go, element("label", {}, `${WORDS.temperature} `, this.heat));
    place.replaceChildren(label, controls, this.note, this.likeliest.node, ...this.makeAttention());
    this.choose(0);
    onScheme(() => this.showHeads());
    this.change();
  }

  // A map for each head, and the text coloured by the one that is chosen.
  makeAttention() {
    const layers = Object.keys(this.model.predict).filter((name) => name.startsWith("attention"));
    this.heads = layers.flatMap((layer, k) => [...Array(this.model.predict[layer].shape[1]).keys()].map((head) => {
      const map = element("canvas", { className: "nb-head", role: "presentation" });
      const name = `${WORDS.layer} ${k + 1}, ${WORDS.head} ${head + 1}`;
      return { layer, head, map, name, node: element("button", { type: "button", className: "nb-head-button", "aria-label": name, "aria-pressed": "false" }, map) };
    }));
    this.heads.forEach(({ node }, k) => { node.onclick = () => this.choose(k); });
    this.passage = element("div", { className: "nb-passage", tabIndex: 0, role: "group", "aria-label": WORDS.looks });
    this.passage.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      this.look(this.from + step);
    });
    this.passage.addEventListener("click", (event) => {
      const k = [...this.passage.children].indexOf(event.target);
      if (k >= 0) this.look(k);
    });
    this.looking = element("output", { className: "nb-sum", "aria-live": "polite" });
    return [element("b", { textContent: WORDS.heads }), element("p", { textContent: `${WORDS.rows} ${WORDS.looks}` }),
      element("div", { className: "nb-heads" }, ...this.heads.map(({ node }) => node)), this.passage, this.looking];
  }

  // The shares of the next character after the text, at the chosen temperature.
  shares() {
    const known = [...this.text.value].map((letter) => this.characters.indexOf(letter)).filter((id) => id >= 0);
    const ids = this.ids = known.slice(-this.context);
    if (!ids.length) return null;
    const { predict } = this.model;
    const tokens = predict.tokens;
    tokens.fill(0n); // what stands after the text cannot be seen by it
    ids.forEach((id, k) => { tokens[k] = BigInt(id); });
    predict();
    const size = this.characters.length;
    const scores = predict.output.slice((ids.length - 1) * size, ids.length * size);
    const largest = Math.max(...scores);
    const weights = [...scores].map((score) => Math.exp((score - largest) / this.heat.value));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return weights.map((weight) => weight / sum);
  }

  read() {
    const strange = new Set([...this.text.value].filter((letter) => !this.characters.includes(letter)));
    this.note.textContent = strange.size ? `${WORDS.unknown} ${[...strange].join(" ")}` : "";
    const shares = this.shares();
    const order = shares ? [...shares.keys()].sort((a, b) => shares[b] - shares[a]).slice(0, SHOWN) : [];
    this.likeliest.rows.forEach(({ row, show }, k) => {
      row.hidden = k >= order.length;
      if (!row.hidden) show(shares[order[k]], visible(this.characters[order[k]]));
    });
    return shares;
  }

  change() {
    this.read();
    this.showHeads();
  }

  // How much, in a head, the place `from` takes of the place `at`.
  weightsOf({ layer, head }) {
    const array = this.model.predict[layer], [, down, along, across] = array.strides;
    return (from, at) => (at <= from ? array[head * down + from * along + at * across] : 0);
  }

  showHeads() {
    const count = this.ids.length;
    for (const head of this.heads) {
      const weight = this.weightsOf(head);
      paint(head.map, Math.max(count, 1), Math.max(count, 1), (row, column) => (count ? Math.sqrt(weight(row, column)) : 0));
    }
    this.passage.replaceChildren(...this.ids.map((id) => element("span", { textContent: visible(this.characters[id]) })));
    this.look(count - 1);
  }

  choose(k) {
    this.heads.forEach(({ node }, other) => node.setAttribute("aria-pressed", other === k));
    this.head = this.heads[k];
    if (this.ids) this.look(this.from);
  }

  look(from) {
    const count = this.ids.length;
    this.from = Math.min(Math.max(from, 0), count - 1);
    if (!count) { this.looking.textContent = ""; return; }
    const weight = this.weightsOf(this.head);
    const weights = this.ids.map((_, at) => weight(this.from, at));
    [...this.passage.children].forEach((span, at) => {
      span.style.setProperty("--share", weights[at]);
      span.classList.toggle("nb-read", at === this.from);
      span.classList.toggle("nb-later", at > this.from);
    });
    const most = [...weights.keys()].sort((a, b) => weights[b] - weights[a]).slice(0, Math.min(MOST, this.from + 1))
      .map((at) => `${visible(this.characters[this.ids[at]])} (${at + 1}) ${(100 * weights[at]).toFixed(1)} %`);
    this.looking.textContent = `${this.head.name}: ${WORDS.from} ${visible(this.characters[this.ids[this.from]])} (${this.from + 1}), ${WORDS.at} ${most.join(", ")}`;
  }

  toggle() {
    this.left = this.left ? 0 : LENGTH;
    this.showState();
    if (this.left) this.step();
    else this.showHeads();
  }

  showState() {
    this.go.textContent = this.left ? WORDS.stop : WORDS.write;
    this.go.setAttribute("aria-label", this.go.textContent);
  }

  step() {
    const shares = this.read();
    if (!this.left || !shares) { this.left = 0; this.showState(); this.showHeads(); return; }
    let rest = Math.random();
    const id = shares.findIndex((share) => (rest -= share) < 0);
    this.text.value += this.characters[id < 0 ? 0 : id];
    this.text.scrollTop = this.text.scrollHeight;
    this.left -= 1;
    requestAnimationFrame(() => this.step());
  }
}

begin(".nb-writer", "writer", (place, model) => new Writer(place, model));
