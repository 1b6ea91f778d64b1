// All runs: what is wrong, a table, curves, fronts, and the difference of two configurations.
"use strict";

// a block, so that names stay in this file
{
  const SHOWN = 200; // rows of the table before all are asked for
  const DRAWN = 12; // runs that are drawn unless others are chosen
  const AVERAGED = 60; // the same where means over seeds are drawn

  // what stays while the page is drawn anew
  const kept = {
    chosen: new Set(),
    metric: "em",
    smoothing: 1,
    axis: "step",
    byRow: false,
    words: "",
    all: false,
    isNew: true,
    scrolled: 0,
    order: { column: null, up: true },
    ill: new Map(),
  };

  P.pages.overview = async (main, query, runs, { folders, controls, unreadable }) => {
    P.put(
      main,
      P.el(
        "h1",
        {},
        runs.length === 1 ? runs[0].id : `${runs.length} runs`,
        P.el("span", { class: "soft" }, `  ${folders.join(", ")}`),
      ),
    );
    if (kept.isNew) {
      kept.isNew = false;
      kept.byRow = runs.length > DRAWN;
      kept.smoothing = kept.byRow ? 10 : 1;
    }
    P.put(main, unreadable.map((message) => P.fail({ message })));
    const illness = P.el("div", { "aria-live": "polite" });
    const table = P.el("section", { class: "card" });
    const curves = P.el("section", { class: "card" }, P.el("h2", {}, "Curves"));
    const fronts = P.el("section", { class: "card" }, P.el("h2", {}, "Fronts"));
    const difference = P.el("section", { class: "card" });
    P.put(main, illness, table, P.el("div", { class: "columns" }, curves, fronts), difference);
    const again = () => {
      drawCurves(curves, runs);
      drawDifference(difference, runs);
    };
    drawTable(table, runs, again);
    const found = shownRuns(runs).length > 0 ? shownRuns(runs) : runs;
    P.front(fronts, found, controls, (run) => P.go("health", { run: run.id }));
    drawDifference(difference, runs);
    await drawCurves(curves, runs);
    await drawIllness(illness, table, runs);
  };

  const shownRuns = (runs) =>
    runs.filter((run) => run.id.toLowerCase().includes(kept.words.toLowerCase()));
  const drawnRuns = (runs) => {
    const chosen = runs.filter((run) => kept.chosen.has(run.id));
    return chosen.length > 0 ? chosen : shownRuns(runs).slice(0, kept.byRow ? AVERAGED : DRAWN);
  };

  const STATES = {
    working: ["working", "at work"],
    done: ["well", "done"],
    stopped: ["", "stopped"],
    broken: ["ill", "ended by a kill or crash"],
  };

  const drawTable = (place, runs, onchoice) => {
    const head = P.el(
      "div",
      { class: "row spread" },
      P.el("h2", {}, "Runs"),
      P.el(
        "div",
        { class: "row" },
        P.el(
          "label",
          {},
          "Name contains",
          P.el("input", {
            type: "search",
            value: kept.words,
            "aria-label": "Name contains",
            oninput: (event) => {
              kept.words = event.target.value;
              draw();
              onchoice();
            },
          }),
        ),
        P.el(
          "button",
          {
            onclick: () => {
              kept.chosen.clear();
              draw();
              onchoice();
            },
          },
          "Choose none",
        ),
      ),
    );
    const body = P.el("div");
    P.clear(place).append(head, body);
    const achieved = (run, name) => (run.evaluation ? run.evaluation[name] : null);
    const columns = [
      {
        title: "",
        cell: (run) =>
          P.el("input", {
            type: "checkbox",
            checked: kept.chosen.has(run.id),
            "aria-label": `Choose ${run.id}`,
            onchange: (event) => {
              kept.chosen[event.target.checked ? "add" : "delete"](run.id);
              onchoice();
            },
          }),
      },
      {
        title: "Run",
        value: (run) => run.id,
        cell: (run) => [
          P.el("span", { class: "swatch", colour: P.lookOf(run.method).colour }),
          P.el("a", { class: "name", href: P.link("trajectories", { run: run.id }) }, run.id),
        ],
      },
      {
        title: "Health",
        cell: (run) =>
          P.el(
            "a",
            { class: "health", "data-run": run.id, href: P.link("health", { run: run.id }) },
            badgeOf(run.id),
          ),
      },
      { title: "Method", value: (run) => run.method, cell: (run) => run.method },
      {
        title: "State",
        value: (run) => run.state,
        cell: (run) => {
          const [kind, words] = STATES[run.state];
          return P.el("span", { class: `badge ${kind}` }, words);
        },
      },
      {
        title: "Step",
        number: true,
        value: (run) => run.step,
        cell: (run) =>
          run.step === null
            ? "–"
            : [
                P.el("progress", {
                  value: run.step,
                  max: run.steps || run.step,
                  "aria-label": "Steps made",
                }),
                `${run.step} / ${run.steps ?? "?"}`,
              ],
      },
      { title: "EM", number: true, value: (run) => run.em, cell: (run) => P.number(run.em) },
      {
        title: "Calls",
        number: true,
        value: (run) => run.calls,
        cell: (run) => P.number(run.calls, 2),
      },
      {
        title: "EM, evaluated",
        number: true,
        value: (run) => achieved(run, "em"),
        cell: (run) => P.number(achieved(run, "em")),
      },
      {
        title: "Calls, evaluated",
        number: true,
        value: (run) => achieved(run, "calls"),
        cell: (run) => P.number(achieved(run, "calls"), 2),
      },
      {
        title: "Left",
        number: true,
        value: (run) => run.seconds_left,
        cell: (run) => P.duration(run.seconds_left),
      },
    ];
    const draw = () => {
      const shown = shownRuns(runs);
      const rows = kept.all ? shown : shown.slice(0, SHOWN);
      P.clear(body).append(scrolling(P.table(columns, rows, { order: kept.order })));
      if (rows.length < shown.length) {
        body.append(
          P.el(
            "p",
            {},
            P.el(
              "button",
              {
                onclick: () => {
                  kept.all = true;
                  draw();
                },
              },
              `Show all ${shown.length}`,
            ),
          ),
        );
      }
    };
    draw();
  };

  /// The table in a box that stays where it was scrolled to, also when all is drawn anew.
  const scrolling = (table) => {
    const keep = (event) => {
      kept.scrolled = event.target.scrollTop;
    };
    const box = P.el("div", { class: "scroll", onscroll: keep }, table);
    requestAnimationFrame(() => {
      box.scrollTop = kept.scrolled;
    });
    return box;
  };

  const badgeOf = (id) => {
    const found = kept.ill.get(id);
    if (found === undefined) return P.el("span", { class: "badge" }, "…");
    if (found === null) return P.el("span", { class: "badge" }, "not judged");
    if (found.length === 0) return P.el("span", { class: "badge well" }, "well");
    return P.el(
      "span",
      {},
      found.map((verdict) => P.el("span", { class: "badge ill" }, verdict.title)),
    );
  };

  /// Judges run after run, those at work first, and says what is wrong above everything else.
  const drawIllness = async (place, table, runs) => {
    const order = [...runs].sort(
      (a, b) => (a.state === "working" ? 0 : 1) - (b.state === "working" ? 0 : 1),
    );
    const cards = new Map();
    for (const run of order) {
      if (!place.isConnected) return;
      const found = await P.healthOf(run).then(P.illOf, () => null);
      kept.ill.set(run.id, found);
      const badge = table.querySelector(`[data-run="${CSS.escape(run.id)}"]`);
      if (badge) P.clear(badge).append(badgeOf(run.id));
      for (const verdict of found || []) {
        const card = cards.get(verdict.rule) || { verdict, runs: [], element: P.el("div") };
        if (card.runs.length === 0) place.append(card.element);
        cards.set(verdict.rule, card);
        card.runs.push(run);
        P.clear(card.element).append(P.illness(card.verdict, card.runs, runs.length === 1 ? 3 : 1));
      }
    }
  };

  /// Curves of one metric, of chosen runs.
  const drawCurves = async (place, runs) => {
    const drawn = drawnRuns(runs);
    const found = await Promise.all(
      drawn.map((run) =>
        P.ask("series", { run: run.id, names: `${kept.metric},response_tokens` }).catch(() => ({
          step: [],
          columns: {},
          names: [],
        })),
      ),
    );
    const names = [...new Set(found.flatMap((one) => one.names))].sort();
    const again = (change) => (value) => {
      change(value);
      drawCurves(place, runs);
    };
    const metrics = names.length > 0 ? names : [kept.metric];
    const controls = P.el(
      "div",
      { class: "row" },
      P.choice(
        "Number",
        metrics.map((name) => [name, name]),
        kept.metric,
        again((value) => {
          kept.metric = value;
        }),
      ),
      P.choice(
        "Over",
        [
          ["step", "steps"],
          ["tokens", "sampled tokens an episode, summed"],
        ],
        kept.axis,
        again((value) => {
          kept.axis = value;
        }),
      ),
      P.el(
        "label",
        {},
        "Smoothing",
        P.el("input", {
          type: "range",
          min: 1,
          max: 50,
          value: kept.smoothing,
          "aria-label": "Smoothing, in steps",
          onchange: (event) =>
            again((value) => {
              kept.smoothing = +value;
            })(event.target.value),
        }),
        `${kept.smoothing}`,
      ),
      P.el(
        "button",
        {
          "aria-pressed": String(kept.byRow),
          onclick: () =>
            again((value) => {
              kept.byRow = value;
            })(!kept.byRow),
        },
        "Mean over seeds",
      ),
    );
    const lines = drawn.map((run, index) => lineOf(run, found[index], drawn));
    const shown = kept.byRow ? byRow(lines) : lines;
    const chart = P.el("div");
    P.clear(place).append(P.el("h2", {}, "Curves"), controls, chart);
    P.chart(chart, shown, { height: 300, xname: kept.axis === "step" ? "step" : "tokens" });
  };

  /// Rows of a method have its colour and dashes of their own; of a single method, colours.
  const lookIn = (run, drawn) => {
    const own = drawn.filter((other) => other.method === run.method);
    const place = [...new Set(own.map((other) => other.row))].indexOf(run.row);
    if (own.length === drawn.length)
      return { colour: P.COLOURS[place % P.COLOURS.length], dash: [] };
    return { colour: P.lookOf(run.method).colour, dash: P.DASHES[place % P.DASHES.length] };
  };

  const lineOf = (run, { step, columns }, drawn) => {
    const values = columns[kept.metric] || step.map(() => null);
    let sum = 0;
    const tokens = (columns.response_tokens || []).map((count) => (sum += count || 0));
    const { colour, dash } = lookIn(run, drawn);
    return {
      name: run.id,
      row: run.row,
      colour,
      dash,
      x: kept.axis === "step" ? step : tokens,
      y: P.smooth(values, kept.smoothing),
    };
  };

  const byRow = (lines) =>
    [...new Set(lines.map((line) => line.row))].map((row) => {
      const own = lines.filter((line) => line.row === row);
      return { ...own[0], ...P.averaged(own), name: `${row} (${own.length})`, width: 2 };
    });

  /// The settings in which two chosen runs differ.
  const drawDifference = async (place, runs) => {
    const chosen = runs.filter((run) => kept.chosen.has(run.id));
    P.clear(place).append(P.el("h2", {}, "Difference of two configurations"));
    if (chosen.length !== 2) {
      place.append(
        P.el("p", { class: "soft" }, `Choose two runs in the table; ${chosen.length} are chosen.`),
      );
      return;
    }
    const [a, b] = await Promise.all(chosen.map((run) => P.ask("config", { run: run.id })));
    const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])]
      .sort()
      .filter((key) => a[key] !== b[key]);
    if (keys.length === 0) {
      place.append(P.el("p", {}, "They are the same."));
      return;
    }
    const value = (settings) => (key) => P.el("span", { class: "mono" }, settings[key] ?? "–");
    const columns = [
      { title: "Key", value: (key) => key, cell: (key) => P.el("span", { class: "mono" }, key) },
      { title: chosen[0].id, cell: value(a) },
      { title: chosen[1].id, cell: value(b) },
    ];
    place.append(P.el("div", { class: "scroll" }, P.table(columns, keys)));
  };
}
