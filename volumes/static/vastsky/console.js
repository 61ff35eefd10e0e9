// The console's live parts: tell when they could not be refreshed, and rest while nobody looks.
const stale = (yes) => document.body.classList.toggle("vs-stale", yes);
document.addEventListener("htmx:sendError", () => stale(true));
document.addEventListener("htmx:responseError", () => stale(true));
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful) stale(false);
});
document.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden && event.detail.elt.dataset.live !== undefined) event.preventDefault();
});
document.addEventListener("htmx:beforeSwap", (event) => {
  // The session ended: a whole login page would be put into the middle of this one.
  if (!event.detail.xhr.responseURL.includes("/login/")) return;
  event.detail.shouldSwap = false;
  window.location.reload();
});

// Who walks through a live part by keyboard keeps the place when it is replaced.
const STOPS = "a[href], button, summary, input, [tabindex]";
let held = null;
document.addEventListener("htmx:beforeSwap", ({ detail: { target } }) => {
  const active = document.activeElement;
  held = target.contains(active) && {
    href: active.getAttribute("href"),
    place: [...target.querySelectorAll(STOPS)].indexOf(active),
  };
});
document.addEventListener("htmx:afterSettle", ({ detail: { target } }) => {
  if (!held || held.place < 0) return;
  const stops = [...target.querySelectorAll(STOPS)];
  const same = held.href && stops.find((stop) => stop.getAttribute("href") === held.href);
  (same || stops[held.place])?.focus({ preventScroll: true });
  held = null;
});
