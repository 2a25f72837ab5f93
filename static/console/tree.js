// The object tree. Changes reach the server one at a time, in the order of the clicks: two that overtake one another
// would end as another selection than the one that was clicked. What changed is shown when the last one is answered.
(() => {
  "use strict";
  const waiting = [];
  const answers = [];
  const lists = new Set();
  const fetching = new Map();
  const outdated = new WeakSet();
  let running = null;
  let leave = null;

  const below = (button) => {
    if (button.dataset.again === "all" || button.closest("[data-whole]")) return [document.getElementById("level")];
    const list = button.closest("li")?.querySelector(":scope > .body > details[open] > ul");
    return list ? [list] : [];
  };
  // A list that is just being fetched would show what was true before a change: its answer is dropped, and it is asked
  // for again afterwards.
  const forget = (xhr, list) => { outdated.add(xhr); lists.add(list); };

  // A click between the swap and htmx's own look at what is new would send the form, and load the page. Only what is new:
  // a list that htmx looks at again forgets that it has been fetched.
  const wake = (nodes) => nodes.forEach((node) => { if (node) htmx.process(node); });

  const show = () => {
    const target = document.getElementById("counter");
    answers.splice(0).forEach((answer) => {
      const parts = new DOMParser().parseFromString(answer, "text/html").body;
      const told = [...parts.querySelectorAll("[hx-swap-oob]")].map((part) => part.id);
      // In a search, or on a level's own page, the ancestors are not shown: what is said about them has no place.
      parts.querySelectorAll("[hx-swap-oob]").forEach((part) => { if (!document.getElementById(part.id)) part.remove(); });
      htmx.swap(target, parts.innerHTML, { swapStyle: "none" }, { eventInfo: { target } });
      wake(told.map((id) => document.getElementById(id)));
    });
    lists.forEach((list) => { if (list.isConnected) htmx.trigger(list, "again"); });
    lists.clear();
  };
  const next = () => {
    running = waiting.shift() || null;
    if (running) {
      running.issue();
      if (!running.xhr) next();
      return;
    }
    show();
    if (leave) leave();
    leave = null;
  };

  // What the target has under the names that are saved is known by now: it stands beside the objects.
  document.addEventListener("htmx:afterSwap", (event) => {
    const side = document.getElementById("target-side");
    const level = document.getElementById("level");
    if (event.detail.target.id === "target-side" && side && level && !side.hasAttribute("data-poll")) htmx.trigger(level, "again");
  });

  document.addEventListener("htmx:confirm", (event) => {
    const button = event.detail.elt;
    if (!button.hasAttribute("data-again")) return;
    event.preventDefault();
    below(button).forEach((list) => lists.add(list));
    fetching.forEach((list, xhr) => forget(xhr, list));
    // The box changes at once to what the next click would ask for: what this one asks for is taken now.
    waiting.push({ button, value: button.value, issue: () => event.detail.issueRequest(false) });
    // Nobody has to wait for the answer to go on; whether there is anything to go on with is seen when it is there.
    const onward = document.getElementById("onward");
    if (onward) onward.disabled = false;
    if (!running) next();
  });
  document.addEventListener("htmx:configRequest", (event) => {
    if (running?.button === event.detail.elt) event.detail.parameters[running.button.name] = running.value;
  });
  document.addEventListener("htmx:beforeRequest", (event) => {
    const { elt, target, xhr } = event.detail;
    if (running?.button === elt) running.xhr = xhr;
    else if (target.matches("#level, #level ul")) {
      fetching.set(xhr, target);
      if (running) forget(xhr, target);
    }
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { serverResponse, xhr } = event.detail;
    if (outdated.has(xhr)) event.detail.shouldSwap = false;
    if (running?.xhr !== xhr || xhr.status !== 200) return;
    event.detail.shouldSwap = false;
    answers.push(serverResponse);
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    fetching.delete(event.detail.xhr);
    // htmx lets go of the button only after this event.
    if (running?.xhr && running.xhr === event.detail.xhr) setTimeout(next);
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target.matches("#level, #level ul")) wake([...event.detail.target.children]);
  });

  // Whoever goes on takes along what was clicked before: the page is left when the last change is answered.
  document.addEventListener("submit", (event) => {
    if (!running || event.submitter?.hasAttribute("data-again")) return;
    event.preventDefault();
    const { target: form, submitter } = event;
    leave = () => {  // the answers may have brought another button, or a shut one
      const button = submitter?.isConnected === false ? form.querySelector("button:enabled") : submitter;
      if (button || !submitter) form.requestSubmit(button);
    };
  }, true);
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element && event.target.closest("a[href]:not([hx-get])");
    if (!running || !link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    leave = () => link.click();
  }, true);
})();
