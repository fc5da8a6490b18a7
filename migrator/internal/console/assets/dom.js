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

// keyed keeps a parent's children by their keys, so that a change touches what
// changed alone: what is marked, open, in focus or read aloud stays. make returns
// an element, and update(item).
export function keyed(parent, make) {
  const shown = new Map();
  return (items, keyOf) => {
    const wanted = new Map();
    for (const item of items) {
      const key = keyOf(item);
      if (!wanted.has(key)) wanted.set(key, item);
    }
    for (const [key, one] of shown) {
      if (!wanted.has(key)) { one.element.remove(); shown.delete(key); }
    }
    let at = parent.firstElementChild;
    for (const [key, item] of wanted) {
      if (!shown.has(key)) shown.set(key, make(item));
      const one = shown.get(key);
      if (one.element === at) at = at.nextElementSibling;
      else parent.insertBefore(one.element, at);
      one.update(item);
    }
  };
}

// table keeps a table's rows by their keys. A column is tight when it is not to be
// broken into lines; its kind is a colour, or null for plain text.
export function table(caption, columns) {
  const body = el("tbody");
  const head = el("tr", {}, ...columns.map((c) => el("th", { scope: "col", class: c.tight && "tight" }, c.name)));
  const element = el("table", { class: "cards", "aria-label": caption }, el("thead", {}, head), body);
  const update = keyed(body, () => {
    const row = el("tr", {}, ...columns.map((c) => el("td", { "data-label": c.name, class: c.tight && "tight" })));
    return {
      element: row,
      update: (item) => columns.forEach((c, i) => {
        setText(row.children[i], c.text(item));
        if (!c.kind) return;
        const kind = c.kind(item);
        row.children[i].className = (c.tight ? "tight " : "") + (kind === null ? "" : "state " + kind);
      }),
    };
  });
  return { element, update };
}

// region is what scrolls by itself when it is long.
export function region(label, ...children) {
  return el("div", { class: "tall", tabindex: 0, role: "region", "aria-label": label }, ...children);
}

export const count = new Intl.NumberFormat("en").format;
export const short = new Intl.NumberFormat("en", { notation: "compact" }).format; // beside an axis

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
  if (seconds < 172800) return (seconds / 3600).toFixed(1) + " h";
  return (seconds / 86400).toFixed(1) + " days";
}

// spans are what Go writes of a duration, in nanoseconds.
export const spans = (nanoseconds) => lasting(nanoseconds / 1e9);

// percent has enough figures to tell a thousandth of a percent from nothing.
export function percent(share) {
  if (share === null || share === undefined || isNaN(share)) return "";
  const p = 100 * share;
  return (p === 0 ? "0" : p >= 10 ? String(Number(p.toPrecision(4))) : p >= 0.001 ? String(Number(p.toPrecision(3))) : "below 0.001") + " %";
}

// sentence begins with a capital letter.
export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

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
