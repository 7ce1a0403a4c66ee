// Elements as values, and the least change that makes a page of them. Text is only ever text: there
// is no way through here from a string to markup.

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["value", "checked", "disabled"]);

/** An element to be. `props`: attributes, `on…` handlers, `style` (custom properties), `key` (its
 * identity among its siblings), `hook` (called with the node once it is on the page). */
export function h(tag, props, ...children) {
  return { tag, props: props ?? {}, children: children.flat(Infinity).filter(isShown) };
}

/** Make the children of `parent` what `wanted` says, keeping nodes, focus and scroll positions. */
export function render(parent, wanted, space = parent.namespaceURI) {
  const old = [...parent.childNodes];
  const keyed = new Map(old.filter((node) => node.key !== undefined).map((node) => [node.key, node]));
  const loose = old.filter((node) => node.key === undefined);
  const kept = new Set();
  let place = parent.firstChild;
  for (const one of wanted.flat(Infinity).filter(isShown)) {
    const node = reuse(one, keyed, loose) ?? create(one, space);
    kept.add(node);
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
    update(node, one);
  }
  for (const node of old) if (!kept.has(node)) node.remove();
}

function isShown(child) {
  return child !== null && child !== undefined && child !== false;
}

function reuse(one, keyed, loose) {
  if (one.props?.key !== undefined) {
    const node = keyed.get(one.props.key);
    keyed.delete(one.props.key);
    return node?.localName === one.tag ? node : undefined;
  }
  const name = one.tag ?? "#text";
  const at = loose.findIndex((node) => (node.localName ?? node.nodeName) === name);
  return at < 0 ? undefined : loose.splice(0, at + 1)[at];
}

function create(one, space) {
  if (one.tag === undefined) return document.createTextNode("");
  const node = document.createElementNS(one.tag === "svg" ? SVG : space, one.tag);
  node.props = {};
  node.key = one.props.key;
  return node;
}

function update(node, one) {
  if (one.tag === undefined) {
    if (node.data !== String(one)) node.data = String(one);
    return;
  }
  const { props: before } = node;
  const fresh = Object.keys(before).length === 0;
  node.props = one.props;
  for (const name in before) if (!(name in one.props)) set(node, name, null, before[name]);
  for (const name in one.props) {
    if (one.props[name] !== before[name]) set(node, name, one.props[name], before[name]);
  }
  render(node, one.children);
  if (fresh && one.props.hook) one.props.hook(node);
}

function set(node, name, value, before) {
  if (name === "key" || name === "hook") return;
  if (name === "style") {
    for (const part in { ...before, ...value }) {
      if (value?.[part] === undefined) node.style.removeProperty(part);
      else node.style.setProperty(part, value[part]);
    }
  } else if (name.startsWith("on")) node[name] = value;
  else if (PROPERTIES.has(name)) node[name] = value ?? "";
  else if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? "" : value);
}
