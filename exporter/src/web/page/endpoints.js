// A row for each endpoint: sorted, filtered, and not too many at once.

/** How many are shown unless all are asked for. */
const SHOWN = 25;

const classColumn = (digit, look) => ({
  name: `${digit}xx`,
  label: `${digit}xx`,
  look,
  value: ({ work }) => ofClass(work, digit),
  write: ({ work }) => tally(ofClass(work, digit)),
  full: ({ work }) => whole(ofClass(work, digit)),
});
const quantileColumn = (name, q) => ({
  name,
  label: name,
  value: ({ work }) => quantileValue(quantile(work, q)),
  write: ({ work }) => quantileText(quantile(work, q)),
});
const ENDPOINT_COLUMNS = [
  { name: "handler", label: "Endpoint", isText: true, value: ({ route }) => `${route.handler} ${route.method} ${route.service} ${route.port}` },
  { name: "requests", label: "Requests", value: ({ work }) => requests(work), write: ({ work }) => tally(requests(work)), full: ({ work }) => whole(requests(work)) },
  { name: "rate", label: "req/s", value: ({ rate }) => rate, write: ({ rate }) => count(rate) },
  classColumn(2, ""),
  classColumn(3, ""),
  classColumn(4, "warn"),
  classColumn(5, "bad"),
  { name: "aborted", label: "Aborted", look: "bad", hint: "Closed before they were answered", value: ({ work }) => at(work, ABORTED), write: ({ work }) => tally(at(work, ABORTED)), full: ({ work }) => whole(at(work, ABORTED)) },
  quantileColumn("p50", 0.5),
  quantileColumn("p95", 0.95),
  quantileColumn("p99", 0.99),
  { name: "phases", label: "Where the time goes", hint: "Sorted by all the time that its requests took", value: ({ work }) => phasesOf(work).sum },
];

/** What handlers mean that are no template. */
const HANDLERS = {
  none: "Paths that only ever answered 404, or never",
  other: "Paths past the cap on routes",
};

class Endpoints {
  constructor(state, changed) {
    this.state = state;
    this.changed = changed;
    this.made = new Map();
    this.isAll = false;
    this.body = element("tbody", { role: "rowgroup" });
    this.heads = new Map(ENDPOINT_COLUMNS.map((column) => [column.name, columnHead(column, (name) => this.sort(name))]));
    byId("endpoints-table").append(
      element(
        "table",
        { role: "table", "aria-labelledby": "endpoints-title" },
        element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...this.heads.values())),
        this.body,
      ),
    );
    // On a phone there are no heads of columns.
    byId("order").append(...ENDPOINT_COLUMNS.map(({ name, label }) => element("option", { value: name, text: label })));
    byId("order").addEventListener("change", () => this.sort(byId("order").value, byId("order").value === "handler"));
    byId("filter").value = state.filter;
    byId("filter").addEventListener("input", () => {
      state.filter = byId("filter").value;
      changed();
    });
    byId("show-all").addEventListener("click", () => {
      this.isAll = !this.isAll;
      changed();
    });
  }

  sort(name, isUp) {
    const { order } = this.state;
    this.state.order = { name, isUp: isUp ?? (order.name === name ? !order.isUp : name === "handler") };
    this.changed();
  }

  /** `rows`: route, work and rate of each endpoint of the chosen service. */
  draw(rows, hasServices) {
    // A port says something where a service has several.
    const ports = new Map();
    for (const { route } of rows) ports.set(route.service, (ports.get(route.service) ?? new Set()).add(route.port));
    const place = ({ service, port }) =>
      [hasServices ? service : "", ports.get(service).size > 1 ? (/^\d/.test(port) ? `:${port}` : port) : ""].filter(Boolean).join(" ");
    const { order, filter } = this.state;
    const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = ({ text }) => words.every((word) => text.includes(word));
    const column = ENDPOINT_COLUMNS.find(({ name }) => name === order.name) ?? ENDPOINT_COLUMNS[1];
    const fitting = sortRows(rows.filter(fits), order, column.value);
    // Those without requests only where somebody looks for them, or where there are no others.
    const busy = words.length ? fitting : fitting.filter(({ work }) => requests(work) > 0);
    const first = (busy.length ? busy : fitting).slice(0, SHOWN);
    const shown = this.isAll ? fitting : first;
    markSorted(this.heads, order);
    byId("order").value = column.name;
    setText(byId("endpoints-count"), words.length ? `${whole(fitting.length)} of ${whole(rows.length)}` : whole(rows.length));
    setChildren(this.body, shown.map((row) => this.row(row, place(row.route))));
    byId("endpoints-table").hidden = shown.length === 0;
    const none = byId("endpoints-none");
    none.hidden = shown.length > 0;
    setText(none, shown.length > 0 ? "" : words.length ? `No endpoint has “${filter.trim()}” in its method, path, service or port.` : "No request has ended yet.");
    byId("endpoints-more").hidden = fitting.length <= first.length;
    setText(byId("show-all"), this.isAll ? "Show fewer" : `Show all ${whole(fitting.length)}`);
    setText(byId("quiet"), this.isAll || busy.length === fitting.length ? "" : `${many(fitting.length - busy.length, "endpoint")} without a request in this time`);
    if (this.made.size > 2 * rows.length + 100) this.made.clear();
  }

  row({ key, route, work, rate }, place) {
    let made = this.made.get(key);
    if (!made) {
      made = { cells: new Map(), bar: element("div"), place: element("span", { class: "place" }) };
      made.node = element(
        "tr",
        { role: "row", "data-route": `${route.method} ${route.handler} ${route.port}` },
        element("th", { scope: "row", role: "rowheader" }, element("span", { class: "method", text: route.method }), " ", element("code", { text: route.handler, title: HANDLERS[route.handler] ?? null }), " ", made.place),
      );
      for (const column of ENDPOINT_COLUMNS.slice(1)) {
        const cell = element("td", { role: "cell", "data-name": column.name, "data-label": column.label });
        if (column.name === "phases") cell.append(made.bar);
        made.cells.set(column.name, cell);
        made.node.append(cell);
      }
      this.made.set(key, made);
    }
    setText(made.place, place);
    for (const column of ENDPOINT_COLUMNS) {
      if (!column.write) continue;
      const cell = made.cells.get(column.name);
      const text = column.write({ work, rate });
      setText(cell, text);
      const full = column.full?.({ work }) ?? text;
      setAttribute(cell, "title", full === text ? null : full);
      setAttribute(cell, "class", text === "0" || text === NOTHING ? "zero" : column.look || null);
    }
    setBar(made.bar, work);
    setAttribute(made.node, "class", requests(work) > 0 ? null : "quiet");
    return made.node;
  }
}

