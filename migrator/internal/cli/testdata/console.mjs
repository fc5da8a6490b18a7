// The console in a real browser, with no campaign.

import assert from "node:assert/strict";
import { input, ask, open, login, painted, says, looksRight, keysReachEverything, run } from "./browser.mjs";

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

async function arrowsGoFromBucketToBucket(page) {
  await page.focus(".board canvas");
  await page.keyboard.press("Home");
  await page.keyboard.press("ArrowRight");
  await says(page, "#grid-readout", "Bucket 1: alpha in legacy");
}

async function whatIsNotThereIsSaid(page) {
  for (const panel of ["campaign", "progress", "waves", "decisions"]) assert.ok(await page.isHidden(`[data-panel=${panel}]`), panel);
  await says(page, "[data-panel=objectives]", "The objectives are not known. ");
  await says(page, "[data-panel=tracers]", "No tracers are sent from here");
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

await run(async () => {
  const page = await open();
  await loginIsRefusedAndAccepted(page);
  await aMoveShowsWithoutAReload(page);
  await anOperatorConfirmsByTyping(page);
  await whatIsNotThereIsSaid(page);
  await keysReachEverything(page, 10);
  await arrowsGoFromBucketToBucket(page);
  await looksRight(page, "console");
  await aReaderChangesNothing();
});
