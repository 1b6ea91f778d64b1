// Curves, drawn by uPlot. Names stand in elements of our own; the library is given numbers alone.
"use strict";

// a block, so that names stay in this file
{
  /// Means over a window that ends at each point; gaps stay gaps.
  P.smooth = (values, window) => {
    if (window <= 1) return values;
    return values.map((value, place) => {
      if (value === null) return null;
      const part = values
        .slice(Math.max(0, place - window + 1), place + 1)
        .filter((one) => one !== null);
      return part.reduce((sum, one) => sum + one, 0) / part.length;
    });
  };

  /// Draws `lines`: `{ name, x, y, colour, dash, low, high, width }`, each with steps of its own.
  /// Where there is `low` and `high`, a band is drawn between them.
  P.chart = (place, lines, { height = 260, limit = null, xname = "step" } = {}) => {
    const reading = P.el("div", { class: "reading" });
    const box = P.el(
      "div",
      { class: "chart", role: "img", "aria-label": described(lines, xname) },
      reading,
    );
    place.append(box);
    if (!lines.some((line) => line.y.some((value) => value !== null))) {
      P.put(reading, "no numbers yet");
      return box;
    }
    const x = [...new Set(lines.flatMap((line) => line.x))].sort((a, b) => a - b);
    const { data, series, bands } = aligned(lines, x);
    if (limit !== null && limit !== undefined) {
      data.push(x.map(() => limit));
      series.push({ stroke: "#b34700", width: 1, dash: [4, 4], points: { show: false } });
    }
    const grid = { stroke: "#e8ebf0", width: 1 };
    const axis = { stroke: "#5d6677", grid, ticks: grid, font: "12px system-ui, sans-serif" };
    const options = {
      width: Math.max(240, place.clientWidth || 600),
      height,
      legend: { show: false },
      cursor: { y: false, drag: { x: true, y: false } },
      scales: { x: { time: false }, y: { range: (_, low, high) => room(low, high) } },
      axes: [{ ...axis }, { ...axis, size: 58, values: (_, ticks) => ticks.map(tick) }],
      series,
      bands,
      hooks: { setCursor: [(plot) => read(reading, plot, lines, x, xname)] },
    };
    const plot = new uPlot(options, data, box);
    read(reading, plot, lines, x, xname);
    new ResizeObserver(() => {
      const width = Math.floor(place.clientWidth);
      if (width > 0 && Math.abs(width - plot.width) > 2) plot.setSize({ width, height });
    }).observe(place);
    return box;
  };

  /// The ends of the axis upwards: some room around the values, also around a single one.
  const room = (low, high) => {
    if (low === null || high === null) return [0, 1];
    const margin = (high - low) * 0.06 || Math.abs(high) * 0.1 || 0.5;
    return [low - (low === 0 && high > 0 ? 0 : margin), high + margin];
  };

  const tick = (value) =>
    Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-3)
      ? value.toExponential(0)
      : String(+value.toPrecision(4));

  /// All lines over the same steps, and bands between pairs of them.
  const aligned = (lines, x) => {
    const [data, series, bands] = [[x], [{}], []];
    const over = (line, values) => {
      const known = new Map(line.x.map((step, place) => [step, values[place]]));
      return x.map((step) => (known.has(step) ? known.get(step) : undefined));
    };
    for (const line of lines) {
      if (line.low) {
        const none = { stroke: "transparent", width: 0, points: { show: false }, spanGaps: true };
        data.push(over(line, line.high), over(line, line.low));
        series.push({ ...none }, { ...none });
        bands.push({ series: [series.length - 2, series.length - 1], fill: `${line.colour}26` });
      }
      data.push(over(line, line.y));
      series.push({
        stroke: line.colour,
        width: line.width || 1.6,
        dash: line.dash || [],
        points: { show: x.length === 1 },
        spanGaps: true,
      });
    }
    return { data, series, bands };
  };

  /// The numbers under the cursor, or the last ones.
  const read = (reading, plot, lines, x, xname) => {
    const place = plot.cursor.idx ?? x.length - 1;
    P.clear(reading).append(P.el("span", {}, `${xname} ${P.number(x[place], 0)}`));
    for (const line of lines.slice(0, 12)) {
      const at = line.x.indexOf(x[place]);
      const value = at < 0 ? null : line.y[at];
      reading.append(
        P.el(
          "span",
          {},
          P.el("span", { class: "swatch", colour: line.colour }),
          `${line.name} ${P.number(value)}`,
        ),
      );
    }
    if (lines.length > 12) reading.append(P.el("span", {}, `and ${lines.length - 12} more`));
  };

  /// The picture in words, for who does not see it.
  const described = (lines, xname) =>
    lines
      .slice(0, 12)
      .map((line) => {
        const values = line.y.filter((value) => value !== null);
        if (values.length === 0) return `${line.name}: no numbers`;
        const ends = `from ${P.number(values[0])} to ${P.number(values.at(-1))}`;
        return `${line.name} over ${xname}: ${ends}`;
      })
      .join("; ");

  /// Mean and 95% interval over runs of one row, at steps that all of them have.
  P.averaged = (lines) => {
    const maps = lines.map((line) => new Map(line.x.map((step, place) => [step, line.y[place]])));
    const x = lines[0].x.filter((step) =>
      maps.every((map) => map.get(step) !== null && map.has(step)),
    );
    const found = { x, y: [], low: [], high: [] };
    for (const step of x) {
      const values = maps.map((map) => map.get(step));
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
      const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
      const error =
        values.length > 1 ? Math.sqrt(squares / (values.length - 1) / values.length) : 0;
      found.y.push(mean);
      found.low.push(mean - 1.96 * error);
      found.high.push(mean + 1.96 * error);
    }
    return found;
  };
}
