// The page's own state: what was read, which symbol and span are looked at; and the loop that keeps it up to date.

import { askToken, control, reload } from "./ask.js";
import { follow, read } from "./client.js";
import { decimalsOf, number, short } from "./format.js";
import { showChoices, showFigures, showLegend, showMachine, showNews, showRisk, showSlots, showStanding, showTabs } from "./panels.js";
import { drawHistogram, drawLines, drawPrice } from "./plots.js";
import { isChinese, say, setChinese, translatePage } from "./words.js";

const at = (id) => document.getElementById(id);
const FIELDS = ["price", "position", "grid", "inventory", "fees", "funding", "total", "equity"];
const SPANS = { "5m": 300e3, "30m": 1800e3, "24h": 86400e3 };
const NEWS_KEPT = 1500;

const state = {
  view: null, link: "connecting", chosen: localStorage.getItem("symbol"), span: "5m", kind: "all",
  news: [], series: {}, hover: {}, dirty: true,
};

const symbolNow = () => state.view?.symbols.find((each) => each.symbol === state.chosen) || state.view?.symbols[0];

// --- what is heard ---

function hearView(view) {
  state.view = view;
  const chosen = symbolNow();
  if (chosen) state.chosen = chosen.symbol;
  for (const row of view.symbols) {
    if (!row.price) continue;
    const mine = (state.series[row.symbol] ||= { fine: [], coarse: [] });
    const pnl = row.pnl;
    const point = [view.time_ms, +row.price, +row.position, +pnl.grid, +pnl.inventory, +pnl.fees, +pnl.funding, +pnl.total, view.equity ? +view.equity.now : 0];
    mine.fine.push(point);
    const before = mine.coarse[mine.coarse.length - 1];
    if (before && Math.floor(before[0] / 60e3) === Math.floor(point[0] / 60e3)) mine.coarse.pop();
    mine.coarse.push(point);
    while (mine.fine.length && mine.fine[0][0] < view.time_ms - SPANS["30m"] - 5e3) mine.fine.shift();
    while (mine.coarse.length > 1500) mine.coarse.shift();
  }
  state.dirty = true;
}

function hearNews(each) {
  if (state.news.some((known) => known.id === each.id)) return;
  state.news.push(each);
  if (state.news.length > NEWS_KEPT) state.news.splice(0, state.news.length - NEWS_KEPT);
  state.dirty = true;
}

const pointsOf = (history) => history.time_ms.map((ms, place) => [ms, ...FIELDS.map((field) => history[field][place])]);

async function readPast() {
  const { news } = await read("/news");
  for (const each of news) hearNews(each);
  state.news.sort((a, b) => a.id - b.id);
  for (const { symbol } of state.view?.symbols || []) {
    const [fine, coarse] = await Promise.all([read(`/history?symbol=${encodeURIComponent(symbol)}&span=30m`), read(`/history?symbol=${encodeURIComponent(symbol)}&span=24h`)]);
    const mine = (state.series[symbol] ||= { fine: [], coarse: [] });
    for (const [name, past] of [["fine", pointsOf(fine)], ["coarse", pointsOf(coarse)]]) {
      const since = mine[name].length ? mine[name][0][0] : Infinity;
      mine[name] = [...past.filter(([ms]) => ms < since), ...mine[name]];
    }
  }
  state.dirty = true;
}

function setLink(link) {
  state.link = link;
  document.body.dataset.link = link;
  state.dirty = true;
}

const wait = (ms) => new Promise((settle) => setTimeout(settle, ms));

async function listen() {
  let pause = 1000;
  for (;;) {
    try {
      hearView(await read("/status"));
      await follow((event, data) => (event === "view" ? hearView(data) : hearNews(data)), async () => {
        await readPast();
        setLink("live");
        pause = 1000;
      });
    } catch (error) {
      if (error.status === 401) {
        setLink("lost");
        await askToken(say("token_needed"));
        continue;
      }
      if (error.status !== 503 && !(error instanceof TypeError) && error.name !== "AbortError") console.warn(error.message);
    }
    setLink("lost");
    await wait(pause);
    pause = Math.min(pause * 1.6, 10000);
  }
}

// --- what is shown ---

// The chosen span, or as much of it as has been seen, but never less than a minute.
function shownSpan(points) {
  const to = state.view.time_ms, seen = points.length ? to - points[0][0] : 0;
  const wide = Math.min(SPANS[state.span], Math.max(seen, 60e3));
  return [to - wide, to + wide * 0.015];
}

function linesOf(points, ...columns) {
  return columns.map(([field, colour, extra]) => ({ colour, name: extra.name, ...extra, points: points.map((point) => [point[0], (extra.sign || 1) * point[FIELDS.indexOf(field) + 1]]) }));
}

function thinned(points, from) {
  const first = Math.max(points.findIndex(([ms]) => ms >= from) - 1, 0), shown = points.slice(first);
  const each = Math.ceil(shown.length / 1600);
  return each > 1 ? shown.filter((_, place) => place % each === 0 || place === shown.length - 1) : shown;
}

function drawPlots(view, symbol) {
  const mine = state.series[symbol.symbol] || { fine: [], coarse: [] };
  const kept = state.span === "24h" ? mine.coarse : mine.fine;
  const [from, to] = shownSpan(kept);
  const points = thinned(kept, from);
  const decimals = decimalsOf(symbol.tick);
  const orders = symbol.slots.filter((slot) => slot.side)
    .map((slot) => ({ price: +slot.order_price, side: slot.side, qty: +slot.order_qty, pending: slot.state === "pending" }));
  const fills = state.news.filter((each) => each.kind === "fill" && each.symbol === symbol.symbol)
    .map((each) => ({ time: each.time_ms, price: +each.price, side: each.side, qty: each.qty }));
  const held = symbol.slots.filter((slot) => Number(slot.held)).map((slot) => +slot.price);
  drawPrice(at("price-plot"), { points: points.map(([ms, price]) => [ms, price]), orders, held, fills, from, to, decimals, hover: state.hover["price-plot"], words: { buy: say("buy"), sell: say("sell") } });
  at("price-plot").dataset.fills = String(fills.filter((each) => each.time >= from).length);
  at("price-plot").dataset.orders = String(orders.length);
  at("price-plot").setAttribute("aria-label", `${symbol.symbol} ${symbol.price || ""}: ${orders.length} ${say("orders")}, ${fills.length} ${say("fills")}`);
  drawLines(at("pnl-plot"), { from, to, decimals: 2, zero: true, least: 0.1, hover: state.hover["pnl-plot"], lines: linesOf(points,
    ["total", "text", { wide: true, name: say("total") }], ["grid", "green", { name: say("grid") }], ["inventory", "violet", { name: say("inventory_part") }],
    ["fees", "red", { sign: -1, name: say("fees") }], ["funding", "amber", { name: say("funding") }]) });
  drawLines(at("inventory-plot"), { from, to, decimals: Math.min(decimalsOf(symbol.position), 4), zero: true, hover: state.hover["inventory-plot"],
    lines: linesOf(points, ["position", "amber", { stepped: true, filled: true, name: symbol.base }]) });
  drawLines(at("equity-plot"), { from, to, decimals: 2, zero: false, least: 0.1, hover: state.hover["equity-plot"], lines: linesOf(points, ["equity", "blue", { filled: true, wide: true, name: say("equity") }]) });
  drawHistogram(at("latency-plot"), { bounds: view.latency.bounds_s, counts: view.latency.counts, marks: short });
}

function show() {
  const view = state.view, symbol = symbolNow();
  at("link-text").textContent = say(state.link);
  at("language").textContent = isChinese() ? "English" : "中文";
  showStanding(view, symbol, state.link);
  if (!view) return;
  at("mode").textContent = view.mode;
  at("mode").dataset.mode = view.mode;
  at("venue").textContent = view.venue === view.mode ? "" : view.venue;
  showTabs(view, state.chosen, chooseSymbol);
  showNews(state.news, state.kind, Object.fromEntries(view.symbols.map((each) => [each.symbol, each.tick])));
  showRisk(view.risk);
  if (!symbol) return;
  document.title = `${symbol.price ? number(symbol.price, decimalsOf(symbol.tick)) : "–"} ${symbol.symbol} · marketmaker`;
  showFigures(view, symbol);
  showSlots(symbol);
  showMachine(view, symbol);
  drawPlots(view, symbol);
}

function showFixed() {
  translatePage();
  showLegend("price-legend", [["green", say("buys")], ["red", say("sells")], ["amber", say("held_slots")], ["blue", say("last_price")]]);
  showLegend("pnl-legend", [["text", say("total")], ["green", say("grid")], ["violet", say("inventory_part")], ["red", say("fees")], ["amber", say("funding")]]);
  showChoices("spans", Object.keys(SPANS).map((span) => [span, span]), state.span, (span) => { state.span = span; showFixed(); });
  showChoices("news-kinds", ["all", "fill", "order", "alert", "control"].map((kind) => [kind, say({ fill: "fills", order: "orders", alert: "alerts" }[kind] || kind)]), state.kind,
    (kind) => { state.kind = kind; showFixed(); });
  state.dirty = true;
}

function chooseSymbol(name) {
  state.chosen = name;
  localStorage.setItem("symbol", name);
  state.dirty = true;
}

function keepShowing() {
  if (state.dirty) {
    state.dirty = false;
    show();
  }
  requestAnimationFrame(keepShowing);
}

for (const what of ["pause", "resume", "cancel-all", "flatten"]) {
  at(`do-${what}`).addEventListener("click", () => { const row = symbolNow(); if (row) control(what, row); });
}
at("do-reload").addEventListener("click", reload);
at("language").addEventListener("click", () => { setChinese(!isChinese()); showFixed(); });
for (const canvas of document.querySelectorAll("canvas")) {
  canvas.addEventListener("pointermove", (event) => { state.hover[canvas.id] = { x: event.offsetX, y: event.offsetY }; state.dirty = true; });
  canvas.addEventListener("pointerleave", () => { delete state.hover[canvas.id]; state.dirty = true; });
}
new ResizeObserver(() => { state.dirty = true; }).observe(document.querySelector("main"));
matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => { state.dirty = true; });
setChinese(isChinese());
showFixed();
keepShowing();
listen();
