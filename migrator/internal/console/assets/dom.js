// dom builds elements. Text is always text: nothing that comes from elsewhere is
// read as markup.

export function el(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === undefined || value === null) continue;
    if (key === "class") e.className = value;
    else if (key.startsWith("on")) e.addEventListener(key.slice(2), value);
    else e.setAttribute(key, value === true ? "" : value);
  }
  e.append(...children.filter((c) => c !== null && c !== undefined));
  return e;
}

export function setText(e, text) {
  text = String(text ?? "");
  if (e.textContent !== text) e.textContent = text;
}

// table keeps a table's rows by their keys, so that a change touches what changed
// alone: what is marked or read aloud stays.
export function table(caption, columns) {
  const body = el("tbody");
  const head = el("tr", {}, ...columns.map((c) => el("th", { scope: "col" }, c.name)));
  const element = el("table", { class: "cards", "aria-label": caption }, el("thead", {}, head), body);
  const rows = new Map();
  return {
    element,
    update(items, keyOf) {
      const seen = new Set();
      let at = body.firstElementChild;
      for (const item of items) {
        const key = keyOf(item);
        if (seen.has(key)) continue;
        seen.add(key);
        let row = rows.get(key);
        if (!row) {
          row = el("tr", {}, ...columns.map((c) => el("td", { "data-label": c.name })));
          rows.set(key, row);
        }
        if (row === at) at = at.nextElementSibling;
        else body.insertBefore(row, at);
        columns.forEach((c, i) => {
          const cell = row.children[i];
          setText(cell, c.text(item));
          if (c.kind) cell.className = "state " + c.kind(item);
        });
      }
      for (const [key, row] of rows) {
        if (!seen.has(key)) { row.remove(); rows.delete(key); }
      }
    },
  };
}

export const count = new Intl.NumberFormat("en").format;

export function clock(text) {
  const at = new Date(text);
  return isNaN(at) ? "" : at.toISOString().replace("T", " ").replace(/\.\d+Z$/, "Z");
}

// instant is clock to the millisecond: a move's states follow one another fast.
export function instant(text) {
  const at = new Date(text);
  return isNaN(at) ? "" : at.toISOString().replace("T", " ");
}

export function lasting(seconds) {
  if (!(seconds >= 0)) return "";
  if (seconds < 1) return (seconds * 1000).toFixed(1) + " ms";
  if (seconds < 120) return seconds.toFixed(1) + " s";
  if (seconds < 7200) return Math.floor(seconds / 60) + " min " + Math.floor(seconds % 60) + " s";
  return (seconds / 3600).toFixed(1) + " h";
}

export function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// swatch is a coloured square of a legend.
export function swatch(fill) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 8 8");
  svg.setAttribute("aria-hidden", "true");
  const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [k, v] of Object.entries({ width: 8, height: 8, rx: 1, fill })) rect.setAttribute(k, v);
  svg.append(rect);
  return svg;
}
