// Live parts are patched, not replaced: only what differs is touched, so that focus, open details, selected text and
// scroll positions survive. Also: local times beside UTC ones, and ticking many rows.
(() => {
  "use strict";
  const KEPT = { DETAILS: ["open"], DIALOG: ["open"], INPUT: ["value", "checked"], OPTION: ["selected"] };
  const touched = new WeakSet();
  document.addEventListener("click", (event) => {
    const summary = event.target instanceof Element ? event.target.closest("summary") : null;
    if (summary) touched.add(summary.parentElement);
  });
  const own = (node, name) => name === "hx-swap-oob" || (KEPT[node.tagName] || []).includes(name) || (name === "class" && node.matches(".hint"));

  function attributes(node, next) {
    for (const { name, value } of next.attributes) {
      if (!own(node, name) && node.getAttribute(name) !== value) node.setAttribute(name, value);
    }
    for (const { name } of [...node.attributes]) {
      if (!own(node, name) && !next.hasAttribute(name)) node.removeAttribute(name);
    }
    // What turned important opens by itself, until the operator has opened or closed it.
    if (node.tagName === "DETAILS" && next.open && !node.open && !touched.has(node)) node.open = true;
    if (node.tagName === "INPUT" && node.type === "hidden" && node.value !== next.value) node.value = next.value;
  }

  const same = (node, next) => node.nodeType === next.nodeType && node.nodeName === next.nodeName && (node.id || "") === (next.id || "");

  function children(node, next) {
    const stay = new Set([...next.childNodes].map((child) => child.id).filter(Boolean));
    let at = node.firstChild;
    for (const wanted of [...next.childNodes]) {
      let found = at;
      if (wanted.id && (!at || at.id !== wanted.id)) found = [...node.children].find((child) => child.id === wanted.id && same(child, wanted)) || null;
      else if (!at || !same(at, wanted)) found = null;
      // A part that is moved loses the focus: what stands before it and is gone by now goes first.
      while (found && at && at !== found && !stay.has(at.id)) { const gone = at; at = at.nextSibling; gone.remove(); }
      if (!found) { node.insertBefore(wanted, at); continue; }
      if (found !== at) node.insertBefore(found, at);
      patch(found, wanted);
      at = found.nextSibling;
    }
    while (at) { const gone = at; at = at.nextSibling; gone.remove(); }
  }

  function patch(node, next) {
    if (node.isEqualNode(next)) return;
    if (node.nodeType !== Node.ELEMENT_NODE) { if (node.nodeValue !== next.nodeValue) node.nodeValue = next.nodeValue; return; }
    attributes(node, next);
    children(node, next);
  }

  // What the operator is about to press must not move, or turn into something else, under the hand. `data-called`: what
  // something is called whatever number stands in it.
  const controls = (part) => [...part.querySelectorAll("a, button")].map((one) => `${one.id} ${one.dataset.called || one.textContent.trim()} ${one.getAttribute("href") || ""}`).join("|");
  function inTheWay(target, next) {
    const busy = document.activeElement;
    if (!busy || busy === target || !target.contains(busy) || !busy.matches("a, button")) return false;
    // What leads to the same place wherever it stands is in the way only when it goes.
    if (busy.dataset.called) return !next.querySelector(`#${CSS.escape(busy.id)}`);
    return controls(target) !== controls(next);
  }

  // What was said of a pressed button is over once the task stands elsewhere.
  const standing = () => (document.getElementById("status") || {}).textContent;

  const held = new Set();
  document.addEventListener("htmx:beforeRequest", (event) => {
    const poll = event.detail.elt.closest("[data-poll]");
    if (!poll) return;
    if (document.hidden) event.preventDefault();
    held.clear();
  });
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    const { target, fragment } = event.detail;
    const next = fragment.firstElementChild;
    const group = target.dataset.guard;
    if (target.dataset.seen && held.has(target.dataset.seen)) { event.detail.shouldSwap = false; return; }
    if (!group || !next) return;
    event.detail.shouldSwap = false;
    if (inTheWay(target, next)) { held.add(group); return; }
    const before = standing();
    patch(target, next);
    if (standing() !== before) document.querySelectorAll("main > .note.success").forEach((note) => note.remove());
    window.htmx.process(target);
  });
  // A part that asks for itself as a whole, such as the check: it stays, and what differs in it is changed.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { target, xhr } = event.detail;
    if (!target.matches("[data-patch]") || xhr.status !== 200) return;
    const next = new DOMParser().parseFromString(xhr.responseText, "text/html").getElementById(target.id);
    if (!next) return;
    event.detail.shouldSwap = false;
    patch(target, document.importNode(next, true));
    target.querySelectorAll("[data-needs-script]").forEach((node) => { node.hidden = false; });
    window.htmx.process(target);
  });
  // A tab that comes back asks at once instead of showing what was true before lunch.
  document.addEventListener("visibilitychange", () => {
    const poller = document.getElementById("poller");
    if (!document.hidden && poller && poller.matches("[data-poll]")) window.htmx.trigger(poller, "back");
  });

  // Times are printed in UTC; hover and focus tell them in the reader's own zone too.
  let tip = null;
  const zone = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
  function tell(time) {
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.getTime())) return;
    tip ||= Object.assign(document.createElement("div"), { id: "local-time", className: "tip local-time" });
    tip.setAttribute("role", "tooltip");
    tip.textContent = `${zone.format(moment)} · ${time.dateTime.replace("T", " ").replace("Z", " UTC")}`;
    (time.closest("dialog, main") || document.body).appendChild(tip);
    tip.hidden = false;
    const box = time.getBoundingClientRect();
    const width = tip.offsetWidth;
    const left = Math.max(8, Math.min(box.left + box.width / 2 - width / 2, document.documentElement.clientWidth - width - 8));
    const below = box.bottom + 8 + tip.offsetHeight < window.innerHeight;
    // The style sheet policy forbids style attributes in HTML; the object model is free to set one.
    tip.style.left = `${left}px`;
    tip.style.top = `${below ? box.bottom + 6 : box.top - tip.offsetHeight - 6}px`;
    time.setAttribute("aria-describedby", "local-time");
  }
  function hush() {
    if (!tip || tip.hidden) return;
    tip.hidden = true;
    document.querySelectorAll("time[aria-describedby='local-time']").forEach((time) => time.removeAttribute("aria-describedby"));
  }
  const timeOf = (event) => (event.target instanceof Element ? event.target.closest("time[datetime]") : null);
  for (const name of ["pointerover", "focusin"]) document.addEventListener(name, (event) => { const time = timeOf(event); if (time) tell(time); });
  for (const name of ["pointerout", "focusout"]) document.addEventListener(name, (event) => { if (timeOf(event)) hush(); });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hush(); });
  document.addEventListener("scroll", hush, { passive: true, capture: true });

  // Many rows at once.
  const ticked = () => document.querySelectorAll("input[name='pick']:checked");
  function count() {
    const say = document.querySelector("[data-picked]");
    if (!say) return;
    const number = ticked().length;
    say.textContent = number ? say.dataset.some.replace("%n%", String(number)) : say.dataset.none;
    document.querySelectorAll("[data-wants-pick]").forEach((button) => { button.disabled = number === 0; });
    const all = document.querySelector("[data-pick-all]");
    const boxes = document.querySelectorAll("input[name='pick']");
    all.checked = number > 0 && number === boxes.length;
    all.indeterminate = number > 0 && number < boxes.length;
  }
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-pick-all]")) document.querySelectorAll("input[name='pick']").forEach((box) => { box.checked = event.target.checked; });
    if (event.target.matches("[data-pick-all], input[name='pick']")) count();
  });
  document.addEventListener("DOMContentLoaded", count);
})();
