// Which page is shown, and when it is drawn anew: when its address changes, and when runs go on.
"use strict";

// a block, so that names stay in this file
{
  const EVERY = 2000; // milliseconds between questions whether something is new
  const page = { overview: null, drawing: 0, isDrawn: false };

  const draw = async () => {
    const { page: name, query } = P.place();
    const drawing = ++page.drawing;
    const main = document.getElementById("main");
    for (const link of document.querySelectorAll("nav a")) {
      if (link.dataset.page === name) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    P.onnews = null;
    const { runs, folders, controls, unreadable } = page.overview;
    const fresh = P.el("div");
    const show = P.pages[name] || P.pages.overview;
    // what is drawn needs its width, so it stands in the page while it is filled
    const top = scrollY;
    P.clear(main).append(fresh);
    if (runs.length === 0) {
      P.put(
        fresh,
        P.el("h1", {}, "No runs"),
        P.el(
          "p",
          {},
          `There is no run below ${folders.join(", ")}. A run is the folder of \`train --run\`.`,
        ),
      );
    } else {
      await show(fresh, query, runs, { folders, controls, unreadable }).catch((error) =>
        P.put(fresh, P.fail(error)),
      );
    }
    if (drawing === page.drawing) {
      scrollTo(0, top);
      main.dataset.drawn = String(drawing);
    }
  };

  const say = (words) => {
    document.getElementById("live").textContent = words;
  };

  const look = async () => {
    try {
      const seen = page.overview ? page.overview.version : "";
      const found = await P.ask("overview", { seen });
      if (found.runs) {
        page.overview = found;
        P.setLooks(found.looks);
        // who reads a trajectory or writes into a filter is not disturbed
        const isBusy = document.activeElement && document.activeElement.matches("input, select");
        const isReading = P.place().page === "trajectories";
        if (!page.isDrawn || (!isReading && !isBusy)) await draw();
        else if (isReading && P.onnews) await P.onnews();
        page.isDrawn = true;
      }
      const working = page.overview.runs.filter((run) => run.state === "working").length;
      say(
        P.isFile
          ? "a file, as the runs were"
          : working > 0
            ? `live: ${working} at work`
            : "live: none at work",
      );
    } catch (error) {
      say("not connected: is `paretopo view` still there?");
      if (!page.isDrawn) P.clear(document.getElementById("main")).append(P.fail(error));
    }
    if (!P.isFile) setTimeout(look, EVERY);
  };

  addEventListener("hashchange", () => {
    if (page.overview) draw();
  });
  look();
}
