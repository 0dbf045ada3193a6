import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Browser, Page } from "playwright-core";
import { processesOf, type Run, start, tidy } from "../../../test/support/start.ts";
import {
  launch,
  missing,
  picture,
  type Scheme,
  type Screen,
  seriousFindings,
  tooWide,
  type Viewer,
  view,
} from "./chromium.ts";

/*
 * The demo as a person sees it, in a real browser: every step follows the one before.
 */

const BIJULI = fileURLToPath(new URL("../../../scripts/bijuli.mjs", import.meta.url));
/** Lots take three seconds: long enough that a busy machine keeps up. */
const SPEED = "100";
const VIEWS = ["network", "lots", "trends", "alarms", "accounts", "meters", "requests", "check", "demo"] as const;

describe("the demo's page", { skip: missing, timeout: 600_000 }, () => {
  let run: Run;
  let browser: Browser;
  let base: string;
  let desktop: Viewer;
  let page: Page;
  const folder = mkdtempSync(join(tmpdir(), "bijuli-browser-"));

  before(async () => {
    run = await start(["--speed", SPEED]);
    const [[, address], started] = await Promise.all([run.saw(/the page is at (http:\S+)/), launch()]);
    base = address!;
    browser = started;
    desktop = await view(browser, base, "desktop");
    page = desktop.page;
  });
  after(async () => {
    await browser?.close();
    run?.child.kill("SIGINT");
    const code = await run?.ended;
    const left = run ? processesOf(run) : [];
    if (run) tidy(run);
    rmSync(folder, { recursive: true });
    assert.equal(code, 0, run?.stderr);
    assert.deepEqual(left, [], "no process is left");
  });

  const go = async (place: string) => {
    await page.goto(`${base}#/${place}`);
    await page.locator("h1").waitFor();
  };
  const flip = async (name: RegExp) => {
    await go("demo");
    await page.getByRole("button", { name }).click();
    await page.getByText(/: done\.$/).waitFor();
  };
  const cleared = async () =>
    Number((await page.locator(".title p").innerText()).match(/([\d,]+) lots? cleared/)?.[1]?.replace(",", "") ?? 0);
  /** The page's policy forbids to evaluate text, also to the test: it looks again and again instead. */
  const until = async (holds: () => Promise<boolean>, what: string) => {
    for (const deadline = Date.now() + 120_000; Date.now() < deadline; await page.waitForTimeout(150)) {
      if (await holds()) return;
    }
    assert.fail(`waited for ${what}`);
  };
  const clearedAtLeast = (lots: number) => until(async () => (await cleared()) >= lots, `${lots} cleared lots`);

  test("fills from empty to ten cleared lots while one looks at it", async () => {
    await page.getByRole("heading", { name: "Feeder valley" }).waitFor();
    assert.ok((await cleared()) < 3, "the page is there before the lots are");
    await clearedAtLeast(10);
    for (const serial of ["HYDRO-1", "SOLAR-1", "VALLEY-1", "HOUSE-1", "MILL-1"])
      await page.getByRole("link", { name: serial }).waitFor();
    await picture(page, "network-desktop");
    await go("lots");
    await page.locator(".timeline > li").nth(9).waitFor();
    await picture(page, "lots-desktop");
  });

  test("one lot opens down to its signed readings, and they are verified here", async () => {
    await go("lots");
    await page.locator(".timeline > li.cleared h2 a").first().click();
    await page.getByRole("heading", { name: "Everything holds" }).waitFor();
    assert.equal(await page.locator(".reading .tag", { hasText: "verified" }).count(), 7);
    await page.locator(".reading summary").first().click();
    const reading = page.locator(".reading[open], .reading details[open]").first();
    assert.match(await reading.innerText(), /signed by the signer that the registry names[\s\S]*0x[0-9a-f]{130}/);
    await picture(page, "lot-desktop");
  });

  test("a thief on the line: the loss rises above the ideal and the price falls by the penalty", async () => {
    await flip(/^Steal 600 W: On the line/);
    await picture(page, "switches-desktop");
    await go("network");
    await page.getByText(/ off as a penalty/).waitFor();
    await page.getByText(/1\d\.\d\d\s% above it: penalty/).waitFor();
    await picture(page, "theft-desktop");
    await go("alarms");
    const alarm = page.locator(".alarms li.poor", { hasText: "Loss above the ideal" }).first();
    await alarm.waitFor();
    assert.match(await alarm.innerText(), /The price was lowered/);
    await picture(page, "alarms-desktop");
    await flip(/^Stop: On the line/);
  });

  test("a thief behind the distributor's meter: unaccounted energy raises an alarm", async () => {
    await flip(/^Steal 600 W: Behind/);
    await go("alarms");
    await page.getByLabel("Kind").selectOption("unaccounted");
    await page.locator(".alarms li.poor", { hasText: "was measured by no consumer" }).first().waitFor();
    await flip(/^Stop: Behind/);
  });

  test("a sensor that fails: the meter itself says so, in the lot's bits", async () => {
    await flip(/^Fail: HOUSE-1/);
    await go("alarms");
    await page.getByLabel("Kind").selectOption("quality");
    await page.locator(".alarms li", { hasText: "HOUSE-1" }).filter({ hasText: "gap, sensor fault" }).first().waitFor();
    await flip(/^Repair: HOUSE-1/);
  });

  test("the node is stopped and started: lots wait, and are cleared in their order", async () => {
    await flip(/^Stop: The oracle node/);
    await go("network");
    const before = await cleared();
    await page.waitForTimeout(7_000);
    assert.ok((await cleared()) <= before + 1, "nothing is cleared while the node is away");
    await flip(/^Start: The oracle node/);
    await go("network");
    await clearedAtLeast(before + 4);
  });

  test("a plant's reader is stopped and started: the feeder waits for it, and nothing is lost", async () => {
    await flip(/^Stop: HYDRO-1/);
    await go("meters");
    await page
      .locator("tr", { hasText: "HYDRO-1" })
      .getByText(/silent|stale/)
      .waitFor();
    await go("network");
    await page.getByText("it waits for the plants' readings").waitFor();
    const before = await cleared();
    await flip(/^Start: HYDRO-1/);
    await go("network");
    await clearedAtLeast(before + 4);
    await go("lots");
    await page.locator(".timeline > li.cleared h2 a").first().click();
    await page.getByRole("heading", { name: "Everything holds" }).waitFor();
  });

  test("a bill is downloaded and verified, by the command and in the browser; a changed one is refused", async () => {
    await go("accounts");
    await page.getByRole("link", { name: "HOUSE-2" }).click();
    await page.getByRole("heading", { name: "The bill" }).waitFor();
    await picture(page, "account-desktop");
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("link", { name: "Evidence" }).click(),
    ]);
    const file = join(folder, "bill.json");
    await download.saveAs(file);
    const bill = JSON.parse(readFileSync(file, "utf8"));
    const { stdout } = await promisify(execFile)(process.execPath, [
      BIJULI,
      "verify",
      file,
      "--registry",
      bill.registry,
      "--block-hash",
      bill.blockHash,
    ]);
    assert.match(stdout, /the bill holds: consumer/);

    await go("check");
    const field = page.getByLabel("The bill's file (JSON)");
    await field.setInputFiles(file);
    await page.getByRole("heading", { name: "bill.json holds" }).waitFor();
    await picture(page, "check-desktop");
    const changed = join(folder, "changed.json");
    bill.bill.totals.owes = String(BigInt(bill.bill.totals.owes) - 1n);
    writeFileSync(changed, JSON.stringify(bill));
    await field.setInputFiles(changed);
    await page.getByRole("heading", { name: "changed.json does not hold" }).waitFor();
    const sheet = await (
      await fetch(
        new URL(`api/bill?account=${bill.bill.account}&from=${bill.bill.from}&to=${bill.bill.to}&format=html`, base),
      )
    ).text();
    assert.match(sheet, /<table/);
  });

  test("all of it by keyboard: the skip link, the views, a focus that follows", async () => {
    await page.goto("about:blank");
    await page.goto(base);
    await page.locator("h1").waitFor();
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate("document.activeElement.className"), "skip");
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate("document.activeElement.tagName"), "H1");
    await page.getByRole("link", { name: "Alarms" }).focus();
    await page.keyboard.press("Enter");
    await until(async () => {
      const focused = (await page.evaluate(
        "document.activeElement.tagName + document.activeElement.innerText",
      )) as string;
      return focused.startsWith("H1Alarms");
    }, "the focus");
    assert.equal(await page.title(), "Alarms · Bijuli");
  });

  test("the switches can be thrown by the page itself and by nobody else", async () => {
    const post = async (headers: Record<string, string>) => {
      const body = JSON.stringify({ switch: "node", running: false });
      const all = { "content-type": "application/json", ...headers };
      return (await fetch(new URL("api/demo", base), { method: "POST", headers: all, body })).status;
    };
    assert.equal(await post({}), 403);
    assert.equal(await post({ "x-bijuli-switch": "1", origin: "http://elsewhere.example" }), 403);
    assert.equal(await post({ "x-bijuli-switch": "1", "sec-fetch-site": "cross-site" }), 403);
    const state = (await (await fetch(new URL("api/demo", base))).json()) as { node: { running: boolean } };
    assert.equal(state.node.running, true);
  });

  test("nothing was complained of, and nothing was asked of anyone else", () => {
    assert.deepEqual(desktop.complaints, []);
  });

  for (const screen of ["desktop", "phone"] as const satisfies readonly Screen[]) {
    for (const scheme of ["light", "dark"] as const satisfies readonly Scheme[]) {
      test(`every view on a ${screen}, ${scheme}: axe finds nothing serious, and nothing is too wide`, async () => {
        const viewer = await view(browser, base, screen, scheme);
        const places: string[] = [...VIEWS];
        const feeders = (await (await fetch(new URL("api/feeders", base))).json()) as {
          id: string;
          newest: { lot: string };
        }[];
        places.push(`lot/${feeders[0]!.id}/${feeders[0]!.newest.lot}`, "account/3");
        for (const place of places) {
          await viewer.page.goto(`${base}#/${place}`);
          await viewer.page.locator("h1").waitFor();
          await viewer.page.locator(".waiting").waitFor({ state: "detached" });
          if (place.startsWith("lot/")) await viewer.page.locator(".reading summary").first().click();
          if (place === "trends") await viewer.page.locator("summary").click();
          assert.deepEqual(await seriousFindings(viewer.page), [], place);
          assert.ok((await tooWide(viewer.page)) <= 0, `${place} scrolls sideways`);
          const name = place.split("/")[0]!;
          if (screen === "phone" && scheme === "light" && ["network", "lot", "alarms"].includes(name))
            await picture(viewer.page, `${name}-phone`);
          if (screen === "desktop" && scheme === "dark" && ["network", "trends"].includes(name)) {
            await picture(viewer.page, `${name}-dark`);
          }
        }
        assert.deepEqual(viewer.complaints, []);
        await viewer.context.close();
      });
    }
  }
});
