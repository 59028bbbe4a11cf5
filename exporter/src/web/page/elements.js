// Making and changing elements. Values are only ever texts here, never markup.

const byId = (id) => document.getElementById(id);

/** An element with attributes: `class` and the like as they are, `text` as its text. */
function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function shape(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") node.textContent = value;
    else if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

/** Touches the document only where something has changed, so that a marked text stays marked. */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function setAttribute(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** Puts the children in this order, and removes all others. */
function setChildren(node, children) {
  children.forEach((child, place) => {
    if (node.children[place] !== child) node.insertBefore(child, node.children[place] ?? null);
  });
  while (node.children.length > children.length) node.lastElementChild.remove();
}

/** A button in the head of a column, which sorts by it. */
function columnHead({ name, label, hint, isText, isSorted = true }, choose) {
  const head = element("th", { scope: "col", role: "columnheader", class: isText ? "text" : null, title: hint ?? null });
  if (!isSorted) {
    head.textContent = label;
    return head;
  }
  const button = element("button", { type: "button", text: label });
  button.addEventListener("click", () => choose(name));
  head.append(button);
  return head;
}

/** Says which column the rows are in the order of. */
function markSorted(heads, order) {
  for (const [name, head] of heads) {
    setAttribute(head, "aria-sort", name === order.name ? (order.isUp ? "ascending" : "descending") : null);
  }
}

/** Puts rows in order: numbers with nothing stand last, whichever way around. */
function sortRows(rows, order, value) {
  const sign = order.isUp ? 1 : -1;
  const known = rows.map((row) => ({ row, value: value(row) }));
  known.sort((a, b) => {
    if (a.value === null || b.value === null) return (a.value === null) - (b.value === null);
    if (typeof a.value === "string") return sign * a.value.localeCompare(b.value);
    return sign * (a.value - b.value);
  });
  return known.map(({ row }) => row);
}

/** What a quantile is sorted by. */
const quantileValue = (one) => (one === null ? null : one.value * (one.isAbove ? 1.000001 : 1));

