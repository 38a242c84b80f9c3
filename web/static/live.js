// The one connection of a page: parts with `data-live` are asked for again when something that they
// show has changed. A page whose connection is lost says so: it never shows an old "healthy".
"use strict";
(() => {
  const asked = document.body.dataset.events;
  if (!asked) return;
  // When a part is morphed, what somebody opened stays open, and `data-keep` as it was typed.
  const { callbacks } = window.Idiomorph.defaults;
  callbacks.beforeAttributeUpdated = (name, part) => name !== "open" || part.localName !== "details";
  callbacks.beforeNodeMorphed = (part) => !part.matches?.("[data-keep]");
  const SILENT_MS = 12000; // the stream beats every 5 s
  const APART_MS = 400; // refreshes of a part
  const HIDDEN_MS = 30000; // a page that nobody looks at lets go of its connection
  const root = document.documentElement;
  const lost = document.getElementById("lost");
  const sentence = lost.textContent;
  const [path, query] = asked.split("?after=");
  let seen = query;
  let source = null;
  let silence = 0;
  let again = 0;
  let hidden = 0;
  let heardAt = Date.now();

  const heard = () => {
    heardAt = Date.now();
    clearTimeout(silence);
    silence = setTimeout(() => { fail(); connect(); }, SILENT_MS);
    if (root.dataset.link === "lost") {
      delete root.dataset.link;
      lost.hidden = true;
      refresh(() => true);
    }
  };

  const fail = () => {
    clearTimeout(silence);
    if (root.dataset.link === "lost") return;
    root.dataset.link = "lost";
    const at = new Date(heardAt).toISOString().slice(11, 19);
    lost.textContent = sentence.replace("{at}", `${at} UTC`);
    lost.hidden = false;
  };

  const close = () => {
    clearTimeout(silence);
    clearTimeout(again);
    if (source) source.close();
    source = null;
  };

  const connect = () => {
    close();
    source = new EventSource(`${path}?after=${seen}`);
    source.addEventListener("beat", heard);
    source.addEventListener("change", (event) => {
      seen = event.lastEventId || seen;
      heard();
      refresh(about(JSON.parse(event.data)));
    });
    source.addEventListener("over", () => {
      close();
      location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
    });
    source.onerror = () => {
      fail();
      if (source && source.readyState === EventSource.CLOSED) again = setTimeout(connect, 2000);
    };
    silence = setTimeout(() => { fail(); connect(); }, SILENT_MS);
  };

  // Whether a change concerns a part: by its rollout, or by its model and fleet; "" means all.
  const about = (change) => (part) => {
    const { liveFleet, liveModel, liveRollout } = part.dataset;
    if (change.all) return true;
    if (liveRollout && change.rollouts.includes(liveRollout)) return true;
    const fleet = !liveFleet || change.fleets.includes(liveFleet) || change.fleets.includes("");
    const model = !liveModel || change.models.includes(liveModel) || change.models.includes("");
    return fleet && model && (!liveRollout || Boolean(liveFleet || liveModel));
  };

  const waiting = new Map(); // by element id: when it was asked for last, and whether it will be
  const refresh = (concerned) => {
    for (const part of document.querySelectorAll("[data-live]")) {
      if (concerned(part)) soon(part.id);
    }
  };

  const soon = (id) => {
    const state = waiting.get(id) ?? { at: 0, timer: 0 };
    waiting.set(id, state);
    if (state.timer) return;
    const wait = Math.max(0, state.at + APART_MS - performance.now());
    state.timer = setTimeout(() => {
      state.timer = 0;
      state.at = performance.now();
      const part = document.getElementById(id);
      if (part) window.htmx.trigger(part, "live");
    }, wait);
  };

  // Who listens is told what a heading says when that has changed, not that something has.
  const told = () => document.querySelector("[data-live] h1")?.textContent.trim() ?? "";
  let last = told();
  document.addEventListener("htmx:afterSettle", () => {
    const now = told();
    if (now !== last) window.say(now);
    last = now;
  });

  document.addEventListener("htmx:sendError", fail);
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hidden);
    if (document.hidden) hidden = setTimeout(() => { close(); root.dataset.link = "lost"; }, HIDDEN_MS);
    else if (!source) connect();
  });
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", (event) => { if (event.persisted) { fail(); connect(); } });
  connect();
})();
