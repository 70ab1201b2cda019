// Canvas plots: the price with its ladder, lines over time, a histogram. Redrawn as a whole, crisp on any screen.

import { number, clock } from "./format.js";

export const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const FONT = '11px system-ui, -apple-system, "Segoe UI", "PingFang SC", sans-serif';

function prepare(canvas) {
  const box = canvas.getBoundingClientRect();
  const ratio = window.devicePixelRatio || 1;
  const width = Math.max(box.width, 10), height = Math.max(box.height, 10);
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = FONT;
  pen.textBaseline = "middle";
  pen.lineJoin = "round";
  return { pen, width, height };
}

function niceSteps(low, high, wanted) {
  const raw = (high - low) / Math.max(wanted, 1);
  if (!(raw > 0)) return [];
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((each) => each >= raw);
  const steps = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) steps.push(at);
  return steps;
}

function timeSteps(from, to, wanted) {
  const spans = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200].map((s) => s * 1000);
  const step = spans.find((each) => (to - from) / each <= wanted) || spans[spans.length - 1];
  const steps = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) steps.push(at);
  return { steps, step };
}

function timeLabel(ms, step) {
  const text = clock(ms);
  return step < 60000 ? text : text.slice(0, 5);
}

// The prices of the lines, over what is drawn between them and legible on it.
function labelRows(pen, area, scaleY, low, high, decimals) {
  if (area.right - area.left <= 420) return;
  pen.textAlign = "left";
  pen.lineWidth = 4; pen.lineJoin = "round";
  pen.strokeStyle = ink("panel"); pen.fillStyle = ink("dim");
  for (const at of niceSteps(low, high, Math.max(2, Math.round((area.bottom - area.top) / 52)))) {
    const y = Math.round(scaleY(at)) + 0.5;
    if (y <= area.top + 14) continue;
    pen.strokeText(number(at, decimals), area.left + 2, y - 7);
    pen.fillText(number(at, decimals), area.left + 2, y - 7);
  }
}

function frame(pen, area, scaleY, low, high, from, to, decimals, rightLabels) {
  pen.lineWidth = 1;
  pen.strokeStyle = ink("line");
  pen.fillStyle = ink("dim");
  const rows = niceSteps(low, high, Math.max(2, Math.round((area.bottom - area.top) / 52)));
  const fewest = rows.length > 1 ? Math.max(decimals, Math.min(6, -Math.floor(Math.log10(rows[1] - rows[0] + 1e-12)))) : decimals;
  for (const at of rows) {
    const y = Math.round(scaleY(at)) + 0.5;
    pen.beginPath();
    pen.moveTo(area.left, y);
    pen.lineTo(area.right, y);
    pen.stroke();
    pen.textAlign = "left";
    if (rightLabels) pen.fillText(number(at, Math.min(fewest, 6)), area.right + 6, y);
  }
  const { steps, step } = timeSteps(from, to, Math.max(2, Math.floor((area.right - area.left) / 96)));
  pen.textAlign = "center";
  for (const at of steps) {
    const x = area.left + ((at - from) / (to - from)) * (area.right - area.left);
    if (x > area.left + 24 && x < area.right - 18) pen.fillText(timeLabel(at, step), x, area.bottom + 11);
  }
}

function trace(pen, points, scaleX, scaleY) {
  pen.beginPath();
  points.forEach(([at, value], place) => (place ? pen.lineTo(scaleX(at), scaleY(value)) : pen.moveTo(scaleX(at), scaleY(value))));
}

// orders: [{price, side, qty}], held: [price], fills: [{time, price, side}], hover: {x, y} or null
export function drawPrice(canvas, { points, orders, held, fills, from, to, decimals, hover, words }) {
  const { pen, width, height } = prepare(canvas);
  const gutter = width < 500 ? 72 : 86, ladder = width < 500 ? 54 : 120;
  const area = { left: 6, right: width - gutter - ladder, top: 8, bottom: height - 22 };
  if (!points.length) return;
  const seen = points.filter(([at]) => at >= from);
  const prices = (seen.length ? seen : points.slice(-1)).map(([, price]) => price);
  const last = points[points.length - 1][1];
  const near = [...orders].sort((a, b) => Math.abs(a.price - last) - Math.abs(b.price - last)).slice(0, 24);
  let low = Math.min(...prices, ...near.map((each) => each.price)), high = Math.max(...prices, ...near.map((each) => each.price));
  const room = (high - low || last * 0.0005 || 1) * 0.06;
  low -= room; high += room;
  const scaleX = (at) => area.left + ((at - from) / (to - from)) * (area.right - area.left);
  const scaleY = (price) => area.bottom - ((price - low) / (high - low)) * (area.bottom - area.top);
  frame(pen, area, scaleY, low, high, from, to, decimals, false);

  // the ladder: what rests, from the end of the plot to the right
  const start = area.right + 2, end = width - gutter;
  const most = Math.max(...orders.map((each) => each.qty), 1e-12);
  let labelled = [];
  for (const order of [...orders].sort((a, b) => Math.abs(a.price - last) - Math.abs(b.price - last))) {
    const y = scaleY(order.price);
    if (y < area.top - 4 || y > area.bottom + 4) continue;
    const colour = ink(order.side === "buy" ? "green" : "red");
    pen.strokeStyle = colour;
    pen.globalAlpha = 0.16;
    pen.lineWidth = 1;
    pen.beginPath(); pen.moveTo(area.left, Math.round(y) + 0.5); pen.lineTo(start, Math.round(y) + 0.5); pen.stroke();
    pen.globalAlpha = order.pending ? 0.45 : 0.95;
    pen.fillStyle = colour;
    const length = (end - start - 6) * (0.35 + 0.65 * (order.qty / most));
    pen.beginPath(); pen.roundRect(start, y - 2.5, length, 5, 2.5); pen.fill();
    pen.globalAlpha = 1;
    if (labelled.every((other) => Math.abs(other - y) >= 13) && Math.abs(y - scaleY(last)) >= 15) {
      labelled.push(y);
      pen.textAlign = "left";
      pen.fillText(number(order.price, decimals), end + 4, y);
    }
  }
  pen.lineWidth = 2;
  pen.strokeStyle = ink("amber");
  for (const price of held) {
    const y = scaleY(price);
    if (y < area.top - 4 || y > area.bottom + 4) continue;
    pen.beginPath(); pen.arc(area.right - 5, y, 3.5, 0, Math.PI * 2); pen.stroke();
  }

  pen.save();
  pen.beginPath(); pen.rect(area.left, area.top - 6, area.right - area.left + 1, area.bottom - area.top + 12); pen.clip();
  pen.strokeStyle = ink("blue");
  pen.lineWidth = 1.6;
  trace(pen, points, scaleX, scaleY);
  pen.stroke();
  pen.lineTo(scaleX(points[points.length - 1][0]), area.bottom); pen.lineTo(scaleX(points[0][0]), area.bottom); pen.closePath();
  const shade = pen.createLinearGradient(0, area.top, 0, area.bottom);
  shade.addColorStop(0, ink("blue") + "2e"); shade.addColorStop(1, ink("blue") + "00");
  pen.fillStyle = shade; pen.fill();
  for (const fill of fills) {
    if (fill.time < from) continue;
    const x = scaleX(fill.time), y = scaleY(fill.price), up = fill.side === "buy";
    pen.fillStyle = ink(up ? "green" : "red");
    pen.strokeStyle = ink("panel");
    pen.lineWidth = 1;
    pen.beginPath();
    const tip = up ? y + 2 : y - 2, foot = up ? y + 9 : y - 9;
    pen.moveTo(x, tip); pen.lineTo(x - 4.5, foot); pen.lineTo(x + 4.5, foot); pen.closePath(); pen.fill(); pen.stroke();
  }
  pen.restore();
  labelRows(pen, area, scaleY, low, high, decimals);

  const lastY = scaleY(last), nowX = Math.min(scaleX(points[points.length - 1][0]), area.right);
  pen.setLineDash([3, 4]); pen.strokeStyle = ink("blue"); pen.globalAlpha = 0.7; pen.lineWidth = 1;
  pen.beginPath(); pen.moveTo(nowX, lastY); pen.lineTo(end, lastY); pen.stroke();
  pen.setLineDash([]); pen.globalAlpha = 1;
  pen.fillStyle = ink("blue");
  pen.beginPath(); pen.arc(nowX, lastY, 3.5, 0, Math.PI * 2); pen.fill();
  pen.beginPath(); pen.roundRect(end, lastY - 10, gutter - 2, 20, 5); pen.fill();
  pen.fillStyle = "#fff"; pen.textAlign = "left"; pen.font = "600 " + FONT;
  pen.fillText(number(last, decimals), end + 5, lastY);
  pen.font = FONT;
  if (hover && hover.x < area.right && hover.x > area.left) cross(pen, area, hover, points, scaleX, scaleY, from, to, decimals, fills, words);
}

function cross(pen, area, hover, points, scaleX, scaleY, from, to, decimals, fills, words) {
  const at = from + ((hover.x - area.left) / (area.right - area.left)) * (to - from);
  const nearest = points.reduce((best, each) => (Math.abs(each[0] - at) < Math.abs(best[0] - at) ? each : best));
  const x = scaleX(nearest[0]), y = scaleY(nearest[1]);
  pen.strokeStyle = ink("faint"); pen.lineWidth = 1;
  pen.beginPath(); pen.moveTo(Math.round(x) + 0.5, area.top); pen.lineTo(Math.round(x) + 0.5, area.bottom); pen.stroke();
  pen.fillStyle = ink("blue"); pen.beginPath(); pen.arc(x, y, 4, 0, Math.PI * 2); pen.fill();
  const fill = fills.find((each) => Math.hypot(scaleX(each.time) - hover.x, scaleY(each.price) - hover.y) < 14);
  bubble(pen, area, x, [clock(nearest[0]), number(nearest[1], decimals), ...(fill ? [`${words[fill.side]} ${fill.qty} @ ${number(fill.price, decimals)}`] : [])]);
}

function bubble(pen, area, x, lines) {
  const wide = Math.max(...lines.map((line) => pen.measureText(line).width)) + 16, tall = lines.length * 16 + 8;
  const left = x + 12 + wide > area.right ? x - 12 - wide : x + 12;
  pen.fillStyle = ink("raised"); pen.strokeStyle = ink("line"); pen.lineWidth = 1;
  pen.beginPath(); pen.roundRect(left, area.top + 4, wide, tall, 6); pen.fill(); pen.stroke();
  pen.fillStyle = ink("text"); pen.textAlign = "left";
  lines.forEach((line, place) => pen.fillText(line, left + 8, area.top + 16 + place * 16));
}

// lines: [{colour, points: [[ms, value]], wide, filled, stepped}]
export function drawLines(canvas, { lines, from, to, decimals, zero, hover, least }) {
  const { pen, width, height } = prepare(canvas);
  const all = lines.flatMap((line) => line.points.filter(([at]) => at >= from).map(([, value]) => value));
  if (!all.length) return;
  let low = Math.min(...all, ...(zero ? [0] : [])), high = Math.max(...all, ...(zero ? [0] : []));
  const flat = Math.max(least || 0, Math.abs(high) * 1e-5, 1e-9);
  if (high - low < flat) { const middle = (high + low) / 2; low = middle - flat / 2; high = middle + flat / 2; }
  const room = (high - low) * 0.1;
  low -= room; high += room;
  const area = { left: 8, right: width - 62, top: 6, bottom: height - 20 };
  const scaleX = (at) => area.left + ((at - from) / (to - from)) * (area.right - area.left);
  const scaleY = (value) => area.bottom - ((value - low) / (high - low)) * (area.bottom - area.top);
  frame(pen, area, scaleY, low, high, from, to, decimals, true);
  if (zero && low < 0 && high > 0) {
    pen.strokeStyle = ink("faint"); pen.beginPath(); pen.moveTo(area.left, Math.round(scaleY(0)) + 0.5); pen.lineTo(area.right, Math.round(scaleY(0)) + 0.5); pen.stroke();
  }
  pen.save();
  pen.beginPath(); pen.rect(area.left, 0, area.right - area.left + 4, height); pen.clip();
  for (const line of lines) {
    const points = line.stepped ? steps(line.points) : line.points;
    if (!points.length) continue;
    pen.strokeStyle = ink(line.colour); pen.lineWidth = line.wide ? 2.2 : 1.3;
    trace(pen, points, scaleX, scaleY);
    pen.stroke();
    if (line.filled) {
      const base = scaleY(zero ? Math.min(Math.max(0, low), high) : low);
      pen.lineTo(scaleX(points[points.length - 1][0]), base); pen.lineTo(scaleX(points[0][0]), base); pen.closePath();
      pen.globalAlpha = 0.13; pen.fillStyle = ink(line.colour); pen.fill(); pen.globalAlpha = 1;
    }
  }
  pen.restore();
  if (hover && hover.x < area.right && hover.x > area.left) {
    const at = from + ((hover.x - area.left) / (area.right - area.left)) * (to - from);
    const base = lines[0].points;
    if (!base.length) return;
    const nearest = base.reduce((best, each) => (Math.abs(each[0] - at) < Math.abs(best[0] - at) ? each : best));
    const x = scaleX(nearest[0]);
    pen.strokeStyle = ink("faint"); pen.lineWidth = 1;
    pen.beginPath(); pen.moveTo(Math.round(x) + 0.5, area.top); pen.lineTo(Math.round(x) + 0.5, area.bottom); pen.stroke();
    bubble(pen, area, x, [clock(nearest[0]), ...lines.map((line) => `${line.name} ${number((line.points.find(([t]) => t === nearest[0]) || nearest)[1], decimals)}`)]);
  }
}

function steps(points) {
  return points.flatMap(([at, value], place) => (place ? [[at, points[place - 1][1]], [at, value]] : [[at, value]]));
}

export function drawHistogram(canvas, { bounds, counts, marks }) {
  const { pen, width, height } = prepare(canvas);
  const first = counts.findIndex((count) => count), lastFrom = [...counts].reverse().findIndex((count) => count);
  if (first < 0) return;
  const from = Math.max(first - 2, 0), to = Math.min(counts.length - lastFrom + 1, counts.length - 1);
  const shown = counts.slice(from, to + 1), most = Math.max(...shown);
  const left = 8, right = width - 8, bottom = height - 16, each = (right - left) / shown.length;
  pen.fillStyle = ink("violet");
  shown.forEach((count, place) => {
    const tall = count ? Math.max(2, (count / most) * (bottom - 6)) : 0;
    pen.globalAlpha = 0.85;
    pen.beginPath(); pen.roundRect(left + place * each + 1, bottom - tall, Math.max(each - 2, 1), tall, 2); pen.fill();
  });
  pen.globalAlpha = 1;
  pen.fillStyle = ink("dim"); pen.textAlign = "left";
  pen.fillText(marks(bounds[from]), left, height - 7);
  pen.textAlign = "right";
  pen.fillText(marks(bounds[Math.min(to, bounds.length - 1)]), right, height - 7);
}
