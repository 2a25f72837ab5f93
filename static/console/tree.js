// The object tree: lists below a changed node are fetched anew, so that boxes and modes in them are right.
(() => {
  "use strict";
  const changed = new WeakMap();

  const open = (button) => {
    if (button.dataset.again === "all" || button.closest("[data-whole]")) {
      return [document.getElementById("level")];
    }
    const list = button.closest("li")?.querySelector(":scope > .body > details[open] > ul");
    return list ? [list] : [];
  };

  // The button itself is replaced by the answer: what lies below it has to be found before.
  document.addEventListener("htmx:beforeRequest", (event) => {
    const button = event.detail.elt;
    if (button.hasAttribute("data-again")) changed.set(event.detail.xhr, open(button));
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (!event.detail.successful) return;
    (changed.get(event.detail.xhr) || []).forEach((list) => list && htmx.trigger(list, "again"));
  });
})();
