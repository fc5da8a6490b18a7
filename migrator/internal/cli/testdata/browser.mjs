// What the console's tests in a real browser share. What a page cannot do itself,
// such as a move, is asked of the test, at input.test.

import { createRequire } from "node:module";
import assert from "node:assert/strict";
import { text as read } from "node:stream/consumers";

const { chromium } = createRequire(import.meta.url)(process.env.PLAYWRIGHT_CORE);
export const input = JSON.parse(await read(process.stdin));
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
const problems = [];

export async function ask(what) {
  const reply = await fetch(input.test + what);
  assert.equal(reply.status, 200, what + ": " + (await reply.text()));
}

export async function open(options) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(20000);
  const page = await context.newPage();
  page.on("pageerror", (e) => problems.push(String(e)));
  page.on("console", (m) => {
    // Answers such as 401 are the test's own doing.
    if (m.type() === "error" && !m.text().startsWith("Failed to load resource")) problems.push(m.text());
  });
  return page;
}

export async function login(page, token) {
  await page.goto(input.url);
  await page.fill("#name", "ann");
  await page.fill("#token", token);
  await page.keyboard.press("Enter");
}

export const painted = (page) => page.waitForSelector("canvas[data-version]");

export async function says(page, selector, words) {
  try {
    await page.waitForFunction(([s, w]) => [...document.querySelectorAll(s)].some((e) => e.textContent.includes(w)), [selector, words]);
  } catch (e) {
    const said = await page.evaluate((s) => [...document.querySelectorAll(s)].map((e) => e.textContent), selector);
    throw new Error(`${selector} never says ${words}, but ${JSON.stringify(said).slice(0, 500)}: ${e.message}`);
  }
}

const settled = (page) => page.evaluate(() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r))));

// looksRight looks at the page in each width and scheme: nothing hangs over or lies
// on something else, and all text stands out from what is behind it.
export async function looksRight(page, name) {
  const backs = new Set();
  for (const width of [1280, 400]) {
    await page.setViewportSize({ width, height: 900 });
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await settled(page);
      const seen = await page.evaluate(look);
      assert.deepEqual([seen.scroll, seen.over, seen.overlaps, seen.pale], [0, [], [], []], `${name} ${width} ${colorScheme}`);
      backs.add(seen.back);
      if (input.pictures) await page.screenshot({ path: `${input.pictures}/${name}-${width}-${colorScheme}.png`, fullPage: true });
    }
  }
  assert.equal(backs.size, 2);
  await page.setViewportSize({ width: 1280, height: 900 });
}

function look() {
  const root = document.documentElement, name = (e) => e.tagName + "#" + e.id + "." + e.className;
  const visible = (e) => e.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const over = [...document.querySelectorAll("main *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest("thead, dialog"));
  // What a region cuts off lies on nothing.
  const box = (e) => {
    const { left, right, top, bottom } = e.getBoundingClientRect(), around = e.closest(".tall")?.getBoundingClientRect();
    return around && !e.matches(".tall") ? { left, right, top: Math.max(top, around.top), bottom: Math.min(bottom, around.bottom) } : { left, right, top, bottom };
  };
  const overlaps = [];
  for (const selector of ["main > section", "main button, main input, main select, main textarea, main summary", ".campaign > *"]) {
    const boxes = [...document.querySelectorAll(selector)].filter(visible).map((e) => [name(e), box(e)]);
    boxes.forEach(([a, x], i) => boxes.slice(i + 1).forEach(([b, y]) => {
      if (Math.min(x.right, y.right) - Math.max(x.left, y.left) > 1 && Math.min(x.bottom, y.bottom) - Math.max(x.top, y.top) > 1) overlaps.push(a + " on " + b);
    }));
  }
  const rgb = (css) => css.match(/[\d.]+/g).map(Number);
  const light = (css) => {
    const [r, g, b] = rgb(css).map((c) => c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const css = getComputedStyle(e).backgroundColor;
      if ((rgb(css)[3] ?? 1) === 1) return css;
    }
    return "rgb(255, 255, 255)";
  };
  const pale = [];
  for (const e of document.querySelectorAll("header *, main *")) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !visible(e) || e.closest("[aria-disabled=true], :disabled")) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) pale.push(`${name(e)} ${((a + 0.05) / (b + 0.05)).toFixed(2)}`);
  }
  return { scroll: root.scrollWidth - root.clientWidth, over: over.map(name).slice(0, 5), overlaps: overlaps.slice(0, 5), pale: pale.slice(0, 5),
    back: getComputedStyle(document.body).backgroundColor };
}

// keysReachEverything: everything that can be used is reached by Tab, in the order
// in which it is read, and shows that it is.
export async function keysReachEverything(page, least) {
  await page.evaluate(() => { document.activeElement?.blur(); document.body.scrollTo(0, 0); });
  const all = await page.evaluate(() => {
    const used = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")];
    const usable = used.filter((e) => !e.disabled && e.checkVisibility({ visibilityProperty: true }) && !e.closest("dialog:not([open])"));
    usable.forEach((e, i) => { e.dataset.reach = i; });
    return usable.map((e) => e.tagName + "#" + e.id + "." + e.className);
  });
  assert.ok(all.length >= least, all.join());
  const reached = [], bare = [];
  for (let i = 0; i < all.length + 2; i++) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
      const e = document.activeElement, style = getComputedStyle(e);
      return { at: Number(e.dataset.reach ?? -1), shown: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 };
    });
    if (at.at < 0) continue;
    reached.push(at.at);
    if (!at.shown) bare.push(all[at.at]);
  }
  assert.deepEqual(all.filter((_, i) => !reached.includes(i)), [], "not reached by Tab");
  assert.deepEqual(bare, [], "focus is not seen");
  // Tab goes round, from wherever it was.
  const from = reached.indexOf(0), round = [...reached.slice(from, all.length), ...reached.slice(0, from)];
  assert.deepEqual(round, [...round].sort((a, b) => a - b), "the order of Tab is not the page's");
}

// run runs a test, and says that it was good.
export async function run(test) {
  try {
    await test();
    assert.deepEqual(problems, []);
    console.log(JSON.stringify({ good: true }));
  } finally {
    await browser.close();
  }
}
