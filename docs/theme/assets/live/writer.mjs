// A GPT in the page: what it holds for the next character of the reader's own text, and how it goes on.
import { load } from "./nbdl.mjs";

const WORDS = {
  en: { text: "Your text", next: "Next character", write: "Write", stop: "Stop", temperature: "Temperature",
    start: "The for statement is used to iterate over the ele", unknown: "Characters it has never seen are left out:" },
  ko: { text: "글", next: "다음 글자", write: "쓰기", stop: "멈추기", temperature: "온도",
    start: "The for statement is used to iterate over the ele", unknown: "처음 보는 글자는 빼고 읽습니다:" },
}[document.documentElement.lang.slice(0, 2)];
const SHOWN = 8, LENGTH = 160;

function element(kind, properties = {}, ...children) {
  const made = Object.assign(document.createElement(kind), properties);
  for (const [name, value] of Object.entries(properties)) if (name.includes("-")) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

class Writer {
  constructor(place, network) {
    this.network = network;
    this.characters = network.description.characters;
    this.context = network.predict.tokens.shape[1];
    this.text = element("textarea", { value: WORDS.start, rows: 4, className: "nb-text", oninput: () => this.read() });
    this.note = element("p", { "aria-live": "polite" });
    this.rows = [...Array(SHOWN).keys()].map(() => {
      const [name, bar, share] = [element("b"), element("span", { className: "nb-bar" }), element("output", { className: "nb-share" })];
      return { name, bar, share, row: element("li", {}, name, bar, share) };
    });
    const list = element("ol", { className: "nb-shares", "aria-label": WORDS.next }, ...this.rows.map(({ row }) => row));
    this.heat = element("input", { type: "range", min: 0.1, max: 1.5, step: 0.1, value: 0.7, oninput: () => this.read() });
    this.go = element("button", { type: "button", className: "md-button", textContent: WORDS.write, onclick: () => this.toggle() });
    const label = element("label", { className: "nb-field" }, WORDS.text, this.text);
    const controls = element("div", { className: "nb-buttons" }, this.go, element("label", {}, `${WORDS.temperature} `, this.heat));
    place.replaceChildren(label, controls, this.note, list);
    this.read();
    place.dataset.ready = "true";
  }

  // The shares of the next character after the text, at the chosen temperature.
  shares() {
    const known = [...this.text.value].map((letter) => this.characters.indexOf(letter)).filter((id) => id >= 0);
    const ids = known.slice(-this.context);
    if (!ids.length) return null;
    const { predict } = this.network;
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
    this.rows.forEach(({ name, bar, share, row }, k) => {
      row.hidden = k >= order.length;
      if (row.hidden) return;
      name.textContent = { " ": "␣", "\n": "⏎" }[this.characters[order[k]]] ?? this.characters[order[k]];
      bar.style.setProperty("--share", shares[order[k]]);
      share.textContent = `${(100 * shares[order[k]]).toFixed(1)} %`;
    });
    return shares;
  }

  toggle() {
    this.left = this.left ? 0 : LENGTH;
    this.go.textContent = this.left ? WORDS.stop : WORDS.write;
    if (this.left) this.step();
  }

  step() {
    const shares = this.read();
    if (!this.left || !shares) { this.left = 0; this.go.textContent = WORDS.write; return; }
    let rest = Math.random();
    const id = shares.findIndex((share) => (rest -= share) < 0);
    this.text.value += this.characters[id < 0 ? 0 : id];
    this.text.scrollTop = this.text.scrollHeight;
    this.left -= 1;
    requestAnimationFrame(() => this.step());
  }
}

for (const place of document.querySelectorAll(".nb-writer")) {
  const files = (file) => fetch(new URL(file, import.meta.url)).then((answer) => answer.arrayBuffer());
  load("writer", files).then((network) => new Writer(place, network));
}
