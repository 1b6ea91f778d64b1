// The rollouts of one prompt side by side: what each was worth, its rank, who dominates whom.
"use strict";

// a block, so that names stay in this file
{
  const GROUP = { width: 420, height: 300, left: 52, right: 14, top: 14, bottom: 40 };

  /// The colour of a rank: the first is the lead's, later ones fade.
  P.rankColour = (rank) =>
    rank === null ? "#9aa3b2" : ["#d55e00", "#0072b2", "#009e73", "#cc79a7"][Math.min(rank, 4) - 1];

  /// Draws the group; `onmember` is called with the member that is chosen.
  P.group = (place, group, line, onmember) => {
    const members = group.members;
    P.put(
      place,
      P.el(
        "h2",
        {},
        `${group.task}`,
        P.el("span", { class: "soft" }, `  ${members.length} rollouts of ${group.prompt}`),
      ),
    );
    const cards = P.el(
      "div",
      { class: "group" },
      members.map((member) => {
        const rewards = member.rewards
          .map((value, k) => `${group.objectives[k]} ${P.number(value, 2)}`)
          .join("  ");
        return P.el(
          "button",
          {
            class: "rollout",
            edge: P.rankColour(member.rank),
            "aria-current": member.line === line ? "true" : null,
            onclick: () => onmember(member),
          },
          P.el("strong", {}, `#${member.sample} `),
          P.el(
            "span",
            { class: `badge ${member.success ? "well" : member.success === false ? "ill" : ""}` },
            member.success ? "right" : member.success === false ? "wrong" : "unscored",
          ),
          member.rank === null ? null : P.el("span", { class: "badge" }, `rank ${member.rank}`),
          P.el("span", { class: "answer mono" }, member.answer ?? "no answer"),
          P.el("span", { class: "soft" }, `${rewards}`),
          P.el("br"),
          P.el(
            "span",
            { class: "soft" },
            `${member.calls} calls, ${member.tokens} tokens${advantageOf(member)}`,
          ),
        );
      }),
    );
    const pictures = pairs(group.objectives.length).map(([a, b]) =>
      picture(group, a, b, line, onmember),
    );
    P.put(
      place,
      P.el(
        "div",
        { class: "columns even" },
        P.el("div", {}, cards),
        P.el(
          "div",
          {},
          pictures,
          P.el(
            "p",
            { class: "soft" },
            "A line leads from a rollout to each one of the next rank that it dominates. " +
              "Colours are ranks: " +
              "1 vermillion, 2 blue, 3 green, 4 and more pink.",
          ),
        ),
      ),
    );
  };

  const advantageOf = (member) =>
    member.advantages.length === 0
      ? ""
      : `, advantage ${member.advantages.map((value) => P.number(value, 2)).join(" ")}`;

  /// Pairs of objectives: of two the one pair, of more each with its neighbour.
  const pairs = (count) => {
    if (count < 2) return count === 1 ? [[0, 0]] : [];
    return Array.from({ length: Math.min(count - 1, 4) }, (_, k) => [k, k + 1]);
  };

  const picture = (group, a, b, line, onmember) => {
    const members = group.members.filter(
      (member) => member.rewards[a] !== null && member.rewards[b] !== null,
    );
    const words = members
      .map(
        (member) => `#${member.sample}: rank ${member.rank}, dominates ${member.dominates.length}`,
      )
      .join("; ");
    const svg = P.svg("svg", {
      viewBox: `0 0 ${GROUP.width} ${GROUP.height}`,
      width: "100%",
      class: "plane",
      role: "group",
      "aria-label": words,
    });
    if (members.length === 0) return svg;
    const { x, y } = P.axes(
      svg,
      members.map((member) => [member.rewards[a], member.rewards[b]]),
      [group.objectives[a], group.objectives[b]],
      GROUP,
    );
    const at = (member) => [x(member.rewards[a]), y(member.rewards[b])];
    for (const member of members) {
      for (const place of member.dominates) {
        const other = group.members[place];
        if (other.rank !== member.rank + 1 || other.rewards[a] === null) continue;
        const [[x1, y1], [x2, y2]] = [at(member), at(other)];
        svg.append(P.svg("line", { x1, y1, x2, y2, stroke: "#c6ccd7" }));
      }
    }
    // equal ones lie side by side around their place
    const seen = new Map();
    for (const member of members) {
      const key = `${member.rewards[a]} ${member.rewards[b]}`;
      const count = seen.get(key) || 0;
      seen.set(key, count + 1);
      const [left, top] = at(member);
      const [cx, cy] = [left - (count % 4) * 11, top + Math.floor(count / 4) * 11];
      svg.append(
        P.svg(
          "circle",
          {
            class: "mark",
            cx,
            cy,
            r: 5.5,
            fill: P.rankColour(member.rank),
            stroke: member.line === line ? "#000" : "#fff",
            "stroke-width": member.line === line ? 2.5 : 1.2,
            tabindex: 0,
            role: "button",
            "aria-label": `rollout ${member.sample}, rank ${member.rank}`,
            onclick: () => onmember(member),
            onkeydown: (event) => {
              if (event.key === "Enter") onmember(member);
            },
          },
          P.svg("title", {}, `#${member.sample}`),
        ),
      );
    }
    return svg;
  };
}
