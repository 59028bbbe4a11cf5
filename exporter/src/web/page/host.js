// The host, in a strip: CPU, run queue, memory, and what Vigie has missed.

class Host {
  constructor(history) {
    this.history = history;
    const item = (name, label, isPlotted = true) => {
      const made = { value: element("b", { "data-host": name }), more: element("span", { class: "more" }) };
      const words = element("p", {}, element("span", { class: "label", text: label }), made.value, " ", made.more);
      made.node = element("div", { class: "item" }, words);
      if (isPlotted) {
        made.plot = new Plot({ height: 28, label: `${label} of the host, the last minutes`, classes: ["plain"] });
        made.node.append(made.plot.svg);
      }
      return made;
    };
    this.cpu = item("cpu", "Host CPU");
    this.queue = item("queue", "Run queue");
    this.memory = item("memory", "Memory");
    this.lost = item("lost", "Not seen", false);
    byId("host").append(...[this.cpu, this.queue, this.memory, this.lost].map(({ node }) => node));
  }

  draw() {
    const { intervals, last } = this.history;
    const now = intervals[intervals.length - 1]?.host;
    const { host } = last;
    setText(this.cpu.value, percent(now?.busy));
    setText(this.cpu.more, now?.steal > 0.005 ? `${percent(now.steal)} stolen` : isNumber(host[CPUS]) ? many(host[CPUS], "CPU") : "");
    setText(this.queue.value, count(host[RUNNABLE]));
    setText(this.queue.more, isNumber(host[CPUS]) ? `on ${many(host[CPUS], "CPU")}` : "");
    const used = host[MEMORY_ALL] - host[MEMORY_FREE];
    setText(this.memory.value, percent(used / host[MEMORY_ALL]));
    setText(this.memory.more, `of ${bytes(host[MEMORY_ALL])}`);
    for (const [item, value] of [[this.cpu, "busy"], [this.queue, "runnable"], [this.memory, "memory"]]) {
      item.plot.draw(this.history, [intervals.map((one) => one.host[value])]);
    }
    const { lost, missing } = last;
    const sum = lost.reduce((all, { value }) => all + value, 0);
    setText(this.lost.value, whole(sum));
    setText(this.lost.more, sum ? lost.map(({ reason, value }) => `${reason} ${whole(value)}`).join(", ") : "nothing was missed");
    if (missing.length) setText(this.lost.more, `probes missing: ${missing.join(", ")}. Run vigie doctor.`);
    setAttribute(this.lost.node, "data-bad", sum || missing.length ? "yes" : null);
  }
}

