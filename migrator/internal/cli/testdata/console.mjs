// The console in a real browser. What the page cannot do itself, such as a move,
// it asks of the test, at input.test.

import { createRequire } from "node:module";
import assert from "node:assert/strict";
import { text as read } from "node:stream/consumers";

const { chromium } = createRequire(import.meta.url)(process.env.PLAYWRIGHT_CORE);
const input = JSON.parse(await read(process.stdin));
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
const problems = [];
const ask = async (what) => {
  const reply = await fetch(input.test + what);
  assert.equal(reply.status, 200, what + ": " + (await reply.text()));
};

async function open(options) {
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

async function login(page, token) {
  await page.goto(input.url);
  await page.fill("#name", "ann");
  await page.fill("#token", token);
  await page.keyboard.press("Enter");
}

const painted = (page) => page.waitForSelector("canvas[data-version]");
const says = (page, selector, words) =>
  page.waitForFunction(([s, w]) => [...document.querySelectorAll(s)].some((e) => e.textContent.includes(w)), [selector, words]);
async function bucket(page, n) {
  await page.fill("#grid-find", String(n));
  await page.press("#grid-find", "Enter");
  return page.textContent("#grid-readout");
}

// pixel is what the canvas shows in the middle of a bucket's cell, by the cursor's place.
const pixel = (page, n) => page.evaluate((n) => {
  const canvas = document.querySelector(".board canvas");
  const cursor = document.querySelector(".board .cursor");
  const d = devicePixelRatio, half = parseFloat(cursor.style.width) / 2;
  const x = (parseFloat(cursor.style.left) + half) * d, y = (parseFloat(cursor.style.top) + half) * d;
  return [...canvas.getContext("2d").getImageData(x, y, 1, 1).data].join();
}, n);

async function loginIsRefusedAndAccepted(page) {
  await login(page, "this is not the token");
  await says(page, ".problem", "This is not the token");
  await login(page, input.operator);
  await painted(page);
  await says(page, "#line.live", "live");
  const cookie = (await page.context().cookies()).find((c) => c.name === "drover-console");
  assert.ok(cookie.httpOnly && cookie.sameSite === "Strict", JSON.stringify(cookie));
}

async function aMoveShowsWithoutAReload(page) {
  await page.evaluate(() => { window.neverReloaded = true; });
  assert.equal(await bucket(page, 17), "Bucket 17: alpha in legacy");
  const before = await pixel(page);
  await ask("/move");
  await page.waitForFunction(() => {
    document.querySelector(".find button").click();
    return /^Bucket 17: gamma in cloud, soaking by /.test(document.getElementById("grid-readout").textContent);
  });
  await page.evaluate(() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r))));
  assert.notEqual(await pixel(page), before);
  await says(page, "[data-panel=moves] summary", "buckets 17, alpha → gamma: soaking");
  for (const state of ["copying", "freezing", "publishing", "soaking"]) {
    await says(page, "[data-panel=moves] td[data-label=state]", state);
    await says(page, "[data-panel=journal] td[data-label=state]", state);
  }
  await says(page, "[data-panel=users] [role=status]", "1 buckets in cloud, 63 buckets in legacy");
  await page.waitForSelector("[data-panel=users] .uplot canvas");
  await says(page, "[data-panel=fleet] td", "behind by");
  await ask("/acknowledge");
  await says(page, "[data-panel=fleet] td.good", "current");
  assert.equal(await page.evaluate(() => window.neverReloaded), true);
}

async function anOperatorConfirmsByTyping(page) {
  const panel = page.locator("[data-panel=whitelist]");
  await panel.locator("textarea").fill("bob\neve");
  await panel.locator("select").selectOption("cloud");
  await panel.getByRole("button", { name: "Send there" }).click();
  await says(page, "#confirm-title", "Send 2 users to cloud?");
  await page.fill("#confirm-typed", "legacy");
  assert.ok(await page.isDisabled("#confirm-yes"));
  await page.fill("#confirm-why", "the first two");
  await page.fill("#confirm-typed", "cloud");
  await page.keyboard.press("Enter");
  await says(page, "[data-panel=whitelist] [role=status]", "2 added");
  await says(page, "[data-panel=summary] dd", "2");
  await ask("/whitelisted");
  // Escape leaves it.
  await panel.locator("textarea").fill("bob");
  await panel.getByRole("button", { name: "Take off" }).click();
  await page.keyboard.press("Escape");
  assert.ok(await page.isHidden("#confirm"));
}

// everything that can be used is reached by Tab, in the order in which it is read,
// and shows that it is.
async function keysReachEverything(page) {
  await page.evaluate(() => { document.activeElement?.blur(); document.body.scrollTo(0, 0); });
  const all = await page.evaluate(() => {
    const used = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")];
    const usable = used.filter((e) => !e.disabled && e.checkVisibility({ visibilityProperty: true }) && !e.closest("dialog:not([open])"));
    usable.forEach((e, i) => { e.dataset.reach = i; });
    return usable.map((e) => e.tagName + "#" + e.id + "." + e.className);
  });
  assert.ok(all.length >= 10, all.join());
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
  await page.focus(".board canvas");
  await page.keyboard.press("Home");
  await page.keyboard.press("ArrowRight");
  await says(page, "#grid-readout", "Bucket 1: alpha in legacy");
}

async function everyWidthAndSchemeLooksRight(page) {
  const backs = new Set();
  for (const width of [1280, 400]) {
    await page.setViewportSize({ width, height: 900 });
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await page.evaluate(() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r))));
      const seen = await page.evaluate(() => {
        const root = document.documentElement;
        const over = [...document.querySelectorAll("main *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest("thead, .u-legend, dialog"));
        return { scroll: root.scrollWidth - root.clientWidth, over: over.map((e) => e.tagName + "." + e.className).slice(0, 5), back: getComputedStyle(document.body).backgroundColor };
      });
      assert.deepEqual([seen.scroll, seen.over], [0, []], `${width} ${colorScheme}`);
      backs.add(seen.back);
      if (input.pictures) await page.screenshot({ path: `${input.pictures}/console-${width}-${colorScheme}.png`, fullPage: true });
    }
  }
  assert.equal(backs.size, 2);
}

async function aReaderChangesNothing() {
  const page = await open();
  await login(page, input.reader);
  await painted(page);
  await says(page, "#me", "ann, reader");
  assert.equal(await page.locator("[data-panel=whitelist]").count(), 0);
  assert.deepEqual(await page.locator("main button:visible").allTextContents(), ["Find"]);
  const status = await page.evaluate(async () => {
    const me = await (await fetch("/api/me")).json();
    const reply = await fetch("/api/actions/whitelist-remove", {
      method: "POST", headers: { "Content-Type": "application/json", "Drover-Console-Csrf": me.csrf },
      body: JSON.stringify({ typed: "remove", arguments: { users: ["bob"] } }),
    });
    return reply.status;
  });
  assert.equal(status, 403);
  await page.getByRole("button", { name: "Log out" }).click();
  await page.waitForURL("**/login");
}

try {
  const page = await open();
  await loginIsRefusedAndAccepted(page);
  await aMoveShowsWithoutAReload(page);
  await anOperatorConfirmsByTyping(page);
  await keysReachEverything(page);
  await everyWidthAndSchemeLooksRight(page);
  await aReaderChangesNothing();
  assert.deepEqual(problems, []);
  console.log(JSON.stringify({ good: true }));
} finally {
  await browser.close();
}
