// Where the time of requests went: bars, and the plot over time.

/** Fills a box with a bar, which is made once, and with the names of its longest parts, for screens that nothing hovers over. */
function setBar(box, work) {
  const { seconds, sum } = phasesOf(work);
  if (!box.firstChild) {
    const parts = PHASES.map(({ name }) => element("i", { class: `phase-${name}` }));
    box.append(element("div", { class: "bar", role: "img" }, ...parts), element("p", { class: "longest", "aria-hidden": "true" }));
  }
  const [bar, longest] = box.children;
  const parts = [];
  seconds.forEach((part, place) => {
    const share = sum > 0 ? part / sum : 0;
    bar.children[place].style.width = `${(share * 100).toFixed(2)}%`;
    if (share >= 0.0005) parts.push({ share, text: `${PHASES[place].name} ${percent(share)}` });
  });
  const texts = parts.map(({ text }) => text);
  setAttribute(bar, "aria-label", texts.join(", ") || "no time was measured");
  setAttribute(bar, "title", texts.join("\n") || null);
  const sorted = [...parts].sort((a, b) => b.share - a.share);
  setText(longest, sorted.slice(0, 2).map(({ text }) => text).join(", "));
}

class Phases {
  constructor(history) {
    this.history = history;
    this.note = byId("phases-note");
    this.plot = new Plot({ height: 100, label: "Phases over time", isStacked: true, classes: PHASES.map(({ name }) => `phase-${name}`) });
    byId("phases-plot").append(this.plot.svg);
    this.items = PHASES.map(({ name, meaning }) => {
      const item = { share: element("b"), each: element("span", { class: "each" }) };
      byId("phases-legend").append(
        element("li", { title: meaning }, element("i", { class: `swatch phase-${name}` }), element("span", { class: "name", text: name }), element("span", { class: "meaning", text: meaning }), item.share, item.each),
      );
      return item;
    });
  }

  draw(service, work) {
    const { intervals } = this.history;
    this.plot.draw(
      this.history,
      PHASES.map((_, place) => intervals.map((one) => at(workOf(one, service), PHASE + place) / one.seconds)),
    );
    const { seconds, sum } = phasesOf(work);
    const number = observed(work);
    this.items.forEach(({ share, each }, place) => {
      setText(share, sum > 0 ? percent(seconds[place] / sum) : NOTHING);
      setText(each, number > 0 ? duration(seconds[place] / number) : "");
    });
    setText(this.note, number > 0 ? `${duration(sum / number)} per request on average` : "");
  }
}

