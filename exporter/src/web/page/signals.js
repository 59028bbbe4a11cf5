// The golden signals of the chosen service, or of all.

const SIGNALS = [
  {
    name: "rate",
    label: "Traffic",
    classes: ["plain"],
    series: (one, work) => [requests(work) / one.seconds],
    write: (value) => `${count(value)}/s`,
    show: ({ work, seconds }) => ({
      value: seconds ? count(requests(work) / seconds) : NOTHING,
      unit: "req/s",
      more: seconds ? many(requests(work), "request") : "measuring",
    }),
  },
  {
    name: "errors",
    label: "Errors",
    classes: ["warn", "bad", "gone"],
    isStacked: true,
    series: (one, work) => [ofClass(work, 4), ofClass(work, 5), at(work, ABORTED)].map((value) => value / one.seconds),
    write: (value) => `${count(value)}/s`,
    show: ({ work }) => ({
      value: percent(errorShare(work)).replace(/\s?%/, ""),
      unit: errorShare(work) === null ? "" : "%",
      isBad: ofClass(work, 5) + at(work, ABORTED) > 0,
      keys: [
        ["warn", "4xx", tally(ofClass(work, 4))],
        ["bad", "5xx", tally(ofClass(work, 5))],
        ["gone", "aborted", tally(at(work, ABORTED))],
      ],
    }),
  },
  {
    name: "latency",
    label: "Latency p95",
    mark: "p95",
    classes: ["p99", "p95", "p50"],
    series: (_, work) => [0.99, 0.95, 0.5].map((q) => quantile(work, q)?.value ?? null),
    write: duration,
    show: ({ work }) => ({
      ...split(quantileText(quantile(work, 0.95))),
      keys: [
        ["p50", "p50", quantileText(quantile(work, 0.5))],
        ["p99", "p99", quantileText(quantile(work, 0.99))],
      ],
    }),
  },
  {
    name: "wait",
    label: "CPU wait",
    classes: ["wait"],
    series: (one, _, number) => [number(WAIT) === null ? null : number(WAIT) / one.seconds],
    write: (value) => `${duration(value)}/s`,
    show: ({ work, seconds, number }) => ({
      ...split(number(WAIT) === null || !seconds ? NOTHING : duration(number(WAIT) / seconds), "/s"),
      more: [
        observed(work) > 0 ? `${duration(at(work, PHASE + RUNQUEUE) / observed(work))} per request` : "",
        number(THROTTLED) > 0 ? `${duration(number(THROTTLED))} throttled` : "",
      ],
    }),
  },
  {
    name: "flight",
    label: "In flight",
    classes: ["plain"],
    series: (_, __, number) => [number(IN_FLIGHT)],
    write: count,
    show: ({ number }) => ({
      value: count(number(IN_FLIGHT)),
      unit: "",
      more: [
        number(BACKLOG) === null ? "" : `backlog ${whole(number(BACKLOG))} of ${whole(number(BACKLOG_LIMIT))}`,
      ],
      isBad: number(BACKLOG) !== null && number(BACKLOG) > 0.8 * number(BACKLOG_LIMIT),
    }),
  },
  {
    name: "cpu",
    label: "CPU",
    classes: ["cpu"],
    series: (one, _, number) => [number(CPU) === null ? null : number(CPU) / one.seconds],
    write: count,
    show: ({ seconds, number, cpus }) => ({
      value: number(CPU) === null || !seconds ? NOTHING : count(number(CPU) / seconds),
      unit: "cores",
      more: [
        isNumber(cpus) ? `of ${whole(cpus)}` : "",
        number(MEMORY) === null ? "" : bytes(number(MEMORY)),
        number(THREADS) === null ? "" : many(number(THREADS), "thread"),
      ],
    }),
  },
];

/** A number apart from its unit. */
function split(text, end = "") {
  const [value, unit = ""] = text.split("\u202f");
  return { value, unit: text === NOTHING ? "" : unit + end };
}

class Signals {
  constructor(history) {
    this.history = history;
    this.tiles = SIGNALS.map((signal) => {
      const tile = {
        signal,
        value: element("b"),
        unit: element("span", { class: "unit" }),
        peak: element("span", { class: "peak", title: "How high the plot goes, or what was where the pointer is" }),
        more: element("p", { class: "more" }),
        plot: new Plot({ height: 44, label: `${signal.label}, the last minutes`, isStacked: signal.isStacked, classes: signal.classes }),
      };
      tile.node = element(
        "article",
        { class: "card tile", "data-signal": signal.name },
        element("h2", {}, signal.label, tile.peak),
        element("p", { class: "value" }, ...(signal.mark ? [element("i", { class: `swatch ${signal.mark}` }), " "] : []), tile.value, " ", tile.unit),
        tile.more,
        tile.plot.svg,
      );
      followPointer(tile.plot.svg, history, (one) => {
        tile.pointed = one;
        this.peak(tile);
      });
      return tile;
    });
    byId("signals").append(...this.tiles.map(({ node }) => node));
  }

  draw(service, facts) {
    this.service = service;
    for (const tile of this.tiles) {
      const { value, unit, more = [], keys = [], isBad = false } = tile.signal.show(facts);
      setText(tile.value, value);
      setText(tile.unit, unit);
      setAttribute(tile.node, "data-bad", isBad ? "yes" : null);
      const parts = [more].flat().filter(Boolean);
      // Lines end between facts, and not between a number and what it counts.
      const text = parts.length > 1 ? parts.map((part) => part.replaceAll(" ", "\u00a0")).join(" · ") : parts.join("");
      if (keys.length) this.keys(tile, keys);
      else setText(tile.more, text);
      const columns = this.history.intervals.map((one) => this.values(tile, one));
      tile.most = tile.plot.draw(
        this.history,
        tile.signal.classes.map((_, place) => columns.map((values) => values[place])),
      );
      this.peak(tile);
    }
  }

  values(tile, one) {
    return tile.signal.series(one, workOf(one, this.service), (place) => ofService(one.services, this.service, place));
  }

  keys(tile, keys) {
    if (tile.more.children.length !== keys.length) {
      tile.more.replaceChildren(
        ...keys.map(([name, label]) => element("span", { class: "key" }, element("i", { class: `swatch ${name}` }), `${label} `, element("b", { "data-key": label }))),
      );
    }
    keys.forEach(([, , value], place) => setText(tile.more.children[place].lastChild, value));
  }

  /** The scale of the plot, or what was where the pointer is. */
  peak(tile) {
    const { pointed, peak, signal } = tile;
    if (!pointed) return setText(peak, this.history.intervals.length ? `↑ ${signal.write(tile.most)}` : "");
    const values = this.values(tile, pointed).filter(isNumber);
    setText(peak, `${clockTime(pointed.end)} ${values.map(signal.write).join(" ")}`);
  }
}

