// Inline SVG. Every chart has its unit and its ends written beside it, and a sentence for who
// cannot see it.

import { h } from "./dom.js";
import { milliseconds, money } from "./words.js";

const r = (value) => Math.round(value * 10) / 10;

/** A line over time. `points`: [x from 0 to 1, value]; `top`: the largest value drawn; `bad`: points
 *  of a part of it that went wrong. */
export function line(points, { top, label, from, until = "now", unit, bad = [] }) {
  const [width, height] = [240, 44];
  const at = ([x, value]) => `${r(x * width)} ${r(height - 1 - (value / (top || 1)) * (height - 3))}`;
  const above = (point) => (point[1] > 0 ? at(point) : `${r(point[0] * width)} ${height}`);
  const area = (kind, shown) => shown.length > 1 &&
    h("path", { class: kind, d: `M${r(shown[0][0] * width)} ${height} L${shown.map(kind === "wrong" ? above : at).join(" L")} L${r(shown.at(-1)[0] * width)} ${height}z` });
  return h("figure", { class: "line" },
    h("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
      h("line", { class: "axis", x1: 0, x2: width, y1: height - 0.5, y2: height - 0.5 }),
      area("area", points),
      bad.some(([, value]) => value > 0) && area("wrong", bad),
      points.length > 1 && h("path", { class: "stroke", d: `M${points.map(at).join(" L")}` })),
    h("figcaption", null, h("span", null, from), h("span", null, `peak ${unit}`), h("span", null, until)));
}

/** Bars over time for a card, without words of its own but for a title. */
export function pulse(values, label) {
  const [step, height] = [8, 22];
  const top = Math.max(...values, 0) || 1;
  return h("svg", { class: "pulse", viewBox: `0 0 ${values.length * step} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    h("title", null, label),
    values.map((value, n) => {
      const tall = r(value > 0 ? Math.max(2, (value / top) * height) : 1);
      return h("rect", { class: value > 0 ? "some" : "none", x: n * step, y: height - tall, width: step - 2, height: tall });
    }));
}

/** How much of the most it is, as a bar; `parts` as for `gauge`. */
export function share(parts, most) {
  let at = 0;
  return h("svg", { class: "share", viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" },
    h("rect", { class: "rest", width: 100, height: 4 }),
    parts.map(([value, kind]) => {
      const x = at;
      at += most > 0 ? (value / most) * 100 : 0;
      return h("rect", { class: kind, x: r(x), width: r(value > 0 ? Math.max(1, at - x) : 0), height: 4 });
    }));
}

/** A row of small bars, each 0 to 1 or unknown. */
export function strip(values, label) {
  const width = 5;
  return h("svg", { class: "strip", viewBox: `0 0 ${values.length * width} 16`, role: "img", "aria-label": label },
    values.map((value, n) => value === null
      ? h("rect", { class: "none", x: n * width, y: 14, width: width - 1, height: 2 })
      : h("rect", { class: value < 0.9 ? "low" : "", x: n * width, y: r(16 - Math.max(2, value * 16)), width: width - 1, height: r(Math.max(2, value * 16)) })));
}

/** Slots of a backend: a box each, at most `most`, those in use filled. */
export function slots(used, total, most = 16) {
  const shown = Math.min(total, most);
  const filled = Math.ceil((Math.min(used, total) / total) * shown);
  return h("span", { class: "slots", "aria-hidden": "true" },
    Array.from({ length: shown }, (_, n) => h("i", { class: n < filled ? "on" : "" })));
}

/** How much of a limit is used: `parts` are [value, class], one after the other. */
export function gauge(parts, limit, { label, marks = [] }) {
  let at = 0;
  const part = (value) => r(Math.min(100, (value / limit) * 100));
  return h("svg", { class: "gauge", viewBox: "0 0 100 6", preserveAspectRatio: "none", role: "img", "aria-label": label },
    h("rect", { class: "rest", width: 100, height: 6 }),
    parts.map(([value, kind]) => {
      const x = at;
      at = Math.min(100, at + part(value));
      return h("rect", { class: kind, x, width: r(at - x), height: 6 });
    }),
    marks.map((value) => h("rect", { class: "tick", x: part(value) - 0.15, width: 0.3, height: 6 })));
}

/** One bar a day. `rows`: [{label, value, guessed, title}]; `guessed` is the part that is estimated. */
export function days(rows, label) {
  const [width, height, left, bottom] = [innerWidth < 768 ? 330 : 640, 170, 58, 22];
  const top = nice(Math.max(...rows.map((row) => row.value), 0));
  const step = (width - left - 6) / Math.max(rows.length, 1); // the last day's number is wider than its bar
  const y = (value) => r(8 + (height - bottom - 8) * (1 - value / top));
  return h("svg", { class: "days", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label },
    [0, top].map((value) => [
      h("line", { class: "axis", x1: left, x2: width, y1: y(value), y2: y(value) }),
      h("text", { class: "end", x: left - 8, y: y(value) + 4 }, money(value)),
    ]),
    rows.map((row, n) => h("g", null,
      h("title", null, row.title),
      h("rect", { class: "hit", x: r(left + n * step), y: 0, width: r(step), height: height - bottom }),
      h("rect", { class: "column", x: r(left + n * step + step * 0.15), y: y(row.value), width: r(step * 0.7), height: r(Math.max(0, height - bottom - y(row.value))), rx: 2 }),
      row.guessed > 0 && h("rect", { class: "guessed", x: r(left + n * step + step * 0.15), y: y(row.value), width: r(step * 0.7), height: r(y(row.value - row.guessed) - y(row.value)), rx: 2 }))),
    rows.map((row, n) => (rows.length - 1 - n) % Math.ceil(rows.length / (width / 60)) === 0 &&
      h("text", { class: "middle", x: r(left + (n + 0.5) * step), y: height - 5 }, row.label)));
}

/** The next larger of 1, 2, 5 times a power of ten. */
export function nice(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((factor) => factor * power >= value * 0.999) * power;
}

/** What a request's time went into: [{from, until, kind, label}] in ms, and how long it took. */
export function parts(request, now) {
  const total = request.total_ms ?? Math.max(0, (now - request.started) * 1000);
  const found = [];
  const add = (kind, label, from, until) => {
    if (until > from) found.push({ kind, label, from, until: Math.min(until, total) });
  };
  let at = request.route_ms ?? 0;
  add("route", "routing", 0, at);
  if (request.queued_ms) add("queue", "in the queue", at, at + request.queued_ms);
  else if (request.phase === "queued") add("queue", "in the queue", at, total);
  for (const one of request.attempts) {
    const who = request.attempts.length > 1 ? `${one.backend}: ` : "";
    const from = Math.max(0, (one.started - request.started) * 1000);
    const end = one.total_ms === null ? total : from + one.total_ms;
    if (one.error) add("failed", `${who}failed`, from, end);
    else {
      const first = one.first_token_ms === null ? end : from + one.first_token_ms;
      const connected = Math.min(first, from + (one.connect_ms ?? 0));
      add("connect", `${who}connecting`, from, connected);
      add("wait", `${who}to the first token`, connected, first);
      add("stream", `${who}answering`, first, end);
    }
  }
  return { parts: found, total };
}

/** The same as one thin bar, `longest` being as wide as it gets. */
export function sliver(request, now, longest) {
  const { parts: found, total } = parts(request, now);
  const scale = 100 / (longest || total || 1);
  return h("svg", { class: "sliver", viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" },
    h("rect", { class: "whole", width: r(Math.max(0.8, total * scale)), height: 4 }),
    found.map((one) => h("rect", { class: one.kind, x: one.from * scale, width: Math.max(0.4, (one.until - one.from) * scale), height: 4 })));
}

/** The same as a waterfall: a row for each part, on a common axis. */
export function waterfall(request, now) {
  const { parts: found, total } = parts(request, now);
  const end = total || 1;
  const ticks = [0, 0.25, 0.5, 0.75, 1];
  return h("div", { class: "waterfall", role: "list", "aria-label": "What the time went into" },
    found.map((one) => h("div", { role: "listitem" },
      h("span", { title: one.label }, one.label),
      h("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
        ticks.map((tick) => h("line", { class: "axis", x1: tick * 100, x2: tick * 100, y1: 0, y2: 10 })),
        h("rect", { class: one.kind, x: r((one.from / end) * 100), width: r(Math.max(0.6, ((one.until - one.from) / end) * 100)), y: 2, height: 6 })),
      h("b", null, milliseconds(one.until - one.from)))),
    h("div", { class: "scale", "aria-hidden": "true" }, h("span"),
      h("span", null, ticks.map((tick) => h("i", null, tick ? milliseconds(tick * end) : "0"))), h("b")));
}
