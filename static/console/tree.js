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
  // In a search, or on a level's own page, the ancestors are not shown: what the answer says about them has no place.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (!event.detail.requestConfig?.elt?.hasAttribute("data-again") || event.detail.xhr.status !== 200) return;
    const parts = new DOMParser().parseFromString(event.detail.serverResponse, "text/html").body;
    parts.querySelectorAll("[hx-swap-oob]").forEach((part) => { if (!document.getElementById(part.id)) part.remove(); });
    event.detail.serverResponse = parts.innerHTML;
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (!event.detail.successful) return;
    (changed.get(event.detail.xhr) || []).forEach((list) => list && htmx.trigger(list, "again"));
  });
})();
