// Small plots of the last minutes, as SVG.

const PLOT_WIDTH = 240;

/** From when to when plots go: longer as more is known, so that a page that was just opened shows something. */
function plotRange(history) {
  const end = history.last?.at ?? 0;
  const begin = history.intervals[0]?.from ?? end;
  return { begin: end - Math.min(SPAN, Math.max(60, end - begin)), end };
}

/** A number with one digit that counts, at or above all values. */
function niceMost(most) {
  if (!(most > 0)) return 1;
  const ten = 10 ** Math.floor(Math.log10(most));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * ten >= most * 0.999999) * ten;
}

/** A plot without axes. Its series are lines, or layers upon each other. */
class Plot {
  constructor({ height, label, isStacked = false, classes }) {
    this.height = height;
    this.isStacked = isStacked;
    this.svg = shape("svg", { class: "plot", viewBox: `0 0 ${PLOT_WIDTH} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": label });
    this.parts = classes.map((name) => {
      const area = shape("path", { class: `area ${name}` });
      const line = shape("path", { class: `line ${name}` });
      this.svg.append(area, line);
      return { area, line };
    });
  }

  /** Draws a list of values for each series, one for each interval; says what the highest was. */
  draw(history, series) {
    const { intervals } = history;
    const range = plotRange(history);
    const x = (time) => ((time - range.begin) / (range.end - range.begin)) * PLOT_WIDTH;
    const stacked = intervals.map(() => 0);
    const most = this.most(series);
    const y = (value) => (this.height - 1 - (value / most) * (this.height - 4)).toFixed(2);
    series.forEach((values, index) => {
      let area = "";
      let line = "";
      let run = [];
      const close = () => {
        if (run.length) {
          const back = [...run].reverse();
          area += `M${run.map(({ left, right, top }) => `${left} ${top}H${right}`).join("L")}`;
          area += `${back.map(({ left, right, base }) => `L${right} ${base}H${left}`).join("")}Z`;
        }
        run = [];
      };
      let isDrawing = false;
      intervals.forEach(({ from, to }, place) => {
        const value = values[place];
        if (!isNumber(value)) {
          isDrawing = false;
          return close();
        }
        const base = this.isStacked ? stacked[place] : 0;
        if (this.isStacked) stacked[place] += value;
        // Neighbours are joined by a slope over a third of each.
        const inset = (to - from) / 3;
        const left = x(Math.max(from + (place ? inset : 0), range.begin)).toFixed(2);
        const right = x(to - (place === intervals.length - 1 ? 0 : inset)).toFixed(2);
        const top = y(base + value);
        run.push({ left, right, top, base: y(base) });
        // A layer without height would hide the one below.
        const isSeen = !this.isStacked || value > 0;
        if (isSeen) line += `${isDrawing ? "L" : "M"}${left} ${top}H${right}`;
        isDrawing = isSeen;
      });
      close();
      setAttribute(this.parts[index].line, "d", line || "M0 0");
      setAttribute(this.parts[index].area, "d", area || "M0 0");
    });
    return most;
  }

  most(series) {
    let most = 0;
    const length = Math.max(0, ...series.map((values) => values.length));
    for (let place = 0; place < length; place += 1) {
      const values = series.map((list) => list[place]).filter(isNumber);
      most = Math.max(most, this.isStacked ? values.reduce((a, b) => a + b, 0) : Math.max(0, ...values));
    }
    return niceMost(most);
  }
}

/** Calls `show` with the interval under the pointer, and its place; with null when the pointer has left. */
function followPointer(node, history, show) {
  node.addEventListener("pointermove", (event) => {
    const box = node.getBoundingClientRect();
    const range = plotRange(history);
    const time = range.begin + ((event.clientX - box.left) / box.width) * (range.end - range.begin);
    const place = history.intervals.findIndex(({ from, to }) => time >= from && time < to);
    show(place < 0 ? null : history.intervals[place], place, event);
  });
  node.addEventListener("pointerleave", () => show(null, -1, null));
}

