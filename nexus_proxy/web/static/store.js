// All that the page knows, and the one way to change it.

/** What the gateway said, and what is only this page's: filter, open story, question, toast. */
export const state = {
  known: false,
  now: 0,
  heardAt: 0,
  link: { up: false, since: 0 },
  filter: "",
  choice: "all",
  shown: innerWidth < 768 ? 10 : 25,
  modelFilter: "",
  shownModels: 25,
  shownScores: 8,
  open: null,
  story: null,
  storyProblem: null,
  asking: null,
  toast: null,
  by: "models",
  backends: {}, trends: {}, models: {}, requests: {}, quality: {},
  /** The gateway's clock, seconds since the epoch. It stands still while nothing is heard. */
  get clock() {
    return this.now + (performance.now() - this.heardAt) / 1000;
  },
};
const COLLECTIONS = ["backends", "trends", "models", "requests", "quality"];
const WHY = "#why/";

let changed = () => {};

/** Call `draw` after every change. */
export function onChange(draw) {
  changed = draw;
}

export function change(values) {
  Object.assign(state, values);
  changed();
}

/** Take over a message of `/ws`. */
export function hear({ type, ...told }) {
  if (type === "changes") {
    for (const name of COLLECTIONS) {
      const { set, gone } = told[name] ?? { set: {}, gone: [] };
      const now = { ...state[name], ...set };
      for (const key of gone) delete now[key];
      told[name] = now;
    }
  }
  change({ ...told, known: true, heardAt: performance.now() });
}

/** Show a request; the address then names it, so that it can be passed on, and "back" closes it. */
export function openStory(id) {
  history.pushState(null, "", WHY + encodeURIComponent(id));
  readAddress();
}

export function closeStory() {
  if (location.hash.startsWith(WHY)) history.replaceState(null, "", location.pathname);
  change({ open: null, story: null, storyProblem: null });
}

/** Open what the address names. */
export function readAddress() {
  const named = location.hash.startsWith(WHY) ? decodeURIComponent(location.hash.slice(WHY.length)) : null;
  if (named !== state.open) change({ open: named, story: null, storyProblem: null });
}
