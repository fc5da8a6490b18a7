// The console of a campaign in a real browser: what it says, and its orders.

import assert from "node:assert/strict";
import { input, ask, open, login, painted, says, looksRight, keysReachEverything, run } from "./browser.mjs";

const order = (page, name) => page.getByRole("group", { name: "Orders" }).getByRole("button", { name });
const focused = (page) => page.evaluate(() => document.activeElement?.textContent);
const phase = (page, words) => says(page, "#campaign-phase", words);

// give presses an order's button and types the word.
async function give(page, name, word, { why, fill } = {}) {
  await order(page, name).click();
  await fill?.();
  if (why) await page.fill("#confirm-why", why);
  await page.fill("#confirm-typed", word);
  await page.keyboard.press("Enter");
}

async function tracersShowWhereTheyLandAndWhatWasWrong(page) {
  await says(page, "#tracers-words.good", "through 1 proxies: all were right.");
  await says(page, "[data-panel=tracers] td.good", "right ");
  await ask("/wrong");
  await says(page, "#tracers-words.bad", "were not right.");
  await says(page, "[data-panel=tracers] td.bad", "wrong ");
  await says(page, "[data-panel=tracers] td", "an application of cloud answered");
}

async function aCampaignShowsAsSoonAsThereIsOne(page) {
  await says(page, "#line.live", "live");
  assert.ok(await page.isHidden("[data-panel=campaign]"));
  await ask("/begin");
  await phase(page, "held");
}

async function aHoldAndItsReasonAreSeenWithoutScrolling(page) {
  await says(page, "#campaign-reason", "unknown: the metrics of edge-1 are not to be had");
  await says(page, "#campaign-run", "A run has it.");
  await says(page, "#campaign-moved", "0 of 64 users have moved");
  await says(page, "[data-panel=progress] [role=status]", "No end can be told while nothing begins");
  await says(page, "[data-panel=decisions] td.warn", "hold, unknown");
  for (const id of ["campaign-phase", "campaign-reason"]) {
    const box = await page.locator("#" + id).boundingBox();
    assert.ok(box.y > 0 && box.y + box.height <= 900, JSON.stringify(box));
  }
  assert.equal(await page.evaluate(() => scrollY), 0);
  assert.equal(await page.title(), "held: Drover");
  await looksRight(page, "campaign-held");
}

async function itMovesWhenTheObjectivesAreMet(page) {
  await ask("/well");
  await phase(page, "moving");
  await says(page, "#campaign-moved", "8 of 64 users have moved, 12.5 %, and 1 of 1 of them by the whitelist.");
  await says(page, "[data-panel=progress] [role=status]", "By the forecast all have moved at");
  await page.waitForSelector("[data-panel=progress] .uplot canvas");
  await says(page, "[data-panel=waves] summary", "whitelist: 1 step, 1 of 1 users");
  await says(page, "[data-panel=waves] summary .good", "done");
  await says(page, "[data-panel=waves] td", "running");
  await says(page, "[data-panel=decisions] td", "batches/1 is running");
}

// A word that is not the right one does nothing, in the page and past it.
async function aPauseWantsItsWord(page) {
  await order(page, "Pause").focus();
  await page.keyboard.press("Enter");
  await says(page, "#confirm-title", "Pause the campaign?");
  await page.fill("#confirm-typed", "paws");
  assert.ok(await page.isDisabled("#confirm-yes"));
  await page.keyboard.press("Enter");
  assert.ok(await page.isVisible("#confirm"));
  const refused = await page.evaluate(async () => {
    const me = await (await fetch("/api/me")).json();
    const reply = await fetch("/api/actions/campaign-pause", {
      method: "POST", headers: { "Content-Type": "application/json", "Drover-Console-Csrf": me.csrf }, body: JSON.stringify({ typed: "paws" }),
    });
    return reply.status;
  });
  assert.equal(refused, 409);
  await ask("/no-orders");
  // Escape leaves it, and the button has the focus again.
  await page.keyboard.press("Escape");
  assert.ok(await page.isHidden("#confirm"));
  assert.equal(await focused(page), "Pause…");
  await phase(page, "moving");
}

async function aPauseIsObeyed(page) {
  await page.keyboard.press("Enter");
  await page.fill("#confirm-why", "lunch");
  await page.fill("#confirm-typed", "pause");
  await page.keyboard.press("Enter");
  await says(page, "#campaign-said", "pause: obeyed after ");
  await phase(page, "paused");
  await says(page, "#campaign-reason", "ann on the console of server: lunch");
  await ask("/paused");
  await says(page, "[data-panel=decisions] td", "order: pause");
  // It has no use now, keeps the focus, and says why.
  assert.equal(await focused(page), "Pause…");
  assert.equal(await order(page, "Pause").getAttribute("aria-disabled"), "true");
  await page.keyboard.press("Enter");
  await says(page, "#campaign-said", "Not now: it is paused.");
  assert.ok(await page.isHidden("#confirm"));
}

async function aRateIsRefusedOutOfBoundsAndThenObeyed(page) {
  await order(page, "Rate").click();
  await page.fill("#order-rate", "");
  assert.ok(await page.isDisabled("#confirm-yes"));
  await page.fill("#order-rate", "200001");
  await page.fill("#confirm-typed", "200001");
  await page.keyboard.press("Enter");
  await says(page, "#confirm-problem", "the plan allows 100 to 200000 users an hour");
  await page.fill("#order-rate", "5000");
  await says(page, "#confirm-word", "5000");
  assert.ok(await page.isDisabled("#confirm-yes"));
  await page.fill("#confirm-why", "a quiet night");
  await page.fill("#confirm-typed", "5000");
  await page.click("#confirm-yes");
  await says(page, "#campaign-said", "rate: obeyed after ");
  await says(page, "[data-panel=campaign] dd", "5,000");
  await ask("/rated");
}

async function everybodyGoesHome(page) {
  await give(page, "Return", "return all", { fill: () => page.check("#order-all") });
  await says(page, "#campaign-said", "return of 6 steps: obeyed after ");
  await says(page, "#campaign-moved", "0 of 64 users have moved");
  await ask("/everybody-is-home");
  await says(page, "[data-panel=waves] summary", "returned");
}

async function skipsAndResumes(page) {
  await give(page, "Skip", "skip", { fill: () => page.fill("#order-target", "nowhere") });
  await says(page, "#confirm-problem", "no wave and no step");
  await page.keyboard.press("Escape");
  await give(page, "Skip", "skip", { fill: () => page.fill("#order-target", "singles") });
  await says(page, "#campaign-said", "skip of 2 steps: obeyed after ");
  await give(page, "Resume", "resume");
  await says(page, "#campaign-said", "resume: obeyed after ");
  await phase(page, "moving");
}

async function theObjectivesAreShownAndWhyTheyAreNotKnown(page) {
  const panel = "[data-panel=objectives]";
  await says(page, "#slo-level.good", "healthy");
  await says(page, panel + " h3", "availability: 99.9 % answered without an error");
  assert.equal(await page.locator(panel + " .uplot canvas").count(), 2);
  for (const whose of ["cloud, all", "legacy, all"]) await says(page, panel + " td", whose);
  await says(page, panel + " td.good", "within the objective");
  await ask("/dead");
  await says(page, "#slo-level.warn", "unknown");
  await says(page, "#slo-reason", "500");
  await says(page, panel + " td.warn", "not known");
}

async function aReaderSeesItAndChangesNothing() {
  const page = await open();
  await login(page, input.reader);
  await painted(page);
  await phase(page, "moving");
  await says(page, "[data-panel=waves] summary", "whitelist");
  assert.deepEqual(await page.locator("main button:visible").allTextContents(), ["Find"]);
  const status = await page.evaluate(async () => {
    const me = await (await fetch("/api/me")).json();
    const reply = await fetch("/api/actions/campaign-abort", {
      method: "POST", headers: { "Content-Type": "application/json", "Drover-Console-Csrf": me.csrf ?? "" }, body: JSON.stringify({ typed: "abort" }),
    });
    return reply.status;
  });
  assert.equal(status, 403);
}

async function anAbortIsTheEnd(page) {
  await give(page, "Abort", "abort");
  await phase(page, "aborted");
  await ask("/aborted");
  await order(page, "Resume").click({ force: true }); // as a hand does
  await says(page, "#campaign-said", "Not now: it is over.");
}

await run(async () => {
  const page = await open();
  await login(page, input.operator);
  await painted(page);
  await tracersShowWhereTheyLandAndWhatWasWrong(page);
  await aCampaignShowsAsSoonAsThereIsOne(page);
  await aHoldAndItsReasonAreSeenWithoutScrolling(page);
  await itMovesWhenTheObjectivesAreMet(page);
  await aPauseWantsItsWord(page);
  await aPauseIsObeyed(page);
  await aRateIsRefusedOutOfBoundsAndThenObeyed(page);
  await everybodyGoesHome(page);
  await skipsAndResumes(page);
  await keysReachEverything(page, 20);
  await theObjectivesAreShownAndWhyTheyAreNotKnown(page);
  await looksRight(page, "campaign-moving");
  await aReaderSeesItAndChangesNothing();
  await anAbortIsTheEnd(page);
});
