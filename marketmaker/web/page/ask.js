// What the buttons do: ask first, say what will happen, wait for the outcome, show it.

import { act, forgetToken, keepToken, token } from "./client.js";
import { reason, say } from "./words.js";

const at = (id) => document.getElementById(id);

function toast(text, kind, lasting) {
  const box = document.createElement("div");
  box.className = `toast ${kind}`;
  box.textContent = text;
  at("toasts").append(box);
  if (!lasting) setTimeout(() => box.remove(), 9000);
  return box;
}

function ask({ title, text, more = null, yes, yesClass, wantsToken = false, no = say("no") }) {
  const dialog = at("dialog");
  at("dialog-title").textContent = title;
  at("dialog-text").textContent = text;
  at("dialog-more").replaceChildren(...(more ? [more] : []));
  at("dialog-token-label").hidden = !wantsToken;
  at("dialog-token").value = "";
  at("dialog-no").textContent = no;
  at("dialog-yes").textContent = yes;
  at("dialog-yes").className = `act ${yesClass}`;
  at("dialog-yes").hidden = !yes;
  dialog.returnValue = "";
  dialog.showModal();
  (wantsToken ? at("dialog-token") : at("dialog-no")).focus();
  return new Promise((settle) => {
    dialog.addEventListener("close", () => settle(dialog.returnValue === "yes"), { once: true });
  });
}

export async function askToken(text = say("about_token")) {
  const given = await ask({ title: say("enter_token"), text, yes: say("apply"), yesClass: "solid", wantsToken: true });
  const value = at("dialog-token").value.trim();
  at("dialog-token").value = "";
  if (!given || !value) return false;
  keepToken(value);
  return true;
}

async function withToken(work) {
  if (!token() && !(await askToken())) return null;
  try {
    return await work();
  } catch (error) {
    if (error.status !== 401) throw error;
    forgetToken();
    if (!(await askToken(`${say("wrong_token")} ${say("about_token")}`))) return null;
    return work();
  }
}

async function carryOut(what, body) {
  const busy = toast(say("working", say(what)), "busy", true);
  try {
    const outcome = await withToken(() => act(what, body));
    if (outcome) {
      const told = outcome.symbols ? outcome.symbols.map((row) => `${row.symbol}: ${row.text}`).join("\n") : outcome.text;
      toast(`${say(what)}: ${say(outcome.done ? "done" : "not_done")}. ${told}`, outcome.done ? "" : "bad");
    }
    return outcome;
  } catch (error) {
    toast(`${say(what)}: ${say("not_done")}. ${error.message}`, "bad");
    return null;
  } finally {
    busy.remove();
  }
}

export async function control(what, row) {
  const held = `${row.position} ${row.base}`;
  const sure = await ask({
    title: say(`ask_${what}`, row.symbol),
    text: say(`about_${what}`, row.symbol, held),
    yes: say("do_it", say(what)),
    yesClass: what === "flatten" || what === "cancel-all" ? "solid-bad" : "solid",
  });
  if (sure) await carryOut(what, { symbols: [row.symbol] });
}

function planOf(plan) {
  const list = document.createElement("ul");
  const line = (text) => {
    const item = document.createElement("li");
    item.textContent = text;
    list.append(item);
  };
  for (const problem of plan.problems) line(problem);
  for (const change of plan.changes) {
    line(`${change.key}: ${change.old} → ${change.new}${change.refused ? ` (${say("needs_restart")})` : ""}`);
  }
  if (plan.orders.length) {
    const cancels = plan.orders.filter((order) => order.what === "cancel").length;
    line(say("orders_move", cancels, plan.orders.length - cancels));
    for (const order of plan.orders.slice(0, 30)) line(`${order.symbol} ${order.what} ${say(order.side)} ${order.qty} @ ${order.price}: ${reason(order.reason)}`);
  }
  return list;
}

export async function reload() {
  let plan = null;
  try {
    plan = await withToken(() => act("reload", { apply: false }));
  } catch (error) {
    toast(`${say("reload")}: ${error.message}`, "bad");
  }
  if (!plan) return;
  const something = plan.changes.some((change) => !change.refused) && plan.done;
  const sure = await ask({
    title: something ? say("ask_reload") : say("reload"),
    text: plan.changes.length || plan.problems.length ? say("about_reload") : say("nothing_differs"),
    more: planOf(plan),
    yes: something ? say("apply") : "",
    yesClass: "solid",
    no: something ? say("no") : say("close"),
  });
  if (sure) await carryOut("reload", { apply: true });
}
