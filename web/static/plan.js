// Plans: a link with `data-drawer` opens its page beside what one looks at; a choice shows its plan at
// once. Without this the same pages do the same.
"use strict";
(() => {
  const PART = { "HX-Request": "true" };
  const typed = new Map(); // by path: the reason that was being typed when a drawer was closed
  let drawer = null;
  let asked = 0;

  const failed = () => window.say(document.getElementById("said").dataset.unsent, true);
  const parsed = (text) => new DOMParser().parseFromString(text, "text/html");

  // Returns the part that answers, or null where the browser was sent elsewhere or nothing came.
  const fetched = async (path, options = {}) => {
    try {
      const headers = { ...PART, "HX-Current-URL": location.href };
      const answer = await fetch(path, { ...options, headers });
      const elsewhere = answer.headers.get("HX-Redirect");
      if (elsewhere) { location.assign(elsewhere); return null; }
      return parsed(await answer.text());
    } catch {
      failed();
      return null;
    }
  };

  const made = () => {
    const dialog = document.createElement("dialog");
    dialog.id = "drawer";
    dialog.className = "drawer";
    dialog.setAttribute("aria-labelledby", "plan-title");
    dialog.addEventListener("close", () => {
      const reason = dialog.querySelector("[name=reason]");
      if (reason) typed.set(dialog.dataset.path, reason.value);
      dialog.replaceChildren();
    });
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
    document.body.append(dialog);
    return dialog;
  };

  const open = async (href) => {
    const page = await fetched(href);
    if (!page) return;
    drawer ??= made();
    drawer.dataset.path = new URL(href, location.href).pathname;
    drawer.replaceChildren(...page.body.children);
    reveal(drawer);
    const reason = drawer.querySelector("[name=reason]");
    if (reason && !reason.value) reason.value = typed.get(drawer.dataset.path) ?? "";
    drawer.showModal();
    drawer.scrollTop = 0;
    drawer.querySelector("#plan-title")?.focus();
  };

  const reveal = (part) => part.querySelectorAll(".copy[hidden]").forEach((one) => { one.hidden = false; });

  // Puts a new plan in the place of the old one, and leaves what is typed and where one is.
  const replan = (form, page) => {
    const at = document.activeElement?.id;
    for (const id of ["plan-outcome", "plan-act"]) {
      const part = page.getElementById(id);
      const old = form.querySelector(`#${id}`);
      if (part && old) old.replaceWith(part);
    }
    const ready = Boolean(form.querySelector("#plan-confirm"));
    form.querySelector(".plan-foot").classList.toggle("plan-ready", ready);
    reveal(form);
    if (at && document.activeElement?.id !== at) document.getElementById(at)?.focus();
    const told = page.querySelector(".what-went-wrong p");
    if (!page.getElementById("plan-outcome") && told) window.say(told.textContent, true);
  };

  const values = (form, submitter) => {
    const fields = new URLSearchParams(new FormData(form, submitter));
    if (!submitter) fields.delete("plan_hash");
    return fields;
  };

  const show = async (form) => {
    const mine = ++asked;
    const query = values(form);
    form.setAttribute("aria-busy", "true");
    const page = await fetched(`${form.getAttribute("action")}?${query}`);
    form.removeAttribute("aria-busy");
    if (!page || mine !== asked) return;
    replan(form, page);
    if (!form.closest("dialog")) history.replaceState(null, "", `?${query}`);
  };

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-drawer]");
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0) {
      event.preventDefault();
      open(link.href);
    }
    const close = event.target.closest("[data-close]");
    if (close && drawer?.contains(close)) {
      event.preventDefault();
      drawer.close();
    }
  });

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-choice]")) show(event.target.form);
  });

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.matches("[data-plan]")) return;
    if (event.submitter?.matches("[data-replan]")) {
      event.preventDefault();
      show(form);
      return;
    }
    if (form.getAttribute("aria-busy")) { event.preventDefault(); return; }
    if (!form.closest("dialog")) return;
    event.preventDefault();
    form.setAttribute("aria-busy", "true");
    const body = values(form, event.submitter);
    const page = await fetched(form.getAttribute("action"), { method: "POST", body });
    if (!page) { form.removeAttribute("aria-busy"); return; }
    form.removeAttribute("aria-busy");
    replan(form, page);
    form.querySelector("[role=alert]")?.focus();
  });
})();
