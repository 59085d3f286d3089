// Draw a digit for a convolutional network: the maps of its layers, and which pixels speak for or against a class.
import { Drawing } from "./drawing.mjs";
import { begin, button, choice, element, largest, onScheme, paint, shareList, wordsOf } from "./figure.mjs";

const WORDS = wordsOf({
  en: { grid: "Drawing, 8 by 8 pixels", read: "It reads", clear: "Clear", example: "Draw for me", slope: "Slope of the score of", best: "the likeliest",
    first: "First layer: its kernels, and the map that each makes", second: "Second layer, after pooling", map: "Map", kernel: "Kernel", most: "strongest",
    meaning: "Blue: more ink here raises the score. Orange: it lowers it.", help: "Draw with the mouse or a finger; or move with the arrow keys and press the space bar." },
  ko: { grid: "그림, 가로세로 8픽셀", read: "읽은 결과", clear: "지우기", example: "예시", slope: "점수의 기울기:", best: "가장 그럴듯한 숫자",
    first: "첫째 층: 커널과 각 커널이 만든 특징 맵", second: "둘째 층, 풀링 뒤", map: "특징 맵", kernel: "커널", most: "최댓값",
    meaning: "파란 곳을 칠하면 점수가 오르고, 주황 곳을 칠하면 내려갑니다.", help: "마우스나 손가락으로 그리거나, 화살표로 움직이며 스페이스 바를 누르세요." },
});
const DIGITS = [...Array(10).keys()];
// A five, as a reader would draw it.
const EXAMPLE = [[1, 2], [1, 3], [1, 4], [1, 5], [2, 2], [3, 2], [3, 3], [3, 4], [4, 5], [5, 5], [6, 4], [6, 3], [6, 2]];

const picture = (label) => element("canvas", { role: "img", className: "nb-map", "aria-label": label });

class Reader {
  constructor(place, model) {
    this.model = model;
    const { first, second, pixels } = model.look;
    this.side = pixels.shape[2];
    this.drawing = new Drawing(this.side, WORDS.grid, () => this.read());
    this.shares = shareList(10, WORDS.read, DIGITS);
    this.chosen = choice(WORDS.slope, [["", WORDS.best], ...DIGITS.map((digit) => [digit, digit])], () => this.read());
    this.slope = picture(WORDS.meaning);
    const maps = (count, name) => [...Array(count).keys()].map((k) => picture(`${name} ${k + 1}`));
    this.kernels = maps(first.shape[1], WORDS.kernel);
    this.layers = [{ name: "first", maps: maps(first.shape[1], WORDS.map) }, { name: "second", maps: maps(second.shape[1], WORDS.map) }];
    const row = (title, ...rows) => element("section", { className: "nb-maps" }, element("b", { textContent: title }),
      ...rows.map((canvases) => element("div", { className: "nb-strip" }, ...canvases)));
    place.replaceChildren(
      element("p", { textContent: WORDS.help }),
      element("div", { className: "nb-digit-body" }, this.drawing.node, this.shares.node,
        element("div", { className: "nb-column" }, this.chosen.node, this.slope, element("small", { textContent: WORDS.meaning }))),
      element("div", { className: "nb-buttons" }, button(WORDS.clear, () => this.drawing.clear()), button(WORDS.example, () => this.draw())),
      row(WORDS.first, this.kernels, this.layers[0].maps), row(WORDS.second, this.layers[1].maps));
    this.slope.classList.add("nb-large");
    onScheme(() => this.show());
    this.draw();
  }

  draw() {
    this.drawing.pixels.fill(0);
    for (const [y, x] of EXAMPLE) this.drawing.paint(y * this.side + x);
  }

  look(digit) {
    const { look } = this.model;
    look.pixels.set(this.drawing.pixels);
    look.chosen.fill(0);
    look.chosen[digit] = 1;
    look();
    return [...look.shares];
  }

  read() {
    const wanted = this.chosen.list.value;
    const shares = this.look(Number(wanted));
    const best = shares.indexOf(Math.max(...shares));
    if (wanted === "") this.look(best);
    this.shares.rows.forEach(({ row, show }, digit) => {
      show(shares[digit]);
      row.classList.toggle("nb-best", digit === best);
    });
    this.show();
  }

  show() {
    const { look, state } = this.model;
    const draw = (canvas, array, k, scale) => {
      const [, , height, width] = array.shape, [, channel, row, column] = array.strides;
      paint(canvas, width, height, (y, x) => array[k * channel + y * row + x * column], scale);
    };
    const { "0.weight": weights } = state;
    this.kernels.forEach((canvas, k) => paint(canvas, 3, 3, (y, x) => weights[9 * k + 3 * y + x], largest(weights)));
    for (const { name, maps } of this.layers) {
      const array = look[name], most = largest(array), channel = array.strides[1];
      maps.forEach((canvas, k) => {
        draw(canvas, array, k, most);
        const size = array.shape[2] * array.shape[3];
        const strongest = [...Array(size).keys()].reduce((top, place) => Math.max(top, array[k * channel + place * array.strides[3]]), 0);
        canvas.setAttribute("aria-label", `${WORDS.map} ${k + 1}, ${WORDS.most} ${strongest.toFixed(2)}`);
      });
    }
    draw(this.slope, look.slope, 0, largest(look.slope));
  }
}

begin(".nb-features", "features", (place, model) => new Reader(place, model));
