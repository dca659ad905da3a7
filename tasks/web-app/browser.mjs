// Opens the built page in Chromium and writes down what is there: facts only, judged by evaluate.py.
//
//   node browser.mjs MODULES SITE CHROMIUM OUT < settings.json
//
// The files come from SITE by interception: no server, no socket, no network. Every question is asked in an isolated
// world (Chrome's own, as extensions have it), so a page that replaces querySelector answers for itself only.
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import * as looking from "./looking.mjs";

const [modules, site, program, out] = process.argv.slice(2);
const need = createRequire(path.join(modules, "judge.cjs"));
const { chromium } = need("playwright-core");
const axeSource = fs.readFileSync(need.resolve("axe-core/axe.min.js"), "utf8");
const settings = JSON.parse(fs.readFileSync(0, "utf8"));

// Another name each time: a page cannot know it for the judge's.
const HOME = `https://${randomBytes(5).toString("hex")}.example/`;
const JUDGE = "https://judge.invalid/";
const TYPES = {
  ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".png": "image/png",
  ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".json": "application/json", ".woff2": "font/woff2", ".ico": "image/x-icon",
};
const FLAGS = [
  // Chromium's own sandbox needs privileges that nobody has in EvoGit's, which stands around all of this.
  "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--in-process-gpu", "--disable-software-rasterizer",
  "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions", "--no-first-run",
  "--disable-breakpad", "--disable-crash-reporter", "--force-color-profile=srgb", "--font-render-hinting=none", "--hide-scrollbars",
  "--disable-features=Translate,OptimizationHints,MediaRouter,DialMediaRouteProvider,PaintHolding,VizDisplayCompositor",
  // A page has no business with who looks at it.
  "--disable-blink-features=AutomationControlled",
];
const NO_TEXT = "*,*::before,*::after{color:transparent!important;-webkit-text-fill-color:transparent!important;text-shadow:none!important;transition:none!important}";

const browser = await chromium.launch({ executablePath: program, args: FLAGS, ignoreDefaultArgs: ["--enable-automation"], chromiumSandbox: false, timeout: 60000 });
const agent = `Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${browser.version().split(".")[0]}.0.0.0 Safari/537.36`;
const facts = { browser: browser.version(), views: {}, errors: [], requests: [], deeds: {}, took: { launch: Math.round(performance.now()) } };
const once = (list, text) => { if (list.length < 20 && !list.includes(text)) list.push(text); };

async function serve(route) {
  const url = new URL(route.request().url());
  if (url.origin + "/" === JUDGE) return route.fulfill({ contentType: "text/html", body: "<!doctype html><title>judge</title>" });
  if (url.origin + "/" !== HOME) {
    once(facts.requests, `${url.href.slice(0, 120)}: nothing may come from another place`);
    return route.abort();
  }
  const file = path.join(site, decodeURIComponent(url.pathname === "/" ? "/index.html" : url.pathname));
  if (!file.startsWith(site + path.sep) || !fs.existsSync(file) || !fs.statSync(file).isFile()) {
    once(facts.requests, `${url.pathname.slice(0, 120)}: there is no such file`);
    return route.fulfill({ status: 404, body: "not found" });
  }
  return route.fulfill({ contentType: TYPES[path.extname(file)] ?? "application/octet-stream", body: fs.readFileSync(file) });
}

// A page with a world beside its own.
async function open(width, theme, height = 900) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme, reducedMotion: "reduce", userAgent: agent, locale: "en-GB", serviceWorkers: "block" });
  await context.route("**/*", serve);
  const page = await context.newPage();
  page.on("pageerror", (error) => once(facts.errors, `${error.name}: ${error.message}`.slice(0, 300)));
  page.on("console", (message) => { if (["error", "warning"].includes(message.type())) once(facts.errors, `console.${message.type()}: ${message.text()}`.slice(0, 300)); });
  page.on("dialog", (dialog) => { once(facts.errors, "a dialog was opened"); dialog.dismiss().catch(() => {}); });
  page.on("popup", () => once(facts.errors, "another window was opened"));
  const view = { context, page, cdp: await context.newCDPSession(page), world: null };
  await load(view);
  return view;
}

async function load(view, again = false) {
  if (again) await view.page.reload({ waitUntil: "load", timeout: 15000 });
  else await view.page.goto(HOME, { waitUntil: "load", timeout: 15000 });
  await view.page.waitForTimeout(settings.settle);
  const { frameTree } = await view.cdp.send("Page.getFrameTree");
  const { executionContextId } = await view.cdp.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id, worldName: "judge" });
  view.world = executionContextId;
}

async function ask(view, question, argument = null) {
  const expression = `(${question})(${JSON.stringify(argument)})`;
  const { result, exceptionDetails } = await view.cdp.send("Runtime.evaluate", { expression, contextId: view.world, returnByValue: true, awaitPromise: true });
  if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
  return result.value;
}

async function press(view, wanted) {
  const at = await ask(view, looking.point, { ...wanted, scroll: true });
  if (at.visible && at.free) {
    await view.page.mouse.click(at.x, at.y);
    await view.page.waitForTimeout(settings.settle);
  }
  return at;
}

// Until it says so, or not at all: on a busy machine everything takes longer, and nothing may depend on that.
async function until(view, question, argument = null) {
  for (let tries = 0; tries < 30; tries++) {
    if (await ask(view, question, argument)) return;
    await view.page.waitForTimeout(50);
  }
}

async function atRest(view) {
  let before = -1;
  for (let tries = 0; tries < 40; tries++) {
    const now = await ask(view, () => scrollY);
    if (now === before) return;
    before = now;
    await view.page.waitForTimeout(50);
  }
}

async function scrollThrough(view) {
  // What fades in when it is scrolled to has to have faded in.
  await ask(view, async () => {
    for (let y = 0; y < Math.min(document.documentElement.scrollHeight, 12000); y += 700) {
      scrollTo({ top: y, behavior: "instant" });
      await new Promise((done) => setTimeout(done, 15));
    }
    scrollTo({ top: 0, behavior: "instant" });
  });
}

// The whole page, as base64 text.
async function shoot(view, tall, form) {
  const { width } = view.page.viewportSize();
  const clip = { x: 0, y: 0, width, height: Math.max(1, Math.min(tall, settings.tallest)), scale: 1 };
  return (await view.cdp.send("Page.captureScreenshot", { ...form, clip, captureBeyondViewport: true })).data;
}

async function look(view, width, theme, desk) {
  await scrollThrough(view);
  const found = { sections: await ask(view, looking.sections, settings.sections), overflow: await ask(view, looking.overflowing), navigation: await ask(view, looking.navigation) };
  found.code = await ask(view, looking.example);
  if (settings.axe.includes(`${width}-${theme}`)) {
    await view.cdp.send("Runtime.evaluate", { expression: axeSource + ";0", contextId: view.world });
    found.axe = await ask(view, looking.axe);
  }
  const tall = await ask(view, () => document.documentElement.scrollHeight);
  const picture = await shoot(view, tall, { format: "webp", quality: settings.quality });
  fs.writeFileSync(path.join(out, `page-${width}-${theme}.webp`), Buffer.from(picture, "base64"));
  found.brightness = await ask(desk, looking.brightness, `data:image/webp;base64,${picture}`);
  if (settings.ink.includes(`${width}-${theme}`)) {
    const plain = await shoot(view, tall, { format: "png", optimizeForSpeed: true });
    const style = await view.page.addStyleTag({ content: NO_TEXT });
    const bare = await shoot(view, tall, { format: "png", optimizeForSpeed: true });
    await style.evaluate((element) => element.remove());
    const boxes = Object.fromEntries(Object.entries(found.sections).map(([name, section]) => [name, section.box]));
    found.ink = await ask(desk, looking.ink, { plain, bare, boxes });
  }
  if (width === settings.widths[0] && theme === "light") facts.head = await ask(view, looking.head);
  facts.views[`${width}-${theme}`] = found;
}

// One page a theme, loaded at the smallest width and then made wider, as a tablet is turned.
async function tour(theme, desk) {
  const view = await open(settings.widths[0], theme);
  for (const width of settings.widths) {
    await view.page.setViewportSize({ width, height: 900 });
    await view.page.waitForTimeout(settings.settle);
    await look(view, width, theme, desk);
  }
  if (theme === "light") await between(view);
  await view.context.close();
}

async function between(view) {
  // Whoever is right at three widths only was made for the judge.
  facts.between = {};
  for (const width of settings.between) {
    await view.page.setViewportSize({ width, height: 900 });
    await view.page.waitForTimeout(settings.settle);
    facts.between[width] = await ask(view, looking.overflowing);
  }
}

async function small() {
  const view = await open(settings.widths[0], "light", 700);
  const before = await ask(view, looking.navigation);
  const deed = { before };
  if (!before.links.length || !before.links.every((link) => link.seen)) {
    deed.button = await press(view, { selector: "header button, nav button", text: "menu|navigation" });
    deed.after = await ask(view, looking.navigation);
    deed.expanded = (await ask(view, looking.point, { selector: "header button, nav button", text: "menu|navigation|close" })).expanded;
  }
  facts.deeds.small = deed;
  await view.context.close();
}

async function large(desk) {
  const view = await open(settings.widths.at(-1), "light");
  await view.context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const deeds = facts.deeds;
  await view.page.mouse.move(600, 500);
  await ask(view, () => scrollTo({ top: Math.min(900, document.documentElement.scrollHeight - innerHeight), behavior: "instant" }));
  await view.page.waitForTimeout(settings.settle);
  deeds.scrolled = { ...(await ask(view, looking.navigation)), by: await ask(view, () => scrollY) };
  deeds.jumps = {};
  const hrefs = deeds.scrolled.found ? deeds.scrolled.links.filter((link) => link.target).map((link) => link.href) : [];
  for (const href of [...new Set(hrefs)].slice(0, 6)) {
    await ask(view, () => scrollTo({ top: 0, behavior: "instant" }));
    const at = await press(view, { selector: `nav a[href="${href.replace(/["\\]/g, "")}"]` });
    await atRest(view);
    deeds.jumps[href] = { pressed: at.visible && at.free, ...(await ask(view, looking.place, href)) };
  }
  deeds.copy = await press(view, { selector: "#code button", text: "copy|copied" });
  if (deeds.copy.visible) {
    await until(view, () => /copied/i.test(`${document.querySelector("#code").innerText} ${document.querySelector("#code button[aria-label]")?.ariaLabel}`));
    deeds.copied = await ask(view, () => document.querySelector("#code").innerText + " " + [...document.querySelectorAll("#code button, [aria-live]")].map((e) => `${e.getAttribute("aria-label") ?? ""} ${e.textContent}`).join(" "));
    const other = await view.context.newPage();
    await other.goto(JUDGE);
    await other.bringToFront();
    deeds.clipboard = await other.evaluate(() => navigator.clipboard.readText()).catch((error) => `\u0000${error.message}`);
    await other.close();
    await view.page.bringToFront();
  }
  await toggle(view, desk);
  await view.context.close();
}

async function toggle(view, desk) {
  const wanted = { selector: "button", text: "theme|dark|light" };
  const brightness = async () => {
    await ask(view, () => scrollTo({ top: 0, behavior: "instant" }));
    const shot = await view.page.screenshot({ animations: "disabled", type: "jpeg", quality: 50 });
    return ask(desk, looking.brightness, `data:image/jpeg;base64,${shot.toString("base64")}`);
  };
  const before = await brightness();
  const button = await press(view, wanted);
  const deed = { button, before };
  if (button.visible) {
    deed.after = await brightness();
    await load(view, true);
    deed.reloaded = await brightness();
    await press(view, wanted);
    deed.back = await brightness();
  }
  facts.deeds.toggle = deed;
}

try {
  const desk = await (async () => {
    const context = await browser.newContext();
    await context.route("**/*", serve);
    const page = await context.newPage();
    await page.goto(JUDGE);
    const cdp = await context.newCDPSession(page);
    const { frameTree } = await cdp.send("Page.getFrameTree");
    const { executionContextId } = await cdp.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id, worldName: "judge" });
    return { context, page, cdp, world: executionContextId };
  })();
  const began = Date.now();
  const timed = async (name, work) => { await work; facts.took[name] = Date.now() - began; };
  await timed("tours", Promise.all([tour("light", desk), tour("dark", desk), small()]));
  await timed("deeds", large(desk));
} catch (error) {
  facts.broken = `${error.name}: ${error.message}`.split("\n").slice(0, 3).join(" ");
}
fs.writeFileSync(path.join(out, "facts.json"), JSON.stringify(facts));
await Promise.race([browser.close(), new Promise((done) => setTimeout(done, 3000))]);
process.exit(0);
