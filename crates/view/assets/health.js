// A run's health: what is wrong in words, and the ten rules with a picture each.
"use strict";

// a block, so that names stay in this file
{
  /// Verdicts of a run without their curves, asked for once while it has the same steps.
  const verdicts = new Map();
  P.healthOf = async (run) => {
    const key = `${run.id} ${run.step} ${run.state}`;
    if (!verdicts.has(key)) verdicts.set(key, P.ask("health", { run: run.id, brief: 1 }));
    return verdicts.get(key);
  };

  const isIll = (verdict) => verdict.condition.state === "ill";
  P.illOf = (health) => health.verdicts.filter(isIll);

  const NAMED = 10; // runs that are named in a card

  /// A verdict that something is wrong with these runs: what it is in the first, what to try.
  P.illness = (verdict, runs, remedies) => {
    const link = (run) => P.el("a", { href: P.link("health", { run: run.id }) }, run.id);
    const named = runs.slice(0, NAMED).flatMap((run, place) => [place > 0 ? ", " : "", link(run)]);
    const more = runs.length > NAMED ? ` and ${runs.length - NAMED} more` : "";
    const first = runs.length > 1 ? P.el("span", { class: "soft" }, `${runs[0].id}: `) : null;
    return P.el(
      "section",
      { class: "card illness" },
      P.el("h3", {}, verdict.title, P.el("span", { class: "soft" }, " in ", named, more)),
      P.el("p", {}, first, verdict.condition.said),
      P.el(
        "ul",
        {},
        verdict.remedies.slice(0, remedies).map((remedy) => P.el("li", {}, P.marked(remedy))),
      ),
    );
  };

  /// Words in backticks are settings and commands.
  P.marked = (words) =>
    words
      .split("`")
      .map((part, place) => (place % 2 === 1 ? P.el("code", { class: "mono" }, part) : part));

  const BADGES = { ill: ["ill", "speaks up"], well: ["well", "well"], unknown: ["", "not judged"] };

  const card = (verdict) => {
    const [kind, word] = BADGES[verdict.condition.state];
    const pictures = P.el("div");
    const element = P.el(
      "section",
      { class: `card${isIll(verdict) ? " illness" : ""}`, id: verdict.rule },
      P.el(
        "div",
        { class: "row spread" },
        P.el("h2", {}, verdict.title),
        P.el("span", { class: `badge ${kind}` }, word),
      ),
      P.el("p", {}, verdict.condition.said),
      pictures,
      P.el(
        "details",
        { open: isIll(verdict) },
        P.el("summary", {}, "Rule, and what to try"),
        P.el("p", { class: "mono" }, verdict.formula),
        P.el(
          "ul",
          {},
          verdict.remedies.map((remedy) => P.el("li", {}, P.marked(remedy))),
        ),
      ),
    );
    return { element, draw: () => draw(pictures, verdict) };
  };

  const draw = (place, verdict) => {
    verdict.curves.forEach((curve, index) => {
      if (curve.points.length === 0) return;
      const line = {
        name: curve.name,
        colour: P.COLOURS[1 + index],
        x: curve.points.map(([step]) => step),
        y: curve.points.map(([, value]) => value),
      };
      P.chart(place, [line], { height: 130, limit: curve.limit });
    });
  };

  P.pages = P.pages || {};
  P.pages.health = async (main, query, runs) => {
    const run = runs.find((one) => one.id === query.run) || runs[0];
    if (!run) return;
    P.put(
      main,
      P.el(
        "div",
        { class: "row spread" },
        P.el("h1", {}, "Health"),
        P.choice(
          "Run",
          runs.map((one) => [one.id, one.id]),
          run.id,
          (id) => P.go("health", { run: id }),
        ),
      ),
    );
    const health = await P.ask("health", { run: run.id });
    const ill = P.illOf(health).length;
    const steps = `${health.steps} steps`;
    P.put(
      main,
      P.el(
        "p",
        { class: "soft" },
        ill === 0
          ? `${steps}. Nothing is wrong by these ten rules.`
          : `${steps}. ${ill} of ten rules ${ill === 1 ? "speaks" : "speak"} up.`,
      ),
    );
    const order = (verdict) => ["ill", "unknown", "well"].indexOf(verdict.condition.state);
    const cards = [...health.verdicts]
      .sort((a, b) => (order(a) === 0 ? 0 : 1) - (order(b) === 0 ? 0 : 1))
      .map(card);
    P.put(
      main,
      P.el(
        "div",
        { class: "verdicts" },
        cards.map((one) => one.element),
      ),
    );
    cards.forEach((one) => one.draw());
  };
}
