// How soon the console is painted, and how smoothly it goes on while the map
// changes. input: url, token, milliseconds, width,
// and versions: how many must have come before it ends, 0 by default.

import { createRequire } from "node:module";
import { text as read } from "node:stream/consumers";

const { chromium } = createRequire(import.meta.url)(process.env.PLAYWRIGHT_CORE);
const input = JSON.parse(await read(process.stdin));
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
try {
  const context = await browser.newContext({ viewport: { width: input.width, height: 900 }, extraHTTPHeaders: { Authorization: "Bearer " + input.token } });
  context.setDefaultTimeout(60000);
  const page = await context.newPage();
  await page.goto(input.url);
  await page.waitForFunction(() => performance.getEntriesByName("grid-first-paint").length);
  const figures = await page.evaluate(async ({ milliseconds, versions }) => {
    const canvas = document.querySelector(".board canvas");
    const first = Number(canvas.dataset.version);
    const tasks = [];
    const watcher = new PerformanceObserver((list) => tasks.push(...list.getEntries().map((e) => e.duration)));
    watcher.observe({ type: "longtask" });
    const frames = [], seen = new Set();
    const end = performance.now() + milliseconds;
    await new Promise((done) => {
      let last = performance.now();
      const frame = (now) => {
        frames.push(now - last);
        last = now;
        seen.add(canvas.dataset.version);
        if (now < end || (now < end + 30000 && Number(canvas.dataset.version) < first + versions)) requestAnimationFrame(frame);
        else done();
      };
      requestAnimationFrame(frame);
    });
    watcher.disconnect();
    frames.sort((a, b) => a - b);
    const at = (share) => frames[Math.min(frames.length - 1, Math.floor(frames.length * share))];
    return {
      firstPaint: performance.getEntriesByName("grid-first-paint")[0].startTime,
      frames: frames.length, p50: at(0.5), p99: at(0.99), longest: frames.at(-1),
      longTasks: tasks.length, longestTask: Math.max(0, ...tasks),
      versions: Number(canvas.dataset.version) - first, painted: seen.size,
      megabytes: (performance.memory?.usedJSHeapSize ?? 0) / 1e6,
    };
  }, { milliseconds: input.milliseconds, versions: input.versions ?? 0 });
  console.log(JSON.stringify(figures));
} finally {
  await browser.close();
}
