// What an operator may do from here: asked first, then told how it went.

import { h } from "./dom.js";
import { change, state } from "./store.js";
import { clean } from "./words.js";

const COMMANDS = "/nexus/v1/commands";
const TOAST_MS = 6000;

async function post(path, body) {
  const response = await fetch(path, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error?.message ?? `status ${response.status}`);
  return answer;
}

/** Run a verb; first ask what the gateway wants asked, or else `question`, if there is one. */
export async function act(verb, args, question = null) {
  try {
    const { question: consequence } = await post(`${COMMANDS}/${verb}/consequence`, args);
    const ask = consequence ?? question;
    if (ask === null) await run(verb, args);
    else change({ asking: { verb, args, question: ask } });
  } catch (error) {
    tell(error.message, "bad");
  }
}

async function run(verb, args) {
  try {
    tell((await post(`${COMMANDS}/${verb}`, args)).message, "good");
  } catch (error) {
    tell(error.message, "bad");
  }
}

export function toggleAirplane() {
  const wanted = state.airplane ? "off" : "on";
  act("gateway.airplane", { state: wanted },
    state.airplane ? "Let clouds have requests again?" : "Turn airplane mode on? Nothing is sent to clouds any more.");
}

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    tell("The address is copied.", "good");
  } catch {
    tell(`This browser does not let a page copy; the address is ${text}`, "warn");
  }
}

export function tell(text, tone) {
  const toast = { text, tone, id: Math.random() };
  change({ toast });
  setTimeout(() => state.toast === toast && change({ toast: null }), TOAST_MS);
}

/** The question that is open, and how the last act went. */
export function dialogs(now) {
  const asked = now.asking;
  const close = (event) => event.target.closest("dialog").close();
  return [
    asked && h("dialog", {
      key: "asking", class: "question", "aria-labelledby": "asked", hook: (node) => node.showModal(), onclose: () => change({ asking: null }),
    }, h("p", { id: "asked" }, clean(asked.question)),
      h("footer", null,
        h("button", { autofocus: true, onclick: close }, "Cancel"),
        h("button", { class: "primary", onclick: (event) => { close(event); run(asked.verb, asked.args); } }, "Do it"))),
    h("div", { key: "toast", class: `toast ${now.toast ? now.toast.tone : "gone"}`, role: "status", "aria-live": "polite" }, now.toast ? clean(now.toast.text) : ""),
  ];
}
