// Runs programs that nbdl.export.wasm wrote. `load("digits")` fetches digits.json, digits.weights and the module.
// Each program is a function; inputs, outputs, controls and state are typed arrays in the module's memory.
const TYPES = { float32: Float32Array, float64: Float64Array, int64: BigInt64Array, int32: Int32Array,
  uint8: Uint8Array, bool: Uint8Array, uint64: BigUint64Array };

export async function load(name, fetchFile = async (url) => (await fetch(url)).arrayBuffer()) {
  const [text, weights] = await Promise.all(["json", "weights"].map((kind) => fetchFile(`${name}.${kind}`)));
  const description = JSON.parse(new TextDecoder().decode(text));
  return instantiate(await fetchFile(`${description.module}.wasm`), description, weights);
}

export async function instantiate(code, description, weights) {
  const { instance } = await WebAssembly.instantiate(code, {});
  const { memory, nbdl_arena, nbdl_allocate, nbdl_release } = instance.exports;
  const base = nbdl_arena.value;
  const reset = () => new Uint8Array(memory.buffer).set(new Uint8Array(weights), base);
  reset();
  // Elements that lie one after the other in memory; `shape` and `strides` (in elements) say how. The view is made
  // anew each time, because memory that has grown leaves older views empty.
  const view = ({ dtype, offset, shape, strides }) => {
    const extent = shape.includes(0) ? 0 : 1 + shape.reduce((sum, size, k) => sum + (size - 1) * strides[k], 0);
    return Object.assign(new TYPES[dtype](memory.buffer, base + offset, extent), { shape, strides });
  };
  const stray = (program, input, { lowest, highest, also }) => {
    const isStray = (id) => (id < lowest || id > highest) && Number(id) !== also;
    return `${input}: expected ids in [${lowest}, ${highest}], got ${program[input].find(isStray)} at ${program[input].findIndex(isStray)}`;
  };
  const model = { reset, state: {}, description };
  const show = (target, arrays) => {
    for (const [name, place] of Object.entries(arrays))
      if (!(name in target)) Object.defineProperty(target, name, { get: () => view(place), enumerable: true });
  };
  show(model.state, description.state);
  for (const [name, { function: exported, inputs, outputs, controls, ranges }] of Object.entries(description.programs)) {
    model[name] = () => {
      const refused = instance.exports[exported]();
      if (refused) throw new RangeError(`nbdl: ${name}: ${stray(model[name], ...Object.entries(ranges)[refused - 1])}`);
    };
    show(model[name], { ...controls, ...outputs, ...inputs });
  }
  // A single kernel: arrays made by `model.array("float32", [2, 3])`, numbers, and last the number of tasks. `bind` makes
  // a function of a kernel and its arguments. `release` frees all arrays at once.
  model.array = (dtype, shape) => {
    const size = shape.reduce((product, length) => product * length, 1);
    const address = nbdl_allocate(size * TYPES[dtype].BYTES_PER_ELEMENT);
    if (!address && size) throw new Error(`nbdl: no memory for ${shape.join(" x ")} elements of ${dtype}`);
    return { address, shape, get values() { return new TYPES[dtype](memory.buffer, address, size); } };
  };
  model.release = nbdl_release;
  const flat = (given) => given.flatMap((item) => (item?.shape ? [item.address, ...item.shape] : [item]));
  model.bind = (name, ...given) => instance.exports[name].bind(null, ...flat(given));
  for (const name of Object.keys(description.kernels)) model[name] = (...given) => instance.exports[name](...flat(given));
  return model;
}
