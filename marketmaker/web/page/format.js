// Numbers and times as people read them.

import { isChinese, locale } from "./words.js";

export const decimalsOf = (step) => (String(step).split(".")[1] || "").length;

export function number(value, decimals = 2) {
  const shown = Number(value).toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  return /^-[0.,]+$/.test(shown) ? shown.slice(1) : shown.replace("-", "−");
}

export function signed(value, decimals = 2) {
  const shown = number(Math.abs(value), decimals);
  const isZero = Number(shown.replace(/,/g, "")) === 0;
  return (isZero ? "" : value > 0 ? "+" : "−") + shown;
}

export const trimmed = (text) => (String(text).includes(".") ? String(text).replace(/0+$/, "").replace(/\.$/, "") : String(text));

export const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB");

export const dateAndClock = (ms) => new Date(ms).toLocaleString(locale(), { dateStyle: "medium", timeStyle: "medium" });

export function duration(seconds) {
  if (seconds == null) return "–";
  const units = isChinese() ? [" 秒", " 分", " 小时", " 天"] : [" s", " min", " h", " d"];
  if (seconds < 10) return seconds.toFixed(1) + units[0];
  if (seconds < 100) return Math.round(seconds) + units[0];
  if (seconds < 5400) return Math.round(seconds / 60) + units[1];
  if (seconds < 172800) return (seconds / 3600).toFixed(1) + units[2];
  return Math.round(seconds / 86400) + units[3];
}

export function short(seconds) {
  if (seconds == null) return "> 1 s";
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${(seconds * 1e3).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  return `${seconds.toFixed(1)} s`;
}

export const direction = (value) => (value > 0 ? "up" : value < 0 ? "down" : "");
