// The object tree: lists below a changed node are fetched anew, so that boxes and modes in them are right.
(() => {
  "use strict";
  const refresh = new WeakMap();
  const fetching = new WeakMap();
  const outdated = new WeakSet();

  const below = (button) => {
    if (button.dataset.again === "all" || button.closest("[data-whole]")) return [document.getElementById("level")];
    const list = button.closest("li")?.querySelector(":scope > .body > details[open] > ul");
    return list ? [list] : [];
  };

  // The button itself is replaced by the answer: what lies below it has to be found before. A list that is just being
  // fetched would show what was true before this change: its answer is dropped, and it is asked for again afterwards.
  document.addEventListener("htmx:beforeRequest", (event) => {
    const button = event.detail.elt;
    if (button.matches("#level, #level ul")) fetching.set(button, event.detail.xhr);
    if (!button.hasAttribute("data-again")) return;
    const stale = [...document.querySelectorAll("#level.htmx-request, #level ul.htmx-request")];
    stale.forEach((list) => { if (fetching.has(list)) outdated.add(fetching.get(list)); });
    refresh.set(event.detail.xhr, new Set([...below(button), ...stale]));
  });

  // In a search, or on a level's own page, the ancestors are not shown: what the answer says about them has no place.
  // The button may be gone by now, when a list was fetched meanwhile: the answer is put in for the whole page.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (outdated.has(event.detail.xhr)) event.detail.shouldSwap = false;
    if (!refresh.has(event.detail.xhr) || event.detail.xhr.status !== 200) return;
    const parts = new DOMParser().parseFromString(event.detail.serverResponse, "text/html").body;
    parts.querySelectorAll("[hx-swap-oob]").forEach((part) => { if (!document.getElementById(part.id)) part.remove(); });
    event.detail.shouldSwap = false;
    const target = document.getElementById("counter");
    htmx.swap(target, parts.innerHTML, { swapStyle: "none" }, { eventInfo: { target } });
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    (refresh.get(event.detail.xhr) || []).forEach((list) => { if (list.isConnected) htmx.trigger(list, "again"); });
  });
})();
