// Habits of every page: keys, local times, copying, confirming. Pages work without it.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const said = document.getElementById("said");

  // Said to who listens, shown for a moment to who looks.
  window.say = (text, wrong = false) => {
    said.textContent = "";
    requestAnimationFrame(() => { said.textContent = text; });
    said.classList.toggle("wrong", wrong);
    said.classList.add("shown");
    clearTimeout(window.say.timer);
    window.say.timer = setTimeout(() => said.classList.remove("shown"), wrong ? 12000 : 2500);
  };

  // Times are in UTC; whoever points at one is told the local time.
  const local = (event) => {
    const time = event.target.closest?.("time[datetime]");
    if (time && !time.title) {
      const form = { dateStyle: "medium", timeStyle: "long", hourCycle: "h23" };
      time.title = new Date(time.dateTime).toLocaleString(root.lang, form);
    }
  };
  document.addEventListener("mouseover", local);
  document.addEventListener("focusin", local);

  document.addEventListener("click", async (event) => {
    const opener = event.target.closest("[data-open]");
    if (opener) document.getElementById(opener.dataset.open).showModal();
    const copier = event.target.closest("[data-copy]");
    if (copier) {
      await navigator.clipboard.writeText(copier.dataset.copy);
      window.say(said.dataset.copied);
    }
  });

  // A form, or a button of one, with `data-ask` is sent after its question was answered.
  const ask = document.getElementById("ask");
  document.addEventListener("submit", (event) => {
    const form = event.target;
    const question = event.submitter?.dataset.ask || form.dataset?.ask;
    if (!question || form.dataset.asked) return;
    event.preventDefault();
    document.getElementById("ask-text").textContent = question;
    ask.returnValue = "no";
    ask.onclose = () => {
      if (ask.returnValue !== "yes") return;
      form.dataset.asked = "yes";
      form.requestSubmit(event.submitter);
      delete form.dataset.asked;
    };
    ask.showModal();
  });

  // `/` searches, `?` lists the keys, `g` and a letter go to a page.
  let went = 0;
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "/") {
      const search = document.getElementById("search");
      if (search) { event.preventDefault(); search.focus(); search.select(); }
    } else if (event.key === "?") {
      document.getElementById("keys").showModal();
    } else if (event.key === "g") {
      went = event.timeStamp;
    } else if (event.timeStamp - went < 1500) {
      const link = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
      if (link) link.click();
    }
  });

  // What the control plane refused is told where it was asked.
  document.addEventListener("htmx:responseError", (event) => {
    const page = new DOMParser().parseFromString(event.detail.xhr.responseText, "text/html");
    const told = page.querySelector(".what-went-wrong p");
    window.say(told ? told.textContent : said.dataset.unsent, true);
  });
})();
