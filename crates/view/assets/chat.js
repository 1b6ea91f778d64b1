// One trajectory as a conversation: who wrote each token, and what is known of it.
"use strict";

// a block, so that names stay in this file
{
  const LOOKS = [
    ["author", "who wrote it"],
    ["advantage", "advantage"],
    ["logprob", "log-probability"],
    ["entropy", "entropy"],
    ["trainer", "sampler-trainer difference"],
    ["difference", "sampling beside untempered log-probability"],
    ["ids", "raw ids"],
  ];
  const AUTHORS = {
    prompt: "prompt",
    model: "model",
    tool: "tool",
    environment: "environment",
    template: "template",
  };
  const FIRST = 600; // characters of a tool's output before it is folded
  const chat = { look: "author" };

  P.chat = (place, episode) => {
    const draw = () => {
      const look = chat.look;
      P.put(
        P.clear(place),
        P.el(
          "div",
          { class: "row spread" },
          P.el("h2", {}, episode.id),
          P.choice("Colour", LOOKS, look, (value) => {
            chat.look = value;
            draw();
          }),
        ),
        facts(episode),
        legend(look, episode),
        timeline(episode),
      );
      episode.segments.forEach((segment, index) =>
        place.append(message(episode, segment, index, look)),
      );
      if (episode.left_out > 0)
        place.append(P.el("p", { class: "soft" }, `${episode.left_out} more tokens are left out.`));
    };
    draw();
  };

  const facts = (episode) => {
    const rewards = Object.entries(episode.objectives)
      .map(([name, value]) => `${name} ${P.number(+value, 3)}`)
      .join(", ");
    const finish =
      episode.finish.reason + (episode.finish.detail ? `: ${episode.finish.detail}` : "");
    const success = episode.success === null ? "unscored" : episode.success ? "right" : "wrong";
    const cut = episode.calls.filter((call) => call.outcome.truncated).length;
    return P.el(
      "p",
      {},
      P.el(
        "span",
        { class: `badge ${episode.success ? "well" : episode.success === false ? "ill" : ""}` },
        success,
      ),
      ` answer `,
      P.el("span", { class: "mono" }, episode.answer ?? "none"),
      episode.finish.reason === "length"
        ? P.el("span", { class: "badge ill" }, "the response was cut")
        : null,
      `; ${rewards || "no rewards"}; ended by ${finish}` +
        `; ${P.number(episode.seconds, 2)} s` +
        (cut > 0 ? `; the output of ${cut} calls was cut` : "") +
        `${episode.tool_free ? "; no call was allowed" : ""}`,
    );
  };

  // --- colours of tokens: blue is high, orange is low, white is none; both tell for all eyes ---

  const mixed = (share, [r, g, b]) =>
    `rgba(${r}, ${g}, ${b}, ${Math.min(1, Math.max(0, share)).toFixed(3)})`;
  const BLUE = [0, 114, 178];
  const ORANGE = [213, 94, 0];
  /// Of each author, also at the edge of what it wrote.
  const INK = { prompt: [154, 163, 178], model: BLUE, tool: ORANGE, template: [204, 121, 167] };

  const shade = (look, segment, place) => {
    const value = P.valueOf(look, segment, place);
    if (value === null || value === undefined) return null;
    if (look === "advantage") return mixed(Math.abs(value) / 2, value >= 0 ? BLUE : ORANGE);
    if (look === "logprob") return mixed(-value / 4, ORANGE);
    if (look === "entropy") return mixed(value / 3, BLUE);
    if (look === "trainer") return mixed(Math.abs(value) / 0.2, value >= 0 ? BLUE : ORANGE);
    return mixed(Math.abs(value), value >= 0 ? BLUE : ORANGE);
  };

  P.valueOf = (look, segment, place) => {
    const at = (list) => (list && list.length > 0 ? list[place] : null);
    if (look === "advantage") return segment.author === "model" ? segment.advantage : null;
    if (look === "logprob") return at(segment.logprobs);
    if (look === "entropy") return at(segment.entropies);
    if (look === "trainer") {
      const [trainer, sampler] = [at(segment.trainer_logprobs), at(segment.logprobs)];
      return trainer === null || sampler === null ? null : trainer - sampler;
    }
    if (look !== "difference") return null;
    const [a, b] = [at(segment.sampling_logprobs), at(segment.logprobs)];
    return a === null || b === null ? null : a - b;
  };

  const SCALES = {
    author:
      "Who wrote it: prompt grey, model blue, tool orange, environment green, template pink. Only " +
      "the model's tokens are learnt from.",
    advantage: "Blue was reinforced, orange discouraged; full at 2.",
    logprob: "Orange was unlikely: full at -4 nats.",
    entropy: "Blue could have been many others: full at 3 nats.",
    trainer:
      "The trainer's log-probability before the update, less the sampler's: blue is likelier to the " +
      "trainer, orange less; full at 0.2 nats, the usual clip range.",
    difference:
      "Blue was likelier as it was sampled (temperature, top-k, top-p) than untempered, orange " +
      "less; full at 1 nat.",
    ids: "The ids that the model saw and wrote.",
  };

  const legend = (look, episode) => {
    const isKnown =
      look === "author" ||
      look === "ids" ||
      episode.segments.some((segment) =>
        segment.ids.some(
          (_, place) =>
            P.valueOf(look, segment, place) !== null &&
            P.valueOf(look, segment, place) !== undefined,
        ),
      );
    const absent = {
      entropy: "Not recorded: it is with `rollout.recorded.entropy`.",
      trainer: "Not recorded: it is with `train.save_trainer_logprobs`.",
      advantage: "Not recorded: this trajectory was not trained on, or is of an older version.",
    };
    return P.el("p", { class: "soft" }, isKnown ? SCALES[look] : absent[look] || "Not recorded.");
  };

  const message = (episode, segment, index, look) => {
    const who = P.el(
      "div",
      { class: "who" },
      P.el("strong", {}, AUTHORS[segment.author] + (segment.thinking ? ", thinking" : "")),
      `${segment.ids.length} tokens`,
      segment.weight_version === null
        ? null
        : P.el("span", {}, `weights after ${segment.weight_version} updates`),
      segment.time
        ? P.el("span", {}, `${P.number(segment.time[0], 3)} to ${P.number(segment.time[1], 3)} s`)
        : null,
    );
    const calls = episode.calls.filter((call) => call.segment === index);
    const replies = (episode.replies || []).filter((reply) => reply.segment === index);
    const words = P.el("div", { class: "text" }, tokens(segment, look));
    const length = (segment.texts || segment.ids).join("").length;
    const isFolded = segment.author !== "model" && length > FIRST;
    return P.el(
      "div",
      { class: `message ${segment.author}` },
      who,
      isFolded ? P.el("details", {}, P.el("summary", {}, `${length} characters`), words) : words,
      calls.map(called),
      replies.map(replied),
    );
  };

  const tokens = (segment, look) => {
    if (look === "ids" || !segment.texts) return segment.ids.join(" ");
    if (look === "author") {
      const colour = mixed(0.14, INK[segment.author]);
      return P.el("span", { class: "token", colour }, segment.texts.join(""));
    }
    return segment.texts.map((text, place) => {
      const value = P.valueOf(look, segment, place);
      const title =
        value === null || value === undefined
          ? `id ${segment.ids[place]}`
          : `id ${segment.ids[place]}: ${P.number(value, 4)}`;
      return P.el("span", { class: "token", colour: shade(look, segment, place), title }, text);
    });
  };

  /// A call and its outcome, folded.
  const called = (call) => {
    const name = call.call ? call.call.name : "that could not be read";
    const { status, seconds, truncated, text } = call.outcome;
    const price = call.price === undefined || call.price === null ? "" : P.number(call.price, 2);
    const words = [
      `call ${name}: ${status}`,
      `${P.number(seconds, 3)} s`,
      ...(truncated ? ["cut"] : []),
      ...(price ? [`price ${price}`] : []),
    ];
    const asked = call.call ? JSON.stringify(call.call.arguments, null, 1) : null;
    return P.el(
      "details",
      {},
      P.el("summary", {}, words.join(", ")),
      asked ? P.el("div", { class: "text soft" }, asked) : null,
      P.el("div", { class: "text" }, text),
    );
  };

  /// What the environment made of a turn, folded.
  const replied = (reply) => {
    const rewards = Object.entries(reply.rewards || {});
    const words = [
      reply.error ? "environment failed" : reply.done ? "environment: the end" : "environment",
      `${P.number(reply.seconds, 3)} s`,
      ...rewards.map(([name, value]) => `${name} ${P.number(+value, 3)}`),
      ...(reply.truncated ? ["cut"] : []),
    ];
    return P.el(
      "details",
      {},
      P.el("summary", {}, words.join(", ")),
      P.el("div", { class: "text" }, reply.error || reply.text),
    );
  };

  /// When tokens and calls came.
  const timeline = (episode) => {
    const end = Math.max(episode.seconds, 1e-6);
    const parts = [
      ...episode.segments
        .filter((segment) => segment.author === "model" && segment.time)
        .map((segment) => [segment.time, "#0072b2", "decoding"]),
      ...episode.calls
        .filter((call) => call.time)
        .map((call) => [call.time, "#d55e00", call.call ? call.call.name : "call"]),
    ];
    if (parts.length === 0) return null;
    const words = parts
      .map(([[from, to], , name]) => `${name} ${P.number(from, 3)} to ${P.number(to, 3)} s`)
      .join("; ");
    return P.svg(
      "svg",
      {
        viewBox: "0 0 1000 22",
        width: "100%",
        height: 22,
        preserveAspectRatio: "none",
        role: "img",
        "aria-label": words,
      },
      P.svg("rect", { x: 0, y: 9, width: 1000, height: 4, fill: "#edf0f4" }),
      parts.map(([[from, to], colour, name]) =>
        P.svg(
          "rect",
          {
            x: (from / end) * 1000,
            y: colour === "#d55e00" ? 12 : 3,
            width: Math.max(2, ((to - from) / end) * 1000),
            height: 7,
            fill: colour,
          },
          P.svg("title", {}, `${name} ${P.number(from, 3)} to ${P.number(to, 3)} s`),
        ),
      ),
    );
  };
}
