"use strict";
// The page's behaviour. Text from the repository only ever goes into textContent, or through `shown` into Plotly.
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const { nodes, links, words, curves } = data;
  const count = nodes.id.length;
  const word = (column, i) => words[nodes[column][i]];
  const plot = byId("plot");
  const state = { x: "order", y: "lane", colour: "score", agent: "", operator: "", state: "", find: "", page: 0, selected: -1 };
  const PALETTE = ["#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2", "#ff9da6", "#9d755d", "#eeca3b", "#439894", "#83bcb6", "#d67195"];
  const OTHER = "#8d969e";
  const SCALE = [[0, "#b5de2b"], [0.25, "#35b779"], [0.5, "#1f9e89"], [0.75, "#31688e"], [1, "#443983"]];
  const DARK_SCALE = [[0, "#46327e"], [0.25, "#365c8d"], [0.5, "#1fa187"], [0.75, "#6ece58"], [1, "#fde725"]];
  const PER_PAGE = 100;

  // --- text

  const element = (name, text, attributes = {}) => {
    const made = document.createElement(name);
    if (text !== undefined && text !== null) made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  // Plotly reads a few tags in the text it draws; what looks like one must not be one.
  const shown = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const figure = (value) => (value === null || value === undefined ? "–" : Number(value.toPrecision(6)).toString());
  const signed = (value) => (value === null ? "" : `${value > 0 ? "▲" : value < 0 ? "▼" : ""}${figure(Math.abs(value))}`);
  const gain = (value) => (!value ? "" : (value > 0) === (data.direction === "maximize") ? "good" : "bad");
  const moment = (milliseconds) => (milliseconds > 0 && milliseconds < 8.64e15 ? new Date(milliseconds).toISOString().replace("T", " ").slice(0, 19) + " UTC" : "");
  const short = (oid) => oid.slice(0, 8);
  const tone = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const dark = () => (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

  // --- the graph

  const place = new Map(nodes.id.map((oid, i) => [oid, i]));
  const up = Array.from({ length: count }, () => []);
  const down = Array.from({ length: count }, () => []);
  for (let k = 0; k < links.from.length; k++) {
    up[links.to[k]].push(links.from[k]);
    if (links.order[k] === 0) down[links.from[k]].push(links.to[k]);
  }
  const kinds = nodes.kind.map((n) => words[n]);
  const continued = new Set(links.from.filter((a, k) => links.order[k] === 0 && nodes.lane[a] === nodes.lane[links.to[k]]));
  const status = (i) => (kinds[i] === "accepted" || kinds[i] === "rejected" ? word("decision", i) || kinds[i] : kinds[i]);
  const distinct = (values) => [...new Set(values)].filter((value) => value !== "").sort();
  const haystack = (i) => [nodes.id[i], nodes.summary[i], word("agent", i), word("operator", i), ...nodes.names[i]].join(" ").toLowerCase();
  const ranks = (() => {
    const sign = data.direction === "maximize" ? 1 : -1;
    const sorted = [...new Set(nodes.score.filter((s) => s !== null).map((s) => sign * s))].sort((a, b) => a - b);
    const rank = new Map(sorted.map((score, at) => [score, sorted.length > 1 ? at / (sorted.length - 1) : 1]));
    return nodes.score.map((score) => (score === null ? null : rank.get(sign * score)));
  })();

  const matches = (i) =>
    (!state.agent || word("agent", i) === state.agent) &&
    (!state.operator || word("operator", i) === state.operator) &&
    (!state.state || nodes.marks[i].includes(state.state) || word("decision", i) === state.state || word("status", i) === state.state) &&
    (!state.find || haystack(i).includes(state.find));

  const across = (i) => (state.x === "order" ? i : state.x === "time" ? nodes.time[i] : nodes.generation[i]);
  // Without a score a node stands on the bottom line of the score axis.
  const scores = nodes.score.filter((score) => score !== null);
  // A few attempts far off would squash the rest: what is much worse than anything kept is drawn at the axis's end.
  const worst = (() => {
    const kept = nodes.score.filter((score, i) => score !== null && kinds[i] !== "rejected");
    const list = (kept.length > 1 ? kept : scores).sort((a, b) => a - b);
    const reach = ((list[list.length - 1] ?? 1) - (list[0] ?? 0)) * 0.15;
    return data.direction === "maximize" ? (list[0] ?? 0) - reach : (list[list.length - 1] ?? 1) + reach;
  })();
  const clip = (score) => (data.direction === "maximize" ? Math.max(score, worst) : Math.min(score, worst));
  const upward = (i) => (state.y === "lane" ? nodes.lane[i] : state.y === "generation" ? nodes.generation[i] : nodes.score[i] === null ? worst : clip(nodes.score[i]));

  const webgl = (() => {
    try {
      return !!document.createElement("canvas").getContext("webgl");
    } catch {
      return false;
    }
  })();
  const SCATTER = webgl ? "scattergl" : "scatter";

  const lines = (keep) => {
    const paths = { tick: [[], []], line: [[], []], gap: [[], []], far: [[], []], merge: [[], []], best: [[], []] };
    const span = keep.size ? Math.max(1e-9, extent(keep)) : 1;
    const tails = new Map();
    for (let k = 0; k < links.from.length; k++) {
      const a = links.from[k], b = links.to[k];
      if (!keep.has(a) || !keep.has(b)) continue;
      const rejected = kinds[b] === "rejected";
      const hung = state.y === "lane" && state.x !== "generation" && nodes.hung[b] && links.order[k] === 0;
      const kind = links.order[k] ? (links.hidden[k] || rejected ? "far" : "merge") : hung ? "tick" : nodes.liked[b] ? "best" : links.hidden[k] ? "gap" : rejected ? "tick" : "line";
      // Off its lane, a link to each of many attempts is a curtain before everything else.
      if (state.y !== "lane" && count > 600 && (kind === "tick" || kind === "far")) continue;
      const [xs, ys] = paths[kind];
      const ax = across(a), ay = upward(a), bx = across(b), by = upward(b);
      if (hung) { xs.push(bx, bx, null); ys.push(ay, by, null); if (!continued.has(a)) tails.set(a, bx); }
      else if (state.y === "lane" && links.order[k] === 0 && ay !== by) { xs.push(ax, Math.min(bx, ax + span / 120), bx, null); ys.push(ay, by, by, null); }
      // Links of crossovers that are folded can be three for each node: curves would take the time of all the rest.
      else if (state.y === "lane" && links.order[k] && bx > ax && !(kind === "far" && count > 2000)) curve(xs, ys, ax, ay, bx, by);
      else { xs.push(ax, bx, null); ys.push(ay, by, null); }
    }
    // A line that ended goes on, thinly, as long as children of its end were tried.
    for (const [a, x] of tails) { paths.tick[0].push(across(a), x, null); paths.tick[1].push(upward(a), upward(a), null); }
    return paths;
  };
  const extent = (keep) => {
    let low = Infinity, high = -Infinity;
    for (const i of keep) { low = Math.min(low, across(i)); high = Math.max(high, across(i)); }
    return high - low;
  };
  const curve = (xs, ys, ax, ay, bx, by) => {
    const steps = count > 2000 ? 6 : 12;
    for (let n = 0; n <= steps; n++) {
      const t = n / steps;
      xs.push(ax + (bx - ax) * t);
      ys.push(ay + (by - ay) * t * t * (3 - 2 * t));
    }
    xs.push(null); ys.push(null);
  };

  const looks = () => ({
    tick: { color: tone("faint"), width: 1 }, line: { color: tone("line"), width: 1.3 }, gap: { color: tone("line"), width: 1.3, dash: "dot" },
    far: { color: tone("merge"), width: 0.6 }, merge: { color: tone("merge"), width: 1 }, best: { color: tone("best"), width: 2.6 },
  });
  const OPACITY = { far: 0.16, merge: 0.45 };
  const size = Math.max(4, Math.min(9, 2200 / Math.sqrt(count) / 9));
  const MARKS = {
    rejected: { symbol: "circle", size: size * 0.55 }, accepted: { symbol: "circle", size }, commit: { symbol: "circle", size },
    living: { symbol: "circle", size: size * 1.6, edge: 1.6 }, start: { symbol: "square", size: size * 1.7, edge: 1 },
    pruned: { symbol: "x", size: size * 1.6, fixed: "bad" }, promoted: { symbol: "diamond", size: size * 2, fixed: "good", edge: 1 },
    best: { symbol: "star", size: Math.max(15, size * 2.4), fixed: "best", edge: 1 },
  };

  const categories = () => {
    const counts = new Map();
    for (let i = 0; i < count; i++) counts.set(word(state.colour, i), (counts.get(word(state.colour, i)) || 0) + 1);
    const ordered = [...counts.keys()].filter((name) => name !== "").sort((a, b) => counts.get(b) - counts.get(a) || (a < b ? -1 : 1));
    return new Map(ordered.map((name, at) => [name, at < PALETTE.length ? PALETTE[at] : OTHER]));
  };

  const marker = (kind, list, names) => {
    const look = MARKS[kind];
    const made = { symbol: look.symbol, size: look.size, opacity: 1, line: { width: look.edge || 0, color: tone("ink") } };
    if (look.fixed) made.color = tone(look.fixed);
    else if (state.colour === "score") {
      const rejected = kind === "rejected";
      made.color = list.map((i) => (ranks[i] === null ? (rejected ? tone("bad") : OTHER) : shade(ranks[i])));
    } else made.color = list.map((i) => names.get(word(state.colour, i)) || OTHER);
    if (kind === "rejected") made.opacity = 0.6;
    return made;
  };
  const shade = (rank) => {
    const scale = dark() ? DARK_SCALE : SCALE;
    const at = Math.min(scale.length - 2, Math.floor(rank * (scale.length - 1)));
    const share = rank * (scale.length - 1) - at;
    const mix = (k) => Math.round(parseInt(scale[at][1].slice(k, k + 2), 16) * (1 - share) + parseInt(scale[at + 1][1].slice(k, k + 2), 16) * share);
    return `rgb(${mix(1)},${mix(3)},${mix(5)})`;
  };

  let kept = [];
  const draw = () => {
    kept = [];
    for (let i = 0; i < count; i++) if (matches(i)) kept.push(i);
    const keep = new Set(kept);
    const traces = [];
    const look = looks();
    for (const [kind, [x, y]] of Object.entries(lines(keep)))
      traces.push({ type: SCATTER, mode: "lines", x, y, line: look[kind], opacity: OPACITY[kind] || 1, hoverinfo: "skip", connectgaps: false });
    const names = state.colour === "score" ? new Map() : categories();
    for (const kind of Object.keys(MARKS)) {
      const list = kept.filter((i) => kinds[i] === kind);
      traces.push({ type: SCATTER, mode: "markers", x: list.map(across), y: list.map(upward), customdata: list, marker: marker(kind, list, names), hoverinfo: "none" });
    }
    Plotly.react(plot, traces, layout(), { responsive: true, displaylogo: false, scrollZoom: true, doubleClick: "reset", modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] });
    legend(names);
    byId("matching").textContent = kept.length === count ? "" : `${kept.length.toLocaleString("en")} of ${count.toLocaleString("en")} match`;
    table();
  };
  // The mark around the selected node is an element over the plot: to redraw 5,000 nodes for it would be felt.
  const ring = byId("ring");
  const placeRing = () => {
    const { xaxis, yaxis } = plot._fullLayout || {};
    ring.hidden = true;
    if (state.selected < 0 || !xaxis || !kept.includes(state.selected)) return true;
    const x = xaxis.d2p(across(state.selected)), y = yaxis.d2p(upward(state.selected));
    if (!(x >= 0 && x <= xaxis._length && y >= 0 && y <= yaxis._length)) return false;
    ring.style.left = `${plot.offsetLeft + plot.clientLeft + xaxis._offset + x}px`;
    ring.style.top = `${plot.offsetTop + plot.clientTop + yaxis._offset + y}px`;
    ring.hidden = false;
    return true;
  };

  const axis = (title, extra = {}) => ({ title: { text: title, font: { size: 12 } }, gridcolor: tone("faint"), zeroline: false, linecolor: tone("line"), color: tone("quiet"), ...extra });
  const room = (title) => ({ paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: tone("ink"), family: "system-ui, 'DejaVu Sans', sans-serif", size: 12 }, showlegend: false, ...title });
  const layout = () => room({
    margin: { l: state.y === "lane" ? 18 : 64, r: 18, t: 18, b: 44 }, hovermode: "closest", dragmode: "pan", uirevision: `${state.x} ${state.y}`,
    hoverdistance: 14,
    xaxis: axis({ order: "order of birth", time: "time (UTC)", generation: "generation" }[state.x], state.x === "time" ? { type: "date", showgrid: false } : { showgrid: false, type: "linear" }),
    yaxis: state.y === "lane" ? axis("", { showticklabels: false, showgrid: false, autorange: "reversed", type: "linear", title: { text: "" } }) : axis(state.y, { autorange: state.y === "score" && data.direction === "minimize" ? "reversed" : true, type: "linear" }),
  });

  const legend = (names) => {
    const box = byId("legend");
    box.replaceChildren();
    const entry = (colour, text) => {
      const made = element("span");
      const dot = element("span", "", { class: "dot", "aria-hidden": "true" });
      dot.style.background = colour;
      made.append(dot, text);
      box.append(made);
    };
    const marks = { best: "★ best", promoted: "◆ promoted", pruned: "✗ pruned", living: "◉ living", start: "■ start" };
    const present = new Set(nodes.marks.flat());
    for (const [kind, text] of Object.entries(marks)) if (present.has(kind)) box.append(element("span", text));
    if (state.colour !== "score") {
      let listed = 0;
      for (const [name, colour] of names) if (listed++ < PALETTE.length) entry(colour, name);
      if (names.size > PALETTE.length) entry(OTHER, `${names.size - PALETTE.length} others`);
    } else if (scores.length) {
      const bar = element("span", "", { class: "bar", "aria-hidden": "true" });
      bar.style.background = `linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 1].map(shade).join(",")})`;
      const made = element("span", "worse ");
      made.append(bar, " better");
      box.append(made);
      if (kinds.includes("rejected")) entry(tone("bad"), "failed");
    }
    if (links.order.some((order) => order)) entry(tone("merge"), data.run ? "crossover" : "merge");
  };

  // --- the card under the pointer

  const describe = (i) => [
    [short(nodes.id[i]), kinds[i], ...nodes.names[i]].join(" · "),
    [nodes.score[i] === null ? word("status", i) : `score ${figure(nodes.score[i])}`, signed(nodes.change[i]), word("decision", i)].filter(Boolean).join("  "),
    [word("agent", i), word("operator", i), word("model", i)].filter(Boolean).join(" · "),
    nodes.folded[i] ? `+${nodes.folded[i]} folded here` : "",
    nodes.summary[i],
  ];
  const card = byId("card");
  const showCard = (i, x, y) => {
    card.replaceChildren();
    describe(i).filter(Boolean).forEach((text, at) => card.append(element(at ? "div" : "b", text)));
    card.hidden = false;
    card.style.left = `${Math.min(x + 14, innerWidth - card.offsetWidth - 8)}px`;
    card.style.top = `${Math.min(y + 14, innerHeight - card.offsetHeight - 8)}px`;
  };

  // --- the side panel

  const unpack = async () => {
    const packed = Uint8Array.from(atob(byId("details").textContent), (mark) => mark.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  };
  const details = unpack().catch(() => ({}));

  const WORDS = new Set("and as assert async await break case catch class const continue def del do elif else enum except export extends false finally fn for from func function if impl import in interface is lambda let match mut new nil None nonlocal not null or package pass pub public private raise return self static struct super switch this throw trait True False true try type use var void while with yield".split(" "));
  const TOKEN = /("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`(?:\\.|[^`\\])*`)|(#.*$|\/\/.*$|\/\*.*?\*\/)|(\b\d[\w.]*)|([A-Za-z_]\w*)/g;
  const coloured = (line, into) => {
    let from = 0;
    for (const found of line.matchAll(TOKEN)) {
      const kind = found[1] ? "s" : found[2] ? "c" : found[3] ? "n" : WORDS.has(found[4]) ? "k" : "";
      if (!kind) continue;
      into.append(line.slice(from, found.index), element("span", found[0], { class: kind }));
      from = found.index + found[0].length;
    }
    into.append(line.slice(from));
  };
  const diff = (text) => {
    const box = element("pre", null, { class: "diff", tabindex: "0", "aria-label": "Diff against the first parent" });
    for (const line of text.replace(/\n$/, "").split("\n")) {
      const file = /^(---|\+\+\+|diff|index|new file|deleted file|Binary)/.test(line);
      const kind = file ? "file" : line.startsWith("@@") ? "hunk" : line.startsWith("+") ? "add" : line.startsWith("-") ? "del" : "same";
      const row = element("span", null, { class: `row ${kind}` });
      if (kind === "file" || kind === "hunk") row.textContent = line;
      else { row.append(line.slice(0, 1) || " "); coloured(line.slice(1), row); }
      box.append(row);
    }
    return box;
  };
  const facts = (pairs) => {
    const list = element("dl");
    for (const [name, value] of pairs) if (value !== "" && value !== null && value !== undefined) list.append(element("dt", name), value instanceof Node ? value : element("dd", value));
    return list;
  };
  const folded = (title, text, open) => {
    const made = element("details");
    made.open = !!open;
    made.append(element("summary", title), element("pre", text, { tabindex: "0" }));
    return made;
  };
  const gallery = (pictures) => {
    const box = element("div", null, { class: "pictures" });
    for (const [name, address] of Object.entries(pictures)) {
      if (!/^data:image\/(png|jpeg|webp|gif);base64,[A-Za-z0-9+/=]*$/.test(address)) continue;
      const frame = element("figure");
      const button = element("button", null, { type: "button", "aria-expanded": "false", "aria-label": `Enlarge ${name}` });
      button.addEventListener("click", () => button.setAttribute("aria-expanded", frame.classList.toggle("large")));
      button.append(element("img", null, { src: address, alt: name, loading: "lazy" }));
      frame.append(button, element("figcaption", name));
      box.append(frame);
    }
    return box;
  };
  const command = (text) => {
    const row = element("div", null, { class: "command" });
    const button = element("button", "Copy", { type: "button", "aria-label": `Copy: ${text}` });
    button.addEventListener("click", () => {
      const done = () => { button.textContent = "Copied"; setTimeout(() => (button.textContent = "Copy"), 1500); };
      if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, () => pick(row.firstChild));
      else pick(row.firstChild);
    });
    row.append(element("code", text), button);
    return row;
  };
  const pick = (node) => getSelection().selectAllChildren(node);
  const jump = (i) => {
    const made = element("button", short(nodes.id[i]), { type: "button" });
    made.addEventListener("click", () => select(i, true));
    return made;
  };

  const panel = byId("panel");
  const openPanel = async (i, focus) => {
    const all = await details;
    if (state.selected !== i) return;
    const found = all[nodes.id[i]] || {};
    panel.replaceChildren();
    const close = element("button", "✕", { type: "button", class: "close", "aria-label": "Close details" });
    close.addEventListener("click", closePanel);
    const [body, trailers] = split(found.message || "");
    const parents = element("dd");
    nodes.parents[i].forEach((oid) => parents.append(place.has(oid) ? jump(place.get(oid)) : element("code", short(oid)), " "));
    const change = element("dd", signed(nodes.change[i]), { class: gain(nodes.change[i]) });
    panel.append(close, element("h2", body.split("\n")[0] || nodes.summary[i] || short(nodes.id[i])));
    panel.append(facts([
      ["commit", nodes.id[i]], ["is", nodes.marks[i].join(", ") || kinds[i]], ["names", nodes.names[i].join(", ")],
      ["parents", nodes.parents[i].length ? parents : ""], [data.run ? "agent" : "author", word("agent", i)], ["host", word("host", i)], ["definition", word("definition", i)],
      ["operator", word("operator", i)], ["model", word("model", i)], ["score", nodes.score[i] === null ? "" : figure(nodes.score[i])], ["change", nodes.change[i] ? change : ""],
      ["status", word("status", i)], ["decision", word("decision", i)], ["born", moment(nodes.time[i])],
      ["evaluated in", nodes.seconds[i] ? `${figure(nodes.seconds[i])} s` : ""], ["cost", nodes.cost[i] ? figure(nodes.cost[i]) : ""],
      ["tokens", nodes.tokens[i] || ""], ["epoch", nodes.epoch[i] || ""], ["folded here", nodes.folded[i] || ""],
    ]));
    const run = data.run && data.run !== "main" ? ` --run ${data.run}` : "";
    const id = nodes.id[i].slice(0, 12);
    panel.append(element("h3", "In a terminal"));
    if (data.run) panel.append(command(`evogit promote ${id}${run}`), command(`evogit prune ${id}${run}`), command(`evogit show ${id} --diff${run}`));
    else panel.append(command(`git show ${id}`));
    const rest = body.split("\n").slice(1).join("\n").trim();
    if (rest) panel.append(element("h3", "Message"), element("pre", rest));
    if (trailers.length) panel.append(element("h3", "Trailers"), facts(trailers));
    const metrics = Object.entries(nodes.metrics[i]);
    if (metrics.length) panel.append(element("h3", "Metrics"), facts(metrics.map(([name, value]) => [name, figure(value)])));
    if (found.pictures) panel.append(element("h3", "Pictures"), gallery(found.pictures));
    if (found.diff) panel.append(element("h3", "Diff against its first parent"), diff(found.diff));
    if (found.feedback) panel.append(folded("Feedback", found.feedback, true));
    if (found.prompt) panel.append(folded("Prompt", found.prompt));
    if (found.reply) panel.append(folded("Reply", found.reply));
    if (found.output) panel.append(folded("Output", found.output));
    if (!Object.keys(found).length) panel.append(element("p", "Message, diff and evidence of this commit are not in this file; the command shows them.", { class: "quiet" }));
    const wasHidden = panel.hidden;
    panel.hidden = false;
    panel.scrollTop = 0;
    if (wasHidden) Plotly.Plots.resize(plot);
    if (focus) panel.focus();
  };
  const split = (message) => {
    const paragraphs = message.trimEnd().split("\n\n");
    const last = paragraphs.length > 1 ? paragraphs[paragraphs.length - 1].split("\n").map((line) => /^([A-Za-z][A-Za-z-]*): (.*)$/.exec(line)) : [null];
    if (last.some((found) => !found)) return [message.trimEnd(), []];
    return [paragraphs.slice(0, -1).join("\n\n"), last.map((found) => [found[1], found[2]])];
  };
  const closePanel = () => {
    panel.hidden = true;
    Plotly.Plots.resize(plot);
    plot.focus();
  };
  const select = (i, open, focus) => {
    state.selected = i;
    if (!placeRing()) Plotly.relayout(plot, { "xaxis.autorange": true, "yaxis.autorange": layout().yaxis.autorange ?? true });
    byId("said").textContent = describe(i).filter(Boolean).join(", ");
    if (open || !panel.hidden) openPanel(i, focus);
  };

  // --- keyboard

  const step = (key) => {
    const at = state.selected;
    const best = kinds.indexOf("best");
    if (key === "Home") return 0;
    if (key === "End") return best >= 0 ? best : count - 1;
    if (at < 0) return best >= 0 ? best : 0;
    if (key === "ArrowLeft") return up[at][0] ?? at;
    if (key === "ArrowRight") return down[at].find((i) => nodes.liked[i]) ?? down[at].find((i) => nodes.lane[i] === nodes.lane[at]) ?? down[at][0] ?? at;
    const brothers = up[at].length ? down[up[at][0]] : nodes.id.map((_, i) => i).filter((i) => !up[i].length);
    const next = brothers.indexOf(at) + (key === "ArrowUp" ? -1 : 1);
    return brothers[Math.max(0, Math.min(brothers.length - 1, next))];
  };
  plot.addEventListener("keydown", (event) => {
    if (["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"].includes(event.key) && count) {
      event.preventDefault();
      select(step(event.key), false);
    } else if (event.key === "Enter" && state.selected >= 0) {
      event.preventDefault();
      select(state.selected, true, true);
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !panel.hidden) closePanel();
    if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) {
      event.preventDefault();
      byId("find").focus();
    }
  });

  // --- table

  const table = () => {
    const pages = Math.max(1, Math.ceil(kept.length / PER_PAGE));
    state.page = Math.min(state.page, pages - 1);
    const rows = kept.slice(state.page * PER_PAGE, (state.page + 1) * PER_PAGE).map((i) => {
      const row = element("tr");
      const id = element("td");
      const button = element("button", short(nodes.id[i]), { type: "button", "aria-label": `Details of ${short(nodes.id[i])}` });
      button.addEventListener("click", () => select(i, true, true));
      id.append(button);
      row.append(id, element("td", [kinds[i], ...nodes.names[i]].join(" ")), element("td", word("agent", i)), element("td", word("operator", i)));
      row.append(element("td", nodes.score[i] === null ? "" : figure(nodes.score[i])), element("td", signed(nodes.change[i]), { class: gain(nodes.change[i]) }));
      row.append(element("td", word("decision", i)), element("td", nodes.folded[i] ? `+${nodes.folded[i]}` : ""), element("td", nodes.summary[i]));
      return row;
    });
    byId("rows").replaceChildren(...rows);
    byId("page").textContent = `Page ${state.page + 1} of ${pages}`;
    byId("back").disabled = state.page === 0;
    byId("forward").disabled = state.page >= pages - 1;
  };

  // --- the curves

  const charts = () => {
    if (!curves.windows.length) {
      byId("charts").hidden = true;
      return;
    }
    const quiet = { displayModeBar: false, responsive: true };
    const frame = (title, extra = {}) => room({ margin: { l: 56, r: 12, t: 8, b: 34 }, xaxis: axis("", { type: "date", nticks: 4, tickangle: 0 }), yaxis: axis(title), ...extra });
    const pairs = (list) => ({ x: list.map((pair) => pair[0]), y: list.map((pair) => pair[1]) });
    const range = curves.best.length ? bestRange() : undefined;
    Plotly.react("best-chart", [
      { ...pairs(curves.scores), type: "scatter", mode: "markers", marker: { size: 4, color: tone("quiet"), opacity: 0.45 }, hoverinfo: "x+y" },
      { ...pairs(curves.best), type: "scatter", mode: "lines", line: { shape: "hv", color: tone("best"), width: 2.4 }, hoverinfo: "x+y" },
    ], frame("score", { yaxis: axis("score", range ? { range } : {}) }), quiet);
    const operators = Object.keys(curves.tried);
    const total = (name) => curves.tried[name].reduce((a, b) => a + b, 0);
    operators.sort((a, b) => total(b) - total(a));
    Plotly.react("operator-chart", operators.slice(0, 8).map((name, at) => ({
      x: curves.windows, y: smooth(curves.tried[name], curves.accepted[name]), name: shown(name || "other"), type: "scatter", mode: "lines",
      line: { color: PALETTE[at], width: 1.6 }, hovertemplate: `${shown(name || "other")}: %{y:.1%}<extra></extra>`,
    })), frame("accepted", { showlegend: true, legend: { font: { size: 10 }, itemwidth: 20 }, yaxis: axis("accepted", { tickformat: ".0%", rangemode: "tozero" }) }), quiet);
    const sum = (list) => list[list.length - 1] || 0;
    const [title, values] = sum(curves.cost) > 0 ? ["money", curves.cost] : sum(curves.tokens) > 0 ? ["tokens", curves.tokens] : ["seconds of evaluation", curves.seconds];
    byId("cost-caption").textContent = `Spent: ${sum(curves.cost) > 0 ? `${figure(sum(curves.cost))} money, ` : ""}${sum(curves.tokens) > 0 ? `${sum(curves.tokens).toLocaleString("en")} tokens, ` : ""}${figure(sum(curves.seconds))} s of evaluation`;
    Plotly.react("cost-chart", [{ x: curves.windows, y: values, type: "scatter", mode: "lines", fill: "tozeroy", line: { color: tone("accent"), width: 2 }, hoverinfo: "x+y" }], frame(title), quiet);
  };
  // The start may be far worse than everything after it: show from the worst of the accepted but the outermost.
  const bestRange = () => {
    const values = [...curves.scores.map((pair) => pair[1]), ...curves.best.map((pair) => pair[1]).filter((score) => score !== null)].sort((a, b) => a - b);
    const low = data.direction === "maximize" ? values[Math.floor(values.length * 0.03)] : values[0];
    const high = data.direction === "maximize" ? values[values.length - 1] : values[Math.ceil((values.length - 1) * 0.97)];
    const margin = (high - low) * 0.06 || Math.abs(high) * 0.01 || 1;
    return [low - margin, high + margin];
  };
  // Over three windows: one alone may hold a single attempt.
  const smooth = (tried, accepted) => tried.map((_, at) => {
    const part = (list) => list.slice(Math.max(0, at - 1), at + 2).reduce((a, b) => a + b, 0);
    return part(tried) ? part(accepted) / part(tried) : null;
  });

  // --- controls

  const choices = (id, values) => {
    byId(id).append(new Option("all", ""));
    for (const value of values) byId(id).append(new Option(value, value));
    byId(id).closest("label").hidden = values.length < 2;
  };
  const column = (name) => distinct(nodes[name].map((n) => words[n]));
  choices("agent", column("agent"));
  choices("operator", column("operator"));
  choices("state", distinct([...nodes.marks.flat(), ...column("decision"), ...column("status")]));
  if (!scores.length) {
    for (const id of ["y", "colour"]) byId(id).querySelector("[value=score]").remove();
    state.colour = "agent";
  }
  for (const name of ["agent", "host", "operator", "decision"]) if (column(name).length === 0) byId("colour").querySelector(`[value=${name}]`)?.remove();
  for (const id of ["x", "y", "colour", "agent", "operator", "state"])
    byId(id).addEventListener("change", (event) => { state[id] = event.target.value; state.page = 0; draw(); });
  let waiting = 0;
  byId("find").addEventListener("input", (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { state.find = event.target.value.trim().toLowerCase(); state.page = 0; draw(); }, 120);
  });
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("reset").addEventListener("click", () => {
    for (const id of ["agent", "operator", "state", "find"]) { state[id] = ""; byId(id).value = ""; }
    draw();
  });
  byId("back").addEventListener("click", () => { state.page -= 1; table(); });
  byId("forward").addEventListener("click", () => { state.page += 1; table(); });
  if (!data.run) {
    byId("agent").closest("label").firstChild.textContent = "Author ";
    byId("colour").querySelector("[value=agent]").textContent = "author";
  }
  const theme = byId("theme");
  const nameTheme = () => { theme.textContent = dark() ? "Light" : "Dark"; theme.setAttribute("aria-pressed", String(dark())); };
  theme.addEventListener("click", () => {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    nameTheme(); draw(); charts();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { nameTheme(); draw(); charts(); });

  nameTheme();
  draw();
  charts();
  let pointer = [0, 0];
  addEventListener("mousemove", (event) => (pointer = [event.clientX, event.clientY]), { passive: true });
  plot.on("plotly_afterplot", placeRing);
  plot.on("plotly_relayouting", placeRing);
  plot.on("plotly_hover", (event) => {
    const i = event.points[0].customdata;
    if (i !== undefined) showCard(i, ...pointer);
  });
  plot.on("plotly_unhover", () => (card.hidden = true));
  plot.on("plotly_click", (event) => {
    const i = event.points[0].customdata;
    if (i !== undefined) { card.hidden = true; select(i, true); }
  });
  document.documentElement.dataset.ready = "yes";
})();
