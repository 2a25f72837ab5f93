// The page works without this file; it adds the theme switch, the dialog and the hints' Escape.
(() => {
  "use strict";
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const paint = () => root.setAttribute("data-bs-theme", chosen() || (dark.matches ? "dark" : "light"));
  paint();
  dark.addEventListener("change", paint);

  const label = () => {
    const button = document.querySelector("[data-theme-switch]");
    if (button) button.setAttribute("aria-pressed", String(root.getAttribute("data-bs-theme") === "dark"));
  };
  const dialog = () => document.getElementById("dialog");
  const wrap = (node) => (node instanceof Element ? node.closest(".hint") : null);

  document.addEventListener("DOMContentLoaded", () => {
    label();
    document.querySelectorAll("[data-needs-script]").forEach((node) => { node.hidden = false; });
    if (!document.querySelector("[autofocus]")) correct(document);
  });

  // A form that came back is gone on with at its first wrong field; a button that was replaced by its answer, at itself.
  const correct = (part) => {
    const wrong = part.querySelector(".is-invalid");
    if (wrong) wrong.focus();
    return wrong;
  };
  const pressed = new WeakMap();
  document.addEventListener("htmx:beforeRequest", (event) => {
    const at = document.activeElement;
    if (at instanceof HTMLButtonElement && at.id && event.detail.elt.contains(at)) pressed.set(event.detail.xhr, at.id);
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    const id = pressed.get(event.detail.xhr);
    if (!id || document.activeElement !== document.body) return;
    // Told of every part that came along; the one that was asked for may be another node by now.
    if (correct(document.getElementById(event.detail.target.id) || event.target)) return;
    const again = document.getElementById(id);
    if (again) again.focus({ preventScroll: true });
  });

  document.addEventListener("click", (event) => {
    if (!(event.target instanceof Element)) return;
    if (event.target.closest("[data-theme-switch]")) {
      try { localStorage.setItem("theme", root.getAttribute("data-bs-theme") === "dark" ? "light" : "dark"); } catch { /* private mode */ }
      paint();
      label();
    }
    const closer = event.target.closest("[data-close]");
    if (closer && closer.closest("dialog")) {
      event.preventDefault();
      dialog().close();
    }
    if (event.target === dialog()) dialog().close();
    document.querySelectorAll("[data-menu][open]").forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; });
    const copier = event.target.closest("[data-copy]");
    if (copier) copy(copier);
    const pick = event.target.closest(".pick");
    if (pick) preview(pick);
  });

  // WCAG 1.4.13: a hint can be dismissed without moving pointer or focus.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    document.querySelectorAll("[data-menu][open]").forEach((menu) => { menu.open = false; menu.querySelector("summary").focus(); });
    document.querySelectorAll(".hint:hover, .hint:focus-within").forEach((hint) => hint.classList.add("closed"));
  });
  const reopen = (event) => {
    const hint = wrap(event.target);
    if (hint && !hint.contains(event.relatedTarget)) hint.classList.remove("closed");
  };
  document.addEventListener("pointerout", reopen);
  document.addEventListener("focusout", reopen);

  async function copy(button) {
    const text = document.getElementById(button.dataset.copy).textContent;
    const say = document.getElementById("said");
    try {
      await navigator.clipboard.writeText(text);
      say.textContent = document.body.dataset.textCopied;
      button.dataset.was ||= button.textContent;
      button.textContent = document.body.dataset.textCopied;
      setTimeout(() => { button.textContent = button.dataset.was; say.textContent = ""; }, 1500);
    } catch {
      window.getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
      say.textContent = document.body.dataset.textCopyRefused;
    }
  }

  // The tree answers at once; the server's answer then corrects ancestors and counter.
  function preview(pick) {
    const state = pick.getAttribute("aria-checked") === "true" ? "false" : "true";
    const below = pick.closest("li") ? pick.closest("li").querySelectorAll(".pick:not(:disabled)") : [];
    const all = pick.hasAttribute("data-root") ? document.querySelectorAll(".tree .pick:not(:disabled)") : below;
    requestAnimationFrame(() => [pick, ...all].forEach((box) => {
      box.setAttribute("aria-checked", state);
      const value = JSON.parse(box.value);
      value.selected = state !== "true";
      box.value = JSON.stringify(value);
    }));
  }

  // What the operator opened or closed stays so when its part of the page is replaced.
  const opened = new Map();
  document.addEventListener("toggle", (event) => {
    if (event.target instanceof HTMLDetailsElement && event.target.id) opened.set(event.target.id, event.target.open);
  }, true);

  // The browser tells of a click a moment later, and of what is gone by then not at all.
  document.addEventListener("htmx:beforeSwap", (event) => {
    event.detail.target.querySelectorAll("details[id]").forEach((node) => {
      if (node.open || opened.has(node.id)) opened.set(node.id, node.open);
    });
  });

  document.addEventListener("htmx:load", (event) => {
    event.detail.elt.querySelectorAll("details[id]").forEach((node) => {
      if (opened.has(node.id)) node.open = opened.get(node.id);
    });
    event.detail.elt.querySelectorAll("[data-needs-script]").forEach((node) => { node.hidden = false; });
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target.id === "dialog-body" && !dialog().open) dialog().showModal();
  });

  const stale = (hidden) => { const box = document.getElementById("stale"); if (box) box.hidden = hidden; };
  document.addEventListener("htmx:beforeSwap", (event) => {
    // A refusal that is meant for the dialog: what was asked for takes the password once more.
    if (event.detail.xhr.status === 403 && event.detail.xhr.getResponseHeader("HX-Reswap")) {
      event.detail.shouldSwap = true;
      event.detail.isError = false;
    }
    // A session that has ended answers with the sign-in page: go there instead of showing it inside this one.
    if (new URL(event.detail.xhr.responseURL, location.href).pathname === document.body.dataset.signIn) {
      event.detail.shouldSwap = false;
      location.reload();
    }
  });
  document.addEventListener("htmx:sendError", () => stale(false));
  document.addEventListener("htmx:responseError", () => stale(false));
  document.addEventListener("htmx:afterOnLoad", () => stale(true));
})();
