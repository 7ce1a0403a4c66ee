// Values as text: numbers with their units, moments, states as word and shape.

import { h } from "./dom.js";

export const NONE = "–"; // how an unknown value looks; never 0

const STATES = {
  up: ["●", "good"],
  draining: ["◐", "warn"],
  loading: ["◌", "info"],
  down: ["✕", "bad"],
  disabled: ["○", "muted"],
  unknown: ["?", "muted"],
};
const PHASES = {
  routing: ["›", "info"],
  queued: ["≡", "warn"],
  waiting: ["◌", "info"],
  streaming: ["»", "accent"],
  done: ["✓", "good"],
  failed: ["✕", "bad"],
  cancelled: ["⊘", "warn"],
};
const TRUST = {
  "in use": ["●", "good"],
  "left out": ["⊘", "bad"],
  "on trial": ["◐", "warn"],
};
const MARKS = { ...STATES, ...PHASES, ...TRUST };
const SERVED = new Set(["done", "cancelled"]);
const RUNNING = new Set(["routing", "queued", "waiting", "streaming"]);

export const isRunning = (request) => RUNNING.has(request.phase);

/** A state as shape, word and colour, so that no meaning hangs on colour alone. */
export function mark(word) {
  const [glyph, tone] = MARKS[word] ?? ["?", "muted"];
  return h("span", { class: `mark ${tone}` }, h("i", { "aria-hidden": "true" }, glyph), word);
}

const HIDDEN = /(?!\u200d)[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;
const STACKED = /(\p{M}{2})\p{M}+/gu;
const LONGEST = 300;

/** A foreign string as one harmless line. */
export function clean(text) {
  const shown = String(text).replace(HIDDEN, "·").replace(STACKED, "$1");
  return shown.length > LONGEST ? `${shown.slice(0, LONGEST)}…` : shown;
}

/** A foreign name on the page: kept from changing the direction of what is around it. */
export function name(text, props) {
  const shown = clean(text);
  return h("bdi", { class: "name", title: shown, ...props }, shown.trim() || NONE);
}

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
export const count = (value) => (value === null || value === undefined ? NONE : whole.format(value));
export const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** 0.4, 8.2, 41, 1,204 */
export const rate = (value) =>
  value === null || value === undefined ? NONE : value > 0 && value < 10 ? value.toFixed(1) : count(value);

/** A span of time, as number and unit. */
export function span(ms) {
  if (ms === null || ms === undefined) return [NONE, ""];
  if (ms < 10) return [ms.toFixed(1), "ms"];
  if (ms < 1000) return [ms.toFixed(0), "ms"];
  return ms < 60_000 ? [(ms / 1000).toFixed(1), "s"] : [duration(ms / 1000), ""];
}

export const milliseconds = (ms) => span(ms).join("\u00a0").trim();

/** 8 s, 1 m 05 s, 2 h 03 m, 3 d 4 h */
export function duration(seconds) {
  const total = Math.max(0, Math.floor(seconds));
  const [days, hours, minutes, rest] =
    [Math.floor(total / 86400), Math.floor(total / 3600) % 24, Math.floor(total / 60) % 60, total % 60];
  const two = (value) => String(value).padStart(2, "0");
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${two(minutes)} m`;
  return minutes ? `${minutes} m ${two(rest)} s` : `${rest} s`;
}

/** The same for the width of a chart: 10 m */
export const length = (seconds) => duration(seconds).replace(" 00 s", "");

/** A moment as how long ago it was, with the moment itself to be had by pointing at it. */
export function ago(at, now) {
  if (at === null || at === undefined) return "never";
  const seconds = now - at;
  const text = seconds < 1 ? "now" : `${duration(seconds)} ago`;
  const moment = new Date(at * 1000);
  return h("time", { datetime: moment.toISOString(), title: moment.toLocaleString() }, text);
}

/** Money in USD: never $0.00 for something that is not zero. */
export function money(usd) {
  if (usd === null || usd === undefined) return NONE;
  if (usd === 0) return "$0";
  const digits = Math.abs(usd) >= 1 ? 2 : Math.abs(usd) >= 0.0001 ? 4 : 7;
  return usd.toLocaleString("en-US", {
    style: "currency", currency: "USD", minimumFractionDigits: digits, maximumFractionDigits: digits,
  });
}

/** What a request cost; what ran at home costs nothing, which is not the same as $0. While it runs
 *  nobody knows, and what nobody served is not told to be free. */
export function cost(request) {
  if (request.cost_source === "n/a") return SERVED.has(request.phase) && request.backend ? "free" : NONE;
  return request.cost_usd === null ? "unknown" : money(request.cost_usd);
}

/** 512, 8k for 8192, 200k for 200000 */
export function tokens(value) {
  if (value === null || value === undefined) return NONE;
  if (value < 1024) return String(value);
  if (value % 1024 === 0) return `${value / 1024}k`;
  return value < 10_000 ? `${(value / 1000).toFixed(1)}k` : `${Math.round(value / 1000)}k`;
}

/** Usable context, and the trained one where it is larger. */
export function context(model) {
  const { context_length: usable, max_context: trained } = model;
  if (usable === null && trained === null) return NONE;
  return trained === null || (usable !== null && trained <= usable)
    ? tokens(usable) : `${tokens(usable)} of ${tokens(trained)}`;
}

/** Time from the first token to the last, in tokens per second; null where that is unknown. */
export function speed(request) {
  const ms = request.total_ms - request.first_token_ms;
  if (!request.completion_tokens || !request.first_token_ms || !request.total_ms || ms < 50) return null;
  return (request.completion_tokens / ms) * 1000;
}

/** The middle, or another part, of some numbers. */
export function quantile(numbers, part = 0.5) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] : null;
}
