// How the page talks to the daemon: the token, requests, and the stream of readings.

const KEY = "marketmaker-token";

function tokenOfAddress() {
  const found = /(?:^#|&)token=([^&]+)/.exec(location.hash);
  if (!found) return;
  localStorage.setItem(KEY, decodeURIComponent(found[1]));
  history.replaceState(null, "", location.pathname + location.search);
}
tokenOfAddress();

export const token = () => localStorage.getItem(KEY) || "";
export const keepToken = (value) => localStorage.setItem(KEY, value.trim());
export const forgetToken = () => localStorage.removeItem(KEY);

function headers(extra = {}) {
  return token() ? { Authorization: `Bearer ${token()}`, ...extra } : extra;
}

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function answerOf(response) {
  const body = await response.json();
  if (!response.ok) throw new Refused(response.status, body.error || response.statusText);
  return body;
}

export const read = async (path) => answerOf(await fetch(path, { headers: headers() }));

export const act = async (what, body) =>
  answerOf(await fetch(`/control/${what}`, { method: "POST", headers: headers({ "Content-Type": "application/json" }), body: JSON.stringify(body) }));

// Until the stream ends; `hear(event, data)` is called for each message, after `opened()` has read the past: nothing between
// the two is missed. A stream that says nothing for long is dropped.
export async function follow(hear, opened) {
  const ending = new AbortController();
  let watchdog = setTimeout(() => ending.abort(), 25000);
  const response = await fetch("/events", { headers: headers(), signal: ending.signal });
  if (!response.ok) {
    clearTimeout(watchdog);
    throw new Refused(response.status, (await response.json()).error);
  }
  let rest = "";
  try {
    await opened();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(watchdog);
      watchdog = setTimeout(() => ending.abort(), 25000);
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        const event = /^event: (.*)$/m.exec(part), data = /^data: (.*)$/m.exec(part);
        if (event && data) hear(event[1], JSON.parse(data[1]));
      }
    }
  } finally {
    clearTimeout(watchdog);
    ending.abort();
  }
}
