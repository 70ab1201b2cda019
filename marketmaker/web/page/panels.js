// Everything on the page that is text: figures, tables, meters. Each takes readings and fills its part of the document.

import { clock, dateAndClock, decimalsOf, direction, duration, number, short, signed, trimmed } from "./format.js";
import { reason, say } from "./words.js";

const at = (id) => document.getElementById(id);

function element(tag, text, classes = "") {
  const made = document.createElement(tag);
  if (text !== null) made.textContent = text;
  if (classes) made.className = classes;
  return made;
}

const row = (...cells) => {
  const made = document.createElement("tr");
  made.append(...cells);
  return made;
};

export function showTabs(view, chosen, choose) {
  const tabs = at("tabs");
  const names = view.symbols.map((each) => each.symbol).join();
  if (tabs.dataset.names !== names) {
    tabs.dataset.names = names;
    tabs.replaceChildren(...view.symbols.map((each) => {
      const tab = element("button", null);
      tab.type = "button";
      tab.role = "tab";
      tab.dataset.symbol = each.symbol;
      tab.append(element("i", "", "dot"), element("b", each.symbol), element("span", ""));
      tab.addEventListener("click", () => choose(each.symbol));
      return tab;
    }));
  }
  view.symbols.forEach((each, place) => {
    const tab = tabs.children[place];
    tab.dataset.state = each.state;
    tab.setAttribute("aria-selected", String(each.symbol === chosen));
    tab.lastChild.textContent = each.price ? number(each.price, decimalsOf(each.tick)) : "–";
  });
}

export function showStanding(view, symbol, link) {
  const standing = at("standing");
  let state = symbol ? symbol.state : "waiting", title = "", why = "";
  if (link !== "live" && link !== "connecting") {
    state = "lost";
    title = say("lost");
    why = view ? say("connection_lost", clock(view.time_ms)) : "";
  } else if (!view || !symbol) {
    title = say(view ? view.phase : "connecting");
  } else if (view.phase === "stopping") {
    state = "ended";
    title = say("stopping");
  } else if (symbol.state === "quoting") {
    title = say("quoting");
    why = say("quoting_reason", symbol.bids, symbol.asks);
    if (symbol.reasons.length) why += " · " + symbol.reasons.map(reason).join("; ");
  } else {
    title = say(symbol.state);
    why = say("not_quoting_because", symbol.reasons.map(reason).join("; "));
    if (symbol.asks || symbol.bids) why += " · " + say("bids_asks", symbol.bids, symbol.asks);
  }
  standing.dataset.state = state;
  at("standing-title").textContent = title;
  at("standing-reason").textContent = why;
  const resting = symbol && (symbol.state === "paused" || symbol.reasons.some((each) => /^(paused|held): |by the operator/.test(each)));
  at("do-pause").hidden = Boolean(resting);
  at("do-resume").hidden = !resting;
  for (const what of ["pause", "resume", "cancel-all", "flatten", "reload"]) {
    at(`do-${what}`).textContent = say(what);
    at(`do-${what}`).disabled = link !== "live" || !symbol;
  }
}

function figure(label, value, unit, note, tone = "") {
  const box = element("div", null, "figure");
  const shown = element("div", value, `value ${tone}`);
  if (unit) shown.append(" ", element("small", unit));
  box.append(element("div", label, "label"), shown, element("div", note, "note"));
  return box;
}

export function showFigures(view, symbol) {
  const { pnl, counters } = symbol, decimals = decimalsOf(symbol.tick);
  const silent = symbol.not_quoting_s.reduce((sum, [, seconds]) => sum + seconds, 0);
  const whole = symbol.quoting_s + silent;
  const equity = view.equity;
  const gained = equity ? Number(equity.now) - Number(equity.opening) : 0;
  const position = Number(symbol.position);
  at("figures").replaceChildren(
    figure(say("last_price"), symbol.price ? number(symbol.price, decimals) : "–", symbol.quote, `${say("price_age")} ${duration(symbol.streams.price_age_s)}`,
      symbol.streams.price_trouble ? "warn" : ""),
    figure(say("quoted"), String(symbol.bids + symbol.asks), "", say("bids_asks", symbol.bids, symbol.asks)),
    figure(say("position"), trimmed(symbol.position), symbol.base,
      position ? `⌀ ${number(symbol.average_price, decimals)} · ${number(symbol.position_value, 0)} ${symbol.quote}` : say("slots_held", symbol.held_slots)),
    figure(say("profit"), signed(Number(pnl.total)), symbol.quote, say("round_trips", counters.fills), direction(Number(pnl.total))),
    figure(say("equity_now"), equity ? number(equity.now) : "–", symbol.quote,
      equity ? `${signed(gained)} ${say("since_start")}` + (Number(equity.residual || 0) ? ` · ${say("residual")} ${trimmed(equity.residual)}` : "") : ""),
    figure(say("quoting_time"), whole ? `${number((100 * symbol.quoting_s) / whole, 1)} %` : "–", "", say("of_time", duration(whole))),
  );
}

export function showSlots(symbol) {
  const rows = [], decimals = decimalsOf(symbol.tick), price = Number(symbol.price);
  const interesting = symbol.slots.filter((slot) => slot.side || Number(slot.held) || !/^outside the window$/.test(slot.why));
  const sorted = [...interesting].sort((a, b) => Number(b.price) - Number(a.price));
  let placed = !symbol.price;
  const here = () => {
    const line = row(element("td", `${number(price, decimals)}`));
    line.className = "here";
    line.firstChild.colSpan = 5;
    placed = true;
    return line;
  };
  for (const slot of sorted) {
    if (!placed && Number(slot.price) < price) rows.push(here());
    const level = element("td", number(slot.price, decimals), "num");
    const held = element("td", Number(slot.held) ? trimmed(slot.held) : "", "num warn");
    if (slot.side) {
      const tag = element("span", `${say(slot.side)} ${number(slot.order_price, decimals)}`, `tag ${slot.side}${slot.state === "pending" ? " pending" : ""}`);
      const order = element("td", null);
      order.append(tag);
      const partly = Number(slot.filled_qty) ? ` (${trimmed(slot.filled_qty)} ✓)` : "";
      rows.push(row(element("td", String(slot.slot), "dim"), level, order, element("td", trimmed(slot.order_qty) + partly, "num"), held));
    } else {
      const why = element("td", reason(slot.why), "why");
      why.colSpan = 2;
      rows.push(row(element("td", String(slot.slot), "dim"), level, why, held));
    }
  }
  if (!placed) rows.push(here());
  at("slots").replaceChildren(...rows);
  at("slots-count").textContent = reason(symbol.interval);
}

const KIND_TAGS = { fill: "blue", order: "", alert: "warn", gate: "warn", operator: "blue" };

function newsText(each, tick) {
  const decimals = tick ? decimalsOf(tick) : 2;
  if (each.kind === "fill") return `${say(each.side)} ${trimmed(each.qty)} @ ${number(each.price, decimals)}${each.maker ? "" : ` · ${say("taker")}`}`;
  if (each.kind === "order") return `${say(each.side)} ${trimmed(each.qty)} @ ${number(each.price, decimals)} · ${each.text}`;
  return reason(each.text);
}

export function showNews(news, kind, ticks) {
  const shown = news.filter((each) => kind === "all" ? each.kind !== "order" : kind === "control" ? each.kind === "operator" || each.kind === "gate" : each.kind === kind).slice(-200).reverse();
  const rows = shown.map((each) => {
    const tag = element("span", say(each.kind === "gate" ? "opened" : each.kind === "operator" ? "control" : each.kind),
      `tag ${each.kind === "fill" ? each.side : each.severity === "error" ? "down" : KIND_TAGS[each.kind]}`);
    const what = element("td", null);
    what.append(tag);
    const result = each.kind === "fill" ? Number(each.realised) - Number(each.fee) : null;
    return row(element("td", clock(each.time_ms), "dim"), what, element("td", each.symbol), element("td", newsText(each, ticks[each.symbol]), "text"),
      element("td", result === null ? "" : signed(result, 4), `num ${each.kind === "fill" && !Number(each.realised) ? "dim" : direction(result || 0)}`));
  });
  if (!rows.length) {
    const none = element("td", say("no_news"), "empty");
    none.colSpan = 5;
    rows.push(row(none));
  }
  at("news").replaceChildren(...rows);
}

export function showRisk(risk) {
  const state = at("risk-state");
  state.textContent = say(`gate_${risk.state}`) + (risk.state === "shut" ? ` · ${say("recovered_of", risk.recovered, risk.needed)}` : "") + (risk.limit ? ` · ${risk.limit}` : "");
  state.className = `state ${risk.state === "open" && !risk.limit ? "up" : risk.state === "off" ? "dim" : "down"}`;
  at("markets").replaceChildren(...risk.markets.map((market) => {
    const box = element("div", null, "market-row");
    const name = element("div", market.symbol + " ");
    const collecting = / closed candles$/.test(market.no_data);
    const word = collecting ? ["no_data_yet", ""] : market.no_data ? ["no_data", "warn"] : market.panics ? ["panics", "down"] : market.recovered ? ["recovered", "up"] : ["calm", ""];
    name.append(element("span", say(word[0]), `tag ${word[1]}`));
    const figures = element("div", market.no_data ? reason(market.no_data) : `${signed(market.deviation * 100, 2)} % · ${number(market.volume_ratio, 1)}×`, "figures-small");
    figures.title = market.no_data ? "" : say("volume_times", number(market.volume_ratio, 2), risk.volume_multiplier);
    const bar = element("div", null, "bar"), fill = element("i", null);
    const share = Math.min(market.volume_ratio / risk.volume_multiplier, 1);
    fill.style.width = `${share * 100}%`;
    fill.className = market.panics ? "bad" : share >= 1 ? "middling" : "good";
    bar.append(fill);
    box.append(name, figures, bar);
    return box;
  }));
}

export function quantile(latency, share) {
  const total = latency.counts.reduce((sum, count) => sum + count, 0);
  let seen = 0;
  for (let place = 0; place < latency.bounds_s.length; place += 1) {
    seen += latency.counts[place];
    if (total && seen >= share * total) return latency.bounds_s[place];
  }
  return null;
}

export function showMachine(view, symbol) {
  const { budget, latency } = view, { streams, counters } = symbol;
  const some = latency.counts.some((count) => count);
  at("machine-note").textContent = some ? say("tick_to_order", short(quantile(latency, 0.5)), short(quantile(latency, 0.99))) : say("no_samples");
  at("budget-text").textContent = `${budget.left} / ${budget.burst}` + (budget.waiting ? ` · ${say("waiting")} ${budget.waiting}` : "");
  const share = budget.left / Math.max(budget.burst, 1), bar = at("budget-bar");
  bar.style.width = `${share * 100}%`;
  bar.className = share > 0.5 ? "good" : share > 0.15 ? "middling" : "bad";
  const refused = budget.refusals.reduce((sum, [, count]) => sum + count, 0);
  const facts = [
    ["price_age", duration(streams.price_age_s)], ["snapshots", say("ago", duration(streams.snapshot_age_s))],
    ["stream_losses", `${streams.price_disconnects} · ${streams.order_disconnects}`], ["queue", `${streams.queue_depth} · ${streams.queue_depth_max}`],
    ["sent", `${budget.sent_places} · ${budget.sent_cancels}`], ["refused", `${refused} · ${budget.unknown}`], ["differences", String(streams.position_differences)],
  ];
  at("facts").replaceChildren(...facts.flatMap(([key, value]) => [element("dt", say(key)), element("dd", value)]));
  at("inventory-now").textContent = `${trimmed(symbol.position)} ${symbol.base}`;
  at("equity-now").textContent = view.equity ? `${number(view.equity.now)} ${symbol.quote}` : "";
  at("footer").textContent = say("footer", "marketmaker", view.version, dateAndClock(view.started_ms), view.pid);
  return counters;
}

export function showLegend(id, entries) {
  at(id).replaceChildren(...entries.map(([colour, text]) => {
    const entry = element("span", null);
    const swatch = element("i", null);
    swatch.style.background = `var(--${colour})`;
    entry.append(swatch, text);
    return entry;
  }));
}

export function showChoices(id, choices, chosen, choose) {
  at(id).replaceChildren(...choices.map(([value, text]) => {
    const button = element("button", text);
    button.type = "button";
    button.setAttribute("aria-pressed", String(value === chosen));
    button.addEventListener("click", () => choose(value));
    return button;
  }));
}
