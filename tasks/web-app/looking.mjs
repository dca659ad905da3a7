// What the judge asks of a page. Each function runs in a world of its own beside the page's scripts, which can neither
// see nor replace what it uses, so each must be complete in itself: nothing from outside its own braces.

export function sections(wanted) {
  const shown = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true, contentVisibilityAuto: false });
  const words = (root) => {
    let count = 0;
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const text = node.textContent.trim();
      if (!text || ["SCRIPT", "STYLE", "NOSCRIPT", "TEMPLATE"].includes(node.parentElement.tagName)) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      const box = range.getBoundingClientRect();
      if (!shown(node.parentElement) || box.width < 2 || box.height < 6) continue;
      if (box.right <= 0 || box.left >= innerWidth || box.bottom + scrollY <= 0) continue;
      count += text.split(/\s+/).length;
    }
    return count;
  };
  const found = {};
  for (const [name, selector] of Object.entries(wanted)) {
    const all = [...document.querySelectorAll(selector)];
    const element = all.find(shown) ?? all[0];
    if (!element) continue;
    const box = element.getBoundingClientRect();
    const links = [...element.querySelectorAll("a[href]")].filter(shown);
    found[name] = {
      visible: shown(element) && box.width >= 40 && box.height >= 16,
      box: { x: box.x + scrollX, y: box.y + scrollY, width: box.width, height: box.height },
      words: words(element),
      tag: element.tagName.toLowerCase(),
      role: element.getAttribute("role") ?? "",
      label: element.getAttribute("aria-label") ?? element.getAttribute("aria-labelledby") ?? "",
      headings: [...element.querySelectorAll("h1,h2,h3,h4")].filter(shown).map((h) => h.tagName.toLowerCase()),
      items: [...element.querySelectorAll("li,article")].filter((i) => shown(i) && i.querySelector("h3,h4") && words(i) >= 6).length,
      links: links.map((link) => ({ href: link.getAttribute("href"), text: link.textContent.trim() || link.getAttribute("aria-label") || "" })),
      buttons: [...element.querySelectorAll("button")].filter(shown).map((b) => (b.getAttribute("aria-label") || b.textContent).trim()),
    };
  }
  return found;
}

export function overflowing() {
  const width = document.documentElement.clientWidth;
  const named = (element) => {
    const text = element.textContent.trim().replace(/\s+/g, " ").slice(0, 30);
    return `<${element.tagName.toLowerCase()}${element.id ? ` id="${element.id}"` : ""}>${text ? ` "${text}"` : ""}`;
  };
  const wide = [];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own && !["IMG", "SVG", "BUTTON", "INPUT", "VIDEO", "CANVAS"].includes(element.tagName.toUpperCase())) continue;
    const box = element.getBoundingClientRect();
    if (!box.width || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    if (box.right <= width + 1 && !(box.left < -1 && box.right > 1)) continue;
    let at = element, scrolls = false;
    for (; at && at !== document.body; at = at.parentElement) scrolls ||= ["auto", "scroll"].includes(getComputedStyle(at).overflowX);
    if (!scrolls) wide.push(`${named(element)} reaches to ${Math.round(box.right)} px`);
  }
  const scroll = Math.max(document.documentElement.scrollWidth, document.body.scrollWidth);
  return { width, scroll, wide: wide.slice(0, 3) };
}

export function point(wanted) {
  // Where to press: the middle of the first visible match, in the window, with what really lies there.
  const { selector, text } = wanted;
  const shown = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  const said = (element) => `${element.getAttribute("aria-label") ?? ""} ${element.textContent} ${element.title ?? ""}`;
  const matching = [...document.querySelectorAll(selector)].filter((element) => !text || new RegExp(text, "i").test(said(element)));
  const element = matching.find(shown);
  if (!element) return { found: matching.length > 0, visible: false };
  if (wanted.scroll) element.scrollIntoView({ block: "center", behavior: "instant" });
  const box = element.getBoundingClientRect();
  const x = box.x + box.width / 2, y = box.y + box.height / 2;
  const top = document.elementFromPoint(x, y);
  return {
    found: true, visible: true, x, y, width: box.width, height: box.height, top: box.top, bottom: box.bottom,
    free: !!top && (element.contains(top) || top.contains(element)),
    text: element.textContent.trim(), expanded: element.getAttribute("aria-expanded"),
  };
}

export function navigation() {
  const shown = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  const nav = [...document.querySelectorAll("nav")].find((each) => !each.closest("footer"));
  if (!nav) return { found: false, links: [] };
  const bar = nav.closest("header") ?? nav;
  const box = bar.getBoundingClientRect();
  const links = [...nav.querySelectorAll("a[href^='#']")].map((link) => {
    const at = link.getBoundingClientRect();
    const top = document.elementFromPoint(at.x + at.width / 2, at.y + at.height / 2);
    const seen = shown(link) && at.width > 8 && at.height > 8 && at.right <= innerWidth + 1 && !!top && (link.contains(top) || top.contains(link));
    return { href: link.getAttribute("href"), seen, target: !!document.getElementById(link.getAttribute("href").slice(1)) };
  });
  const middle = document.elementFromPoint(box.x + box.width / 2, Math.min(innerHeight - 1, Math.max(0, box.y + box.height / 2)));
  return { found: true, top: box.top, bottom: box.bottom, height: box.height, links, over: !!middle && (bar.contains(middle) || middle.contains(bar)) };
}

export function example() {
  const code = document.querySelector("#code pre code") ?? document.querySelector("#code pre");
  if (!code) return { found: false };
  const colours = {};
  const walker = document.createTreeWalker(code, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const length = node.textContent.trim().length;
    const colour = getComputedStyle(node.parentElement).color;
    if (length) colours[colour] = (colours[colour] ?? 0) + length;
  }
  return { found: true, text: code.textContent, colours, lines: code.textContent.trim().split("\n").length };
}

export function place(href) {
  const target = document.getElementById(href.slice(1));
  const nav = [...document.querySelectorAll("nav")].find((each) => !each.closest("footer"));
  const bar = nav?.closest("header") ?? nav;
  const stuck = bar && ["sticky", "fixed"].includes(getComputedStyle(bar).position);
  const last = scrollY + innerHeight >= document.documentElement.scrollHeight - 2;
  return { top: target ? target.getBoundingClientRect().top : null, under: stuck ? bar.getBoundingClientRect().bottom : 0, height: innerHeight, last };
}

export function head() {
  return {
    title: document.title,
    description: document.querySelector("meta[name=description]")?.content ?? "",
    elements: document.querySelectorAll("*").length,
    h1: document.querySelectorAll("h1").length,
  };
}

export async function axe() {
  const found = await globalThis.axe.run(document, { resultTypes: ["violations"], iframes: false });
  return found.violations.map((one) => ({
    id: one.id, impact: one.impact, help: one.help,
    where: one.nodes.slice(0, 2).map((node) => node.html.slice(0, 140)),
    why: (one.nodes[0]?.any[0]?.message ?? "").slice(0, 200),
  }));
}

// In a page of the judge's own: the mean brightness of a picture, 0 to 1.
export async function brightness(address) {
  const image = await createImageBitmap(await (await fetch(address)).blob());
  const width = 96, height = Math.max(1, Math.round((96 * image.height) / image.width));
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, width, height);
  const data = context.getImageData(0, 0, width, height).data;
  let sum = 0;
  for (let at = 0; at < data.length; at += 4) sum += (0.2126 * data[at] + 0.7152 * data[at + 1] + 0.0722 * data[at + 2]) / 255;
  return sum / (data.length / 4);
}

// Also there: how many pixels of each box its text makes, by two pictures of one page, with its text and without.
export async function ink(pictures) {
  const { plain, bare, boxes } = pictures;
  const read = async (text) => {
    const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${text}`)).blob());
    const context = new OffscreenCanvas(image.width, image.height).getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    return { context, width: image.width, height: image.height };
  };
  const bright = (data, at) => (0.2126 * data[at] + 0.7152 * data[at + 1] + 0.0722 * data[at + 2]) / 255;
  const [first, second] = [await read(plain), await read(bare)];
  const found = {};
  for (const [name, box] of Object.entries(boxes)) {
    const x = Math.max(0, Math.floor(box.x)), y = Math.max(0, Math.floor(box.y));
    const w = Math.min(Math.ceil(box.width), Math.min(first.width, second.width) - x);
    const h = Math.min(Math.ceil(box.height), Math.min(first.height, second.height) - y);
    found[name] = 0;
    if (w < 1 || h < 1) continue;
    const a = first.context.getImageData(x, y, w, h).data, b = second.context.getImageData(x, y, w, h).data;
    for (let at = 0; at < a.length; at += 4) found[name] += Math.abs(bright(a, at) - bright(b, at)) > 0.25;
  }
  return found;
}
