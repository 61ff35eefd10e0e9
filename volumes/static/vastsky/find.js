// The box that finds everything: Ctrl-K or "/" opens it, the arrows walk through what was found,
// Enter opens what comes first.
const findBox = () => document.getElementById("find");
const openFind = (event) => {
  if (!findBox()) return;
  event.preventDefault();
  if (!findBox().open) findBox().showModal();
  findBox().querySelector("input").select();
};
document.addEventListener("keydown", (event) => {
  const meta = event.ctrlKey || event.metaKey;
  const typing = event.target.closest?.("input:not([type=checkbox]), textarea, select");
  if ((event.key === "/" && !typing && !meta) || (event.key.toLowerCase() === "k" && meta))
    openFind(event);
});
document.addEventListener("click", (event) => {
  const opens = event.target.closest(".vs-find-opener");
  if (opens && !event.ctrlKey && !event.metaKey) openFind(event);
  // What is outside of an open dialog is the dialog itself to the browser.
  else if (event.target.closest("[data-close]") || event.target === findBox()) findBox().close();
});

const formAt = (place) =>
  place.closest(".vs-find") ??
  document.querySelector(`.vs-find[data-found="${place.closest(".vs-found")?.id}"]`);
document.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const form = step && formAt(event.target);
  if (!form) return;
  event.preventDefault();
  const found = document.getElementById(form.dataset.found);
  const stops = [form.querySelector("input"), ...found.querySelectorAll("a")];
  stops[stops.indexOf(document.activeElement) + step]?.focus();
});

// Enter opens the first of what is shown for what is typed; what it has not seen yet, the manager
// is asked for.
document.addEventListener("htmx:afterSwap", ({ detail: { requestConfig } }) => {
  const form = requestConfig?.elt.closest(".vs-find");
  if (form) form.dataset.shown = requestConfig.parameters.q;
});
document.addEventListener("submit", (event) => {
  const form = event.target.closest(".vs-find");
  const first = form && document.querySelector(`#${form.dataset.found} a`);
  if (!first || form.dataset.shown !== form.querySelector("input").value) return;
  event.preventDefault();
  first.click();
});
