// The trajectories of a run: a file, filters, a list, then a group and one of its rollouts.
"use strict";

// a block, so that names stay in this file
{
  const FILTERS = [
    "task",
    "success",
    "finish",
    "rank",
    "least_calls",
    "most_calls",
    "objective",
    "least",
    "most",
  ];

  P.pages.trajectories = async (main, query, runs) => {
    const run = runs.find((one) => one.id === query.run) || runs[0];
    if (!run) return;
    const files = await P.ask("files", { run: run.id });
    const steps = files.filter((file) => file.step !== null);
    const usual = steps.at(-1) || files[0];
    const file = files.find((one) => one.name === query.file) || usual;
    const go = (changes) => P.go("trajectories", { ...query, run: run.id, ...changes });
    const of = (names) =>
      P.choice(
        "Of",
        names.map((one) => [one.name, one.step === null ? one.name : `step ${one.step}`]),
        file.name,
        (name) => go({ file: name, line: "", from: "" }),
      );
    const choice = file ? of(files) : null;
    P.onnews = async () => {
      // new steps are offered; what is read stays
      const found = await P.ask("files", { run: run.id });
      const select = choice?.querySelector("select");
      if (!select?.isConnected || found.length === select.options.length) return;
      if (document.activeElement !== select)
        select.replaceChildren(...of(found).querySelector("select").children);
    };
    P.put(
      main,
      P.el(
        "div",
        { class: "row spread" },
        P.el("h1", {}, "Trajectories"),
        P.el(
          "div",
          { class: "row" },
          P.choice(
            "Run",
            runs.map((one) => [one.id, one.id]),
            run.id,
            (id) => P.go("trajectories", { run: id }),
          ),
          choice,
        ),
      ),
    );
    if (!file) {
      P.put(
        main,
        P.el(
          "p",
          { class: "soft" },
          "This run has kept no trajectories (train.save_trajectories_every).",
        ),
      );
      return;
    }
    const asked = { run: run.id, file: file.name };
    for (const name of [...FILTERS, "from"]) asked[name] = query[name];
    const listed = await P.ask("episodes", asked);
    const chosen =
      query.line === undefined || query.line === ""
        ? listed.rows.find((row) => !row.error)?.line
        : +query.line;
    const list = P.el("section", { class: "card" });
    const group = P.el("section", { class: "card" });
    const episode = P.el("section", { class: "card" });
    P.put(main, list, group, episode);
    drawList(list, listed, query, chosen, (changes) => go({ file: file.name, ...changes }));
    if (chosen === undefined) {
      group.remove();
      episode.remove();
      return;
    }
    const open = { run: run.id, file: file.name, line: chosen };
    try {
      P.group(group, await P.ask("group", open), chosen, (member) =>
        go({ file: file.name, line: member.line }),
      );
      P.chat(episode, await P.ask("episode", open));
    } catch (error) {
      P.put(episode, P.fail(error));
    }
  };

  const drawList = (place, listed, query, chosen, go) => {
    const input = (name, title, attributes) =>
      P.el(
        "label",
        {},
        title,
        P.el("input", {
          value: query[name] || "",
          "data-filter": name,
          onchange: (event) => go({ [name]: event.target.value, from: "", line: "" }),
          ...attributes,
        }),
      );
    const pick = (name, title, options) =>
      P.choice(
        title,
        [["", "any"], ...options.map((one) => [one, one])],
        query[name] || "",
        (value) => go({ [name]: value, from: "", line: "" }),
      );
    P.put(
      place,
      P.el(
        "div",
        { class: "row" },
        input("task", "Task contains", { type: "search" }),
        pick("success", "Success", ["right", "wrong", "unscored"]),
        pick("finish", "Ended by", ["stop", "length", "deadline", "failed"]),
        input("rank", "Rank", { type: "number", min: 1 }),
        input("least_calls", "Calls from", { type: "number", min: 0 }),
        input("most_calls", "to", { type: "number", min: 0 }),
        pick(
          "objective",
          "Reward",
          listed.objectives.length > 0 ? listed.objectives : [query.objective].filter(Boolean),
        ),
        input("least", "from", { type: "number", step: "any" }),
        input("most", "to", { type: "number", step: "any" }),
      ),
    );
    const rewards = listed.objectives.map((name, k) => ({
      title: name,
      number: true,
      value: (row) => (row.rewards || [])[k],
      cell: (row) => P.number((row.rewards || [])[k]),
    }));
    const plain = (name, title, number, digits) => ({
      title,
      number,
      value: (row) => row[name],
      cell: (row) => (number ? P.number(row[name], digits) : String(row[name] ?? "–")),
    });
    const columns = [
      {
        title: "Episode",
        value: (row) => row.line,
        cell: (row) =>
          row.error
            ? P.el("span", { class: "error" }, row.error)
            : P.el(
                "a",
                {
                  href: "#",
                  onclick: (event) => {
                    event.preventDefault();
                    go({ line: row.line });
                  },
                },
                row.id,
              ),
      },
      plain("task", "Task"),
      {
        title: "Success",
        value: (row) => String(row.success),
        cell: (row) =>
          row.success === null || row.error
            ? "–"
            : P.el(
                "span",
                { class: `badge ${row.success ? "well" : "ill"}` },
                row.success ? "right" : "wrong",
              ),
      },
      ...rewards,
      plain("rank", "Rank", true, 0),
      plain("calls", "Calls", true, 0),
      plain("errors", "Failed calls", true, 0),
      plain("tokens", "Tokens", true, 0),
      {
        title: "Advantage",
        number: true,
        value: (row) => (row.advantages || [])[0],
        cell: (row) => (row.advantages || []).map((value) => P.number(value, 2)).join(" ") || "–",
      },
      plain("finish", "Ended by"),
      plain("answer", "Answer"),
    ];
    const first = listed.rows.length;
    P.put(
      place,
      P.el(
        "div",
        { class: "scroll" },
        P.table(columns, listed.rows, { chosen: (row) => row.line === chosen }),
      ),
      P.el(
        "div",
        { class: "row" },
        P.el("span", { class: "soft" }, `${first} shown of a file of ${listed.total}`),
        query.from
          ? P.el("button", { onclick: () => go({ from: "", line: "" }) }, "From the beginning")
          : null,
        listed.next === null
          ? null
          : P.el("button", { onclick: () => go({ from: listed.next, line: "" }) }, "Look on"),
      ),
    );
  };
}
