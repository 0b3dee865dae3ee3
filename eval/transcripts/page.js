// The page of transcripts.  Whatever comes from a run is put in by textContent; the page's own policy forbids every other script
// and every request.
"use strict";
const $ = (id) => document.getElementById(id);
const make = (tag, text, kind) => { const e = document.createElement(tag); if (text !== undefined) e.textContent = text; if (kind) e.className = kind; return e; };
const per = (v) => v === null || v === undefined ? "\u2013" : (v >= .1 || v === 0 ? (100 * v).toFixed(0) : (100 * v).toPrecision(2)) + " %";
const mean = (rows) => rows.length ? rows[0].map((_, k) => rows.reduce((s, r) => s + r[k], 0) / rows.length) : null;
const tv = (a, b) => a && b && a.length === b.length ? a.reduce((s, v, k) => s + Math.abs(v - b[k]), 0) / 2 : null;
const filters = ["game", "set", "mode", "arm", "wording", "order", "valid", "sort"];
const STEP = 100;
let data, shown = STEP;

async function unpack() {
  const bytes = Uint8Array.from(atob($("data").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}
function over(answer, pages, own, whole) {
  if (!answer) return null;
  const some = pages.map((k) => (answer[own] || [])[k]).filter((v) => v !== null && v !== undefined);
  if (!some.length) return answer[whole];
  return Array.isArray(some[0]) ? mean(some) : some.reduce((s, v) => s + v, 0) / some.length;
}
function lines() {
  const want = Object.fromEntries(filters.map((f) => [f, $(f).value]));
  const found = [];
  for (const item of data.items) {
    if ((want.game && item.game !== want.game) || (want.set && item.set !== want.set) || (want.mode && item.mode !== want.mode)) continue;
    const pages = item.pages.map((_, k) => k).filter((k) => (!want.wording || item.pages[k].w === want.wording) && (!want.order || item.pages[k].o === want.order));
    if (!pages.length) continue;
    const base = item.arms[data.base];
    for (const [arm, answer] of Object.entries(item.arms)) {
      if ((want.arm ? arm !== want.arm : arm === data.base && data.arms.length > 1)) continue;
      const valid = over(answer, pages, "pv", "v");
      if (want.valid === "yes" ? !(valid >= .5) : want.valid === "no" ? valid >= .5 : false) continue;
      const wrong = pages.reduce((s, k) => s + (answer.x[k] || []).reduce((n, x) => n + x[1].length, 0), 0);
      found.push({ item, arm, answer, base, pages, valid, wrong, shift: tv(over(base, pages, "pp", "p"), over(answer, pages, "pp", "p")) });
    }
  }
  const by = { shift: (r) => -(r.shift ?? -1), valid: (r) => r.valid ?? 2, wrong: (r) => -r.wrong, run: () => 0 }[want.sort];
  return found.sort((a, b) => by(a) - by(b));
}
function written(text, spots) {
  const pre = make("pre"), signs = Array.from(text);  // places are counted in characters, not in UTF-16 units
  const part = (a, b) => signs.slice(a, b).join("");
  let at = 0;
  for (const [start, end, kind] of spots) {
    pre.append(part(at, start));
    const m = make("mark", part(start, end), kind);
    m.title = kind === "wrong" ? "does not hold" : "neither on the page nor worked out before";
    pre.append(m);
    at = end;
  }
  pre.append(part(at));
  return pre;
}
function answerOf(name, answer, item, k) {
  const box = make("div");
  box.append(make("h3", name));
  if (!answer) { box.append(make("p", "not measured", "quiet")); return box; }
  box.append(make("p", "valid answer " + per((answer.pv || [])[k] ?? answer.v) + ", control questions right " + per(answer.c), "quiet"));
  const p = (answer.pp || [])[k] || answer.p;
  if (p) {
    const table = make("table");
    item.names.forEach((option, i) => {
      const row = make("tr"), cell = make("td"), meter = make("meter");
      meter.value = p[i]; meter.setAttribute("aria-label", option + " " + per(p[i]));
      const th = make("th", option); th.scope = "row";
      cell.append(meter); row.append(th, cell, make("td", per(p[i]))); table.append(row);
    });
    box.append(table);
  } else box.append(make("p", answer.a ?? "no readable answer", "quiet"));
  for (const [text, spots] of answer.x[k] || []) box.append(written(text, spots));
  return box;
}
function opened(line) {
  const all = make("div");
  for (const k of line.pages) {
    const page = line.item.pages[k];
    all.append(make("h2", "Page " + (k + 1) + ", " + page.w + ", " + page.o), make("pre", page.t));
    const pair = make("div", undefined, "pair");
    if (data.base !== null && line.arm !== data.base) pair.append(answerOf(data.base, line.base, line.item, k));
    pair.append(answerOf(line.arm, line.answer, line.item, k));
    all.append(pair);
  }
  return all;
}
function draw() {
  const found = lines(), list = $("list");
  list.replaceChildren();
  $("count").textContent = found.length + " of " + data.rows + " lines." +
    (data.base === null ? "" : " Shift: total variation between the choice probabilities of a condition and of " + data.base + ".");
  for (const line of found.slice(0, shown)) {
    const li = make("li"), button = make("button"), what = make("span", line.item.game + ", " + line.arm);
    what.append(make("small", line.item.id + "; " + line.item.what + (line.item.mode ? "; " + line.item.mode : "")));
    button.type = "button"; button.setAttribute("aria-expanded", "false");
    button.append(make("strong", line.shift === null ? "\u2013" : line.shift.toFixed(2)), what, make("span", "valid " + per(line.valid)),
      make("span", line.wrong ? line.wrong + " marked" : ""));
    button.addEventListener("click", () => {
      const is = button.getAttribute("aria-expanded") === "true";
      button.setAttribute("aria-expanded", String(!is));
      if (is) li.lastChild.remove(); else li.append(opened(line));
    });
    li.append(button); list.append(li);
  }
  $("more").hidden = found.length <= shown;
}
function fill(id, values, every) {
  $(id).append(new Option(every, ""));
  for (const v of [...new Set(values)].sort()) $(id).append(new Option(v, v));
}
unpack().then((found) => {
  data = found;
  data.rows = data.items.reduce((s, i) => s + Object.keys(i.arms).filter((a) => a !== data.base || data.arms.length === 1).length, 0);
  fill("game", data.items.map((i) => i.game), "all"); fill("set", data.items.map((i) => i.set), "all"); fill("mode", data.items.map((i) => i.mode), "all");
  fill("arm", data.arms, data.base === null ? "all" : "all but " + data.base); fill("wording", data.items.flatMap((i) => i.pages.map((p) => p.w)), "all");
  fill("order", data.items.flatMap((i) => i.pages.map((p) => p.o)), "both");
  for (const f of filters) $(f).addEventListener("change", () => { shown = STEP; draw(); });
  $("more").addEventListener("click", () => { shown += STEP; draw(); });
  draw();
  document.body.dataset.ready = "yes";
});
