// Where runs ended: EM over calls, with the staircase of each row.
"use strict";

// a block, so that names stay in this file
{
  const SIZE = { width: 560, height: 330, left: 52, right: 14, top: 12, bottom: 40 };

  /// The points of a row that no other of it is better than: fewer calls or a higher EM.
  const staircase = (points) => {
    const sorted = [...points].sort((a, b) => a.calls - b.calls || b.em - a.em);
    let best = -Infinity;
    return sorted.filter((point) => point.em > best && ((best = point.em), true));
  };

  const scale = (values, low, high) => {
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const room = Math.max((most - least) * 0.08, 0.02);
    const [from, to] = [least - room, most + room];
    const map = (value) => low + ((value - from) / (to - from)) * (high - low);
    map.ticks = ticks(from, to);
    return map;
  };

  const ticks = (from, to) => {
    const rough = (to - from) / 5;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough);
    const first = Math.ceil(from / step) * step;
    return Array.from(
      { length: Math.floor((to - first) / step) + 1 },
      (_, place) => first + place * step,
    );
  };

  /// Axes with ticks and names, and what maps values to places.
  P.axes = (picture, points, [xname, yname], size = SIZE) => {
    const x = scale(
      points.map((point) => point[0]),
      size.left,
      size.width - size.right,
    );
    const y = scale(
      points.map((point) => point[1]),
      size.height - size.bottom,
      size.top,
    );
    for (const tick of x.ticks) {
      picture.append(
        P.svg("line", {
          x1: x(tick),
          x2: x(tick),
          y1: size.top,
          y2: size.height - size.bottom,
          stroke: "#edf0f4",
        }),
        P.svg(
          "text",
          { x: x(tick), y: size.height - size.bottom + 16, "text-anchor": "middle" },
          +tick.toPrecision(3),
        ),
      );
    }
    for (const tick of y.ticks) {
      picture.append(
        P.svg("line", {
          x1: size.left,
          x2: size.width - size.right,
          y1: y(tick),
          y2: y(tick),
          stroke: "#edf0f4",
        }),
        P.svg(
          "text",
          { x: size.left - 6, y: y(tick) + 4, "text-anchor": "end" },
          +tick.toPrecision(3),
        ),
      );
    }
    picture.append(
      P.svg(
        "text",
        { x: (size.left + size.width) / 2, y: size.height - 6, "text-anchor": "middle" },
        xname,
      ),
      P.svg(
        "text",
        {
          x: 14,
          y: size.height / 2,
          "text-anchor": "middle",
          transform: `rotate(-90 14 ${size.height / 2})`,
        },
        yname,
      ),
    );
    return { x, y };
  };

  /// The fronts of all methods over all their settings, and, where it is known, what can be had
  /// without learning when to call: the line between never and always, the oracle router. `onrun`
  /// is called with the run whose mark is chosen.
  P.front = (place, runs, controls, onrun) => {
    const found = runs
      .map((run) => {
        const end = run.evaluation || run;
        return {
          run,
          em: end.em,
          calls: end.calls,
          interval: run.evaluation ? run.evaluation.em_interval : 0,
        };
      })
      .filter((point) => point.em !== null && point.calls !== null);
    if (found.length === 0) {
      place.append(P.el("p", { class: "soft" }, "No run has played yet."));
      return;
    }
    const label = found
      .slice(0, 40)
      .map(({ run, em, calls }) => `${run.id}: EM ${P.number(em)} at ${P.number(calls, 2)} calls`)
      .join("; ");
    const picture = P.svg("svg", {
      viewBox: `0 0 ${SIZE.width} ${SIZE.height}`,
      width: "100%",
      role: "group",
      "aria-label": label,
    });
    const { x, y } = P.axes(
      picture,
      [...found.map(({ calls, em }) => [calls, em]), ...(controls ? controls.oracle : [])],
      ["calls an episode (fewer is better)", "EM (higher is better)"],
    );
    const said = P.el("div", { class: "reading soft" }, "Point at a mark to see its run.");
    if (controls) {
      const path = (places) => places.map(([calls, em]) => `${x(calls)},${y(em)}`).join(" ");
      const plain = { fill: "none", stroke: "#9aa3b2", "stroke-width": 1.2 };
      picture.append(
        P.svg("polyline", { points: path(controls.line), "stroke-dasharray": "2 3", ...plain }),
        P.svg("polyline", { points: path(controls.oracle), ...plain }),
      );
    }
    const methods = P.methods.filter((method) => found.some(({ run }) => run.method === method));
    for (const method of methods) {
      const own = found.filter(({ run }) => run.method === method);
      const { colour, dash } = P.lookOf(method);
      const steps = staircase(own).map((point, place_, all) => {
        const start = place_ === 0 ? `M${x(point.calls)} ${y(point.em)}` : `V${y(point.em)}`;
        return start + (all[place_ + 1] ? `H${x(all[place_ + 1].calls)}` : "");
      });
      if (steps.length > 1) {
        picture.append(
          P.svg("path", {
            d: steps.join(""),
            fill: "none",
            stroke: colour,
            "stroke-width": 1.5,
            "stroke-dasharray": dash.join(" "),
          }),
        );
      }
      for (const point of own) {
        const reached = `EM ${P.number(point.em)}, ${P.number(point.calls, 2)} calls`;
        const words = `${point.run.id}: ${reached}`;
        const tell = () => P.clear(said).append(words);
        picture.append(
          P.svg("line", {
            x1: x(point.calls),
            x2: x(point.calls),
            y1: y(point.em - point.interval),
            y2: y(point.em + point.interval),
            stroke: colour,
            "stroke-opacity": 0.35,
          }),
          P.svg("circle", {
            class: "mark",
            cx: x(point.calls),
            cy: y(point.em),
            r: 4.5,
            fill: point.run.evaluation ? colour : "#fff",
            stroke: colour,
            "stroke-width": 1.8,
            tabindex: 0,
            role: "button",
            "aria-label": words,
            onmouseenter: tell,
            onfocus: tell,
            onclick: () => onrun(point.run),
            onkeydown: (event) => {
              if (event.key === "Enter") onrun(point.run);
            },
          }),
        );
      }
    }
    const names = methods.map((method) =>
      P.el("span", {}, P.el("span", { class: "swatch", colour: P.lookOf(method).colour }), method),
    );
    const known = controls
      ? P.el(
          "span",
          {},
          "dotted: a random mix of never and always calling; grey: the oracle router",
        )
      : null;
    place.append(picture, P.el("div", { class: "legend" }, names, known), said);
  };
}
