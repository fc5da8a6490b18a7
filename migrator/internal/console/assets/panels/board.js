// board paints cells on a canvas. When there are more buckets than pixels a cell
// stands for a few: it shows the most urgent of them, or else their mean colour.

import { el, color } from "../dom.js";

const cellMax = 26; // CSS pixels
const heightMax = 620;
const linesFrom = 5; // device pixels of a cell, from which on there are lines between

export function board({ describe, moved }) {
  const canvas = el("canvas", { tabindex: 0, role: "application", "aria-label": "Buckets", "aria-describedby": "grid-readout", "aria-roledescription": "grid of buckets, arrow keys move" });
  const cursor = el("div", { class: "cursor", hidden: true });
  const element = el("div", { class: "board" }, canvas, cursor);
  const cells = document.createElement("canvas"), ink = cells.getContext("2d");
  const pen = canvas.getContext("2d", { alpha: false });
  let shown = null, image = null, pixels = null, lut = null, wide = 0, back = 0;
  let per = 1, size = 1, columns = 1, rows = 1, total = 0, at = -1;
  let dirty = [], whole = false, asked = false;

  function frame() {
    asked = false;
    if (!shown) return;
    if (whole || dirty.length > 4000) paintAll();
    else paintSome(dirty);
    dirty = [];
    whole = false;
    canvas.dataset.version = shown.version;
    if (!performance.getEntriesByName("grid-first-paint").length) performance.mark("grid-first-paint");
  }
  const ask = () => {
    if (!asked) { asked = true; requestAnimationFrame(frame); }
  };

  function layout() {
    const ratio = devicePixelRatio || 1;
    const width = Math.max(1, Math.floor(element.clientWidth * ratio)), height = Math.floor(heightMax * ratio);
    const n = shown.homes.length;
    for (per = 1; Math.ceil(n / per) > width * height; per *= 2);
    total = Math.ceil(n / per);
    size = Math.max(1, Math.min(Math.floor(cellMax * ratio), Math.floor(Math.sqrt(width * height / total))));
    for (; ; size--) {
      columns = Math.min(total, Math.max(1, Math.floor(width / size)));
      rows = Math.ceil(total / columns);
      if (size === 1 || rows * size <= height) break;
    }
    cells.width = columns;
    cells.height = rows;
    canvas.width = columns * size;
    canvas.height = rows * size;
    canvas.style.width = columns * size / ratio + "px";
    canvas.style.height = rows * size / ratio + "px";
    image = ink.createImageData(columns, rows);
    pixels = new Uint32Array(image.data.buffer);
    pen.imageSmoothingEnabled = false;
    place();
  }

  // lut has a pixel for every state and home: pixels are little-endian ABGR.
  function colours() {
    const word = (css) => {
      ink.fillStyle = css;
      const hex = parseInt(ink.fillStyle.slice(1), 16);
      return (255 << 24 | (hex & 255) << 16 | hex & 0xff00 | hex >> 16) >>> 0;
    };
    back = word(color("--card"));
    wide = shown.fills.length;
    lut = new Uint32Array(wide * shown.marks.length);
    shown.marks.forEach((m, s) => shown.fills.forEach((f, h) => { lut[s * wide + h] = word(m || f); }));
  }

  function cell(i) {
    const { homes, codes } = shown;
    const first = i * per;
    if (per === 1) return lut[codes[first] * wide + homes[first]];
    const last = Math.min(first + per, homes.length);
    let urgent = 0, home = 0, r = 0, g = 0, b = 0;
    for (let k = first; k < last; k++) {
      if (codes[k] > urgent) { urgent = codes[k]; home = homes[k]; }
      const p = lut[homes[k]];
      r += p & 255; g += p >> 8 & 255; b += p >> 16 & 255;
    }
    if (urgent) return lut[urgent * wide + home];
    const n = last - first;
    return (255 << 24 | Math.round(b / n) << 16 | Math.round(g / n) << 8 | Math.round(r / n)) >>> 0;
  }

  function paintAll() {
    for (let i = 0; i < total; i++) pixels[i] = cell(i);
    pixels.fill(back, total); // of the last row, behind the last cell
    put([[0, 0, columns, rows]]);
  }

  function paintSome(ranges) {
    put(ranges.map(([first, last]) => {
      const from = Math.floor(first / per), to = Math.floor(last / per);
      for (let i = from; i <= to; i++) pixels[i] = cell(i);
      const top = Math.floor(from / columns), bottom = Math.floor(to / columns);
      return top === bottom ? [from % columns, top, to - from + 1, 1] : [0, top, columns, bottom - top + 1];
    }));
  }

  // put brings rectangles of cells to the canvas. All are written before the first
  // is drawn: to draw from a canvas that was written to copies the whole of it.
  function put(boxes) {
    if (size === 1) {
      for (const [x, y, w, h] of boxes) pen.putImageData(image, 0, 0, x, y, w, h);
      return;
    }
    for (const [x, y, w, h] of boxes) ink.putImageData(image, 0, 0, x, y, w, h);
    for (const [x, y, w, h] of boxes) {
      pen.drawImage(cells, x, y, w, h, x * size, y * size, w * size, h * size);
      lines(y, y + h, x, x + w);
    }
  }

  function lines(top, bottom, left, right) {
    if (size < linesFrom) return;
    pen.fillStyle = color("--card");
    for (let y = top; y < bottom; y++) pen.fillRect(left * size, (y + 1) * size - 1, (right - left) * size, 1);
    for (let x = left; x < right; x++) pen.fillRect((x + 1) * size - 1, top * size, 1, (bottom - top) * size);
  }

  function place() {
    cursor.hidden = at < 0 || !shown || at >= shown.homes.length;
    if (cursor.hidden) return;
    const ratio = devicePixelRatio || 1, i = Math.floor(at / per), pad = 3;
    const side = Math.max(size / ratio, 4) + 2 * pad;
    cursor.style.left = (i % columns) * size / ratio - pad + "px";
    cursor.style.top = Math.floor(i / columns) * size / ratio - pad + "px";
    cursor.style.width = cursor.style.height = side + "px";
  }

  const under = (e) => {
    const ratio = devicePixelRatio || 1;
    const x = Math.floor(e.offsetX * ratio / size), y = Math.floor(e.offsetY * ratio / size);
    const bucket = (y * columns + x) * per;
    return x >= 0 && x < columns && y >= 0 && shown && bucket < shown.homes.length ? bucket : -1;
  };
  canvas.addEventListener("pointermove", (e) => {
    const bucket = under(e);
    if (bucket >= 0) canvas.title = describe(bucket);
  });
  canvas.addEventListener("click", (e) => go(under(e)));
  canvas.addEventListener("focus", () => { if (at < 0) go(0); });
  canvas.addEventListener("keydown", (e) => {
    const step = { ArrowLeft: -per, ArrowRight: per, ArrowUp: -columns * per, ArrowDown: columns * per, PageUp: -columns * per * 10, PageDown: columns * per * 10 }[e.key];
    const n = shown?.homes.length ?? 0;
    if (!n || (step === undefined && e.key !== "Home" && e.key !== "End")) return;
    e.preventDefault();
    go(e.key === "Home" ? 0 : e.key === "End" ? n - 1 : Math.min(n - 1, Math.max(0, at + step)));
  });
  function go(bucket) {
    if (bucket < 0 || !shown) return;
    at = bucket;
    place();
    moved(bucket);
  }

  new ResizeObserver(() => {
    if (!shown) return;
    layout();
    whole = true;
    ask();
  }).observe(element);

  return {
    element,
    show(next) {
      shown = next;
      layout();
      colours();
      whole = true;
      ask();
    },
    touch(first, last) {
      dirty.push([first, last]);
      ask();
    },
    at(version) {
      if (shown) shown.version = version;
      ask();
    },
    point(bucket) { at = bucket; place(); },
    label(text) { canvas.setAttribute("aria-label", text); },
  };
}
