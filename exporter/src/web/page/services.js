// A row for each service, where there are several.

const SERVICE_COLUMNS = [
  { name: "name", label: "Service", isText: true, value: ({ name }) => name },
  { name: "rate", label: "req/s", value: ({ rate }) => rate, write: ({ rate }) => count(rate) },
  { name: "trend", label: "Trend", isSorted: false },
  { name: "errors", label: "Errors", value: ({ work }) => errorShare(work), write: ({ work }) => percent(errorShare(work)) },
  { name: "p50", label: "p50", value: ({ work }) => quantileValue(quantile(work, 0.5)), write: ({ work }) => quantileText(quantile(work, 0.5)) },
  { name: "p95", label: "p95", value: ({ work }) => quantileValue(quantile(work, 0.95)), write: ({ work }) => quantileText(quantile(work, 0.95)) },
  { name: "p99", label: "p99", value: ({ work }) => quantileValue(quantile(work, 0.99)), write: ({ work }) => quantileText(quantile(work, 0.99)) },
  { name: "wait", label: "CPU wait/s", hint: "How long its threads waited for a CPU, in a second", value: ({ wait }) => wait, write: ({ wait }) => duration(wait) },
  { name: "flight", label: "In flight", value: ({ flight }) => flight, write: ({ flight }) => count(flight) },
  { name: "cpu", label: "CPUs", hint: "CPUs in use", value: ({ cpu }) => cpu, write: ({ cpu }) => count(cpu) },
  { name: "phases", label: "Where the time goes", isSorted: false },
];

class Services {
  constructor(history, choose) {
    this.history = history;
    this.choose = choose;
    this.order = { name: "rate", isUp: false };
    this.made = new Map();
    this.body = element("tbody", { role: "rowgroup" });
    this.heads = new Map(SERVICE_COLUMNS.map((column) => [column.name, columnHead(column, (name) => this.sort(name))]));
    byId("services-table").append(
      element(
        "table",
        { role: "table", "aria-labelledby": "services-title" },
        element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...this.heads.values())),
        this.body,
      ),
    );
  }

  sort(name) {
    this.order = { name, isUp: this.order.name === name ? !this.order.isUp : name === "name" };
    this.draw(this.facts);
  }

  /** `facts`: what the window holds, by service. */
  draw(facts) {
    this.facts = facts;
    const { list, seconds } = facts;
    byId("services").hidden = list.filter(({ isUsed }) => isUsed).length < 2;
    const used = list.filter(({ isUsed }) => isUsed);
    const idle = list.filter(({ isUsed }) => !isUsed);
    setText(byId("services-count"), whole(used.length));
    setText(byId("services-idle"), idle.length ? `Without a request so far: ${idle.map(({ name }) => name).join(", ")}` : "");
    byId("services-idle").hidden = idle.length === 0;
    const column = SERVICE_COLUMNS.find(({ name }) => name === this.order.name);
    const rows = sortRows(used, this.order, column.value);
    markSorted(this.heads, this.order);
    setChildren(this.body, rows.map((row) => this.row(row, seconds)));
    for (const name of this.made.keys()) if (!list.some((one) => one.name === name)) this.made.delete(name);
  }

  row(facts) {
    const { name, work, down } = facts;
    let made = this.made.get(name);
    if (!made) {
      const button = element("button", { type: "button", class: "link", text: name });
      button.addEventListener("click", () => this.choose(name));
      made = { down: element("span", { class: "badge" }), cells: new Map(), bar: element("div"), plot: new Plot({ height: 24, label: `Requests to ${name}, the last minutes`, classes: ["plain"] }) };
      made.node = element("tr", { role: "row", "data-service": name }, element("th", { scope: "row", role: "rowheader" }, button, made.down));
      for (const column of SERVICE_COLUMNS.slice(1)) {
        const cell = element("td", { role: "cell", "data-name": column.name, "data-label": column.label });
        if (column.name === "phases") cell.append(made.bar);
        if (column.name === "trend") cell.append(made.plot.svg);
        made.cells.set(column.name, cell);
        made.node.append(cell);
      }
      this.made.set(name, made);
    }
    setText(made.down, down.length ? `no longer listens on ${down[0]}${down.length > 1 ? ` and ${down.length - 1} more` : ""}` : "");
    setAttribute(made.down, "title", down.length > 1 ? down.join(", ") : null);
    made.down.hidden = down.length === 0;
    for (const column of SERVICE_COLUMNS) if (column.write) setText(made.cells.get(column.name), column.write(facts));
    setAttribute(made.cells.get("errors"), "class", ofClass(work, 5) + at(work, ABORTED) > 0 ? "bad" : errors(work) > 0 ? "warn" : "zero");
    setBar(made.bar, work);
    made.plot.draw(this.history, [this.history.intervals.map((one) => requests(workOf(one, name)) / one.seconds)]);
    return made.node;
  }
}

