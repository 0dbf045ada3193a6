import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";

const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";
/** Why no browser test can run here; undefined where one can. */
export const missing: string | undefined = existsSync(EXECUTABLE)
  ? undefined
  : `there is no Chromium at ${EXECUTABLE} (Debian's package chromium, or set CHROMIUM)`;

// Where everything is installed, a skip would hide that it is not.
if (missing !== undefined && process.env.CI) throw new Error(missing);

export const SCREENS = {
  desktop: { width: 1280, height: 800 },
  phone: { width: 390, height: 844 },
} as const;
export type Screen = keyof typeof SCREENS;
export type Scheme = "light" | "dark";

/** BIJULI_SCREENSHOTS=1 renews the pictures in the docs; otherwise they are taken and thrown away. */
const PICTURES =
  process.env.BIJULI_SCREENSHOTS === "1"
    ? fileURLToPath(new URL("../../../docs/screenshots", import.meta.url))
    : undefined;
const MOST_BYTES = 150_000;

/** A browser with an empty profile of its own, which is removed with it. */
export function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: EXECUTABLE,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

export interface Viewer {
  context: BrowserContext;
  page: Page;
  /** What the console and the page complained of, and requests that left the page's own origin. */
  complaints: string[];
}

/** Opens the page on a screen; every error, and every request to elsewhere, is kept. */
export async function view(browser: Browser, base: string, screen: Screen, scheme: Scheme = "light"): Promise<Viewer> {
  const context = await browser.newContext({
    viewport: SCREENS[screen],
    colorScheme: scheme,
    timezoneId: "Asia/Kathmandu",
    locale: "en-GB",
    reducedMotion: "reduce",
    acceptDownloads: true,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== new URL(base).origin && !request.url().startsWith("blob:"))
      complaints.push(`a request to ${request.url()}`);
  });
  await page.goto(base);
  return { context, page, complaints };
}

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

interface Violation {
  id: string;
  impact: string | null;
  help: string;
  nodes: { target: string[]; failureSummary?: string }[];
}

/** What axe-core finds that is serious or critical, in words. */
export async function seriousFindings(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  const violations = (await page.evaluate(
    "axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations)",
  )) as Violation[];
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(
      ({ id, help, nodes }) =>
        `${id}: ${help}: ${nodes
          .slice(0, 3)
          .map(({ target, failureSummary }) => `${target.join(" ")} ${failureSummary?.replaceAll("\n", " ") ?? ""}`)
          .join("; ")}`,
    );
}

/** Takes a picture for the docs, from the top of the page. @throws Error when it is too large for that */
export async function picture(page: Page, name: string): Promise<void> {
  if (PICTURES !== undefined) mkdirSync(PICTURES, { recursive: true });
  await page.evaluate("scrollTo(0, 0)");
  const taken = await page.screenshot({
    animations: "disabled",
    ...(PICTURES === undefined ? {} : { path: join(PICTURES, `${name}.png`) }),
  });
  if (taken.length > MOST_BYTES) throw new Error(`the picture ${name} has ${taken.length} bytes`);
}

/** How many pixels the page is wider than its screen: nobody should scroll sideways. */
export function tooWide(page: Page): Promise<number> {
  return page.evaluate("document.documentElement.scrollWidth - innerWidth") as Promise<number>;
}
