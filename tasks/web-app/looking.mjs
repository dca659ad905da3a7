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

// In a page of the judge's own: two pictures of one page, with its text and without.
export async function compare(pictures) {
  const { plain, bare, boxes, quality } = pictures;
  const read = async (text) => createImageBitmap(await (await fetch(`data:image/png;base64,${text}`)).blob());
  const draw = (image) => {
    const canvas = new OffscreenCanvas(image.width, image.height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    return { canvas, context, width: image.width, height: image.height };
  };
  const bright = (data, at) => (0.2126 * data[at] + 0.7152 * data[at + 1] + 0.0722 * data[at + 2]) / 255;
  const first = draw(await read(plain));
  const all = first.context.getImageData(0, 0, first.width, first.height).data;
  let sum = 0, seen = 0;
  for (let at = 0; at < all.length; at += 4 * 37) { sum += bright(all, at); seen += 1; }
  const ink = {};
  if (bare) {
    const second = draw(await read(bare));
    for (const [name, box] of Object.entries(boxes)) {
      const x = Math.max(0, Math.floor(box.x)), y = Math.max(0, Math.floor(box.y));
      const width = Math.min(first.width, second.width) - x, height = Math.min(first.height, second.height) - y;
      const w = Math.min(Math.ceil(box.width), width), h = Math.min(Math.ceil(box.height), height);
      if (w < 1 || h < 1) { ink[name] = 0; continue; }
      const a = first.context.getImageData(x, y, w, h).data, b = second.context.getImageData(x, y, w, h).data;
      let changed = 0;
      for (let at = 0; at < a.length; at += 4) changed += Math.abs(bright(a, at) - bright(b, at)) > 0.25;
      ink[name] = changed;
    }
  }
  const kept = await first.canvas.convertToBlob({ type: "image/webp", quality });
  const bytes = new Uint8Array(await kept.arrayBuffer());
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return { brightness: sum / Math.max(1, seen), ink, picture: btoa(text), width: first.width, height: first.height };
}
