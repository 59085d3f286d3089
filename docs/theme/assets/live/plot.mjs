// What figures with pictures and controls need besides: shapes, named controls, numbers as people write them.
import { element } from "./figure.mjs";

export function drawn(kind, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// A control with its name before it.
export function field(name, ...controls) {
  return element("label", { className: "nb-choice" }, `${name} `, ...controls);
}

// A number as a person would write it: the digits that count, and a true minus sign.
export function written(number, digits = 4) {
  if (!Number.isFinite(number)) return Number.isNaN(number) ? "NaN" : number > 0 ? "∞" : "−∞";
  const rounded = Number(number.toPrecision(digits));
  const far = Math.abs(rounded) >= 1e5 || (rounded && Math.abs(rounded) < 1e-3);
  return (far ? rounded.toExponential(digits - 2) : String(rounded)).replaceAll("-", "−");
}

// Takes a step in every frame, for as long as the step says so.
export function everyFrame(step) {
  requestAnimationFrame(() => { if (step()) everyFrame(step); });
}
