// The console of a running demo, in a real browser: an operator logs in and sees
// the buckets and the campaign. With input.picture it takes a picture.

import { createRequire } from "node:module";
import assert from "node:assert/strict";
import { text as read } from "node:stream/consumers";

const { chromium } = createRequire(import.meta.url)(process.env.PLAYWRIGHT_CORE);
const input = JSON.parse(await read(process.stdin));
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
const problems = [];
try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 1000 }, colorScheme: "light" });
  context.setDefaultTimeout(60000);
  const page = await context.newPage();
  page.on("pageerror", (e) => problems.push(String(e)));
  await page.goto(input.url);
  await page.fill("#name", "ann");
  await page.fill("#token", input.token);
  await page.keyboard.press("Enter");
  await page.waitForSelector("canvas[data-version]");
  await page.waitForSelector("#line.live");
  for (const panel of ["campaign", "moves", "journal"]) {
    await page.waitForSelector(`[data-panel=${panel}]`);
  }
  await page.waitForFunction(() => document.querySelector("[data-panel=campaign]").textContent.includes("cloud"));
  if (input.picture) {
    await page.waitForTimeout(2000); // the charts have a few points more
    await page.screenshot({ path: input.picture });
  }
  assert.deepEqual(problems, []);
} finally {
  await browser.close();
}
console.log("{}");
