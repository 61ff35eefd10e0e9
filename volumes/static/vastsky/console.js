// The console's live parts: each has in data-live how often, in seconds, it is shown anew. They
// rest while nobody looks, and the age of the last good answer tells whether they are to be
// believed.
const PATIENCE = 4000;
htmx.config.timeout = PATIENCE;
const lives = () => [...document.querySelectorAll("[data-live]")];
let heard = new Date(); // when the manager last answered well
let looking = Date.now(); // since when somebody looks at this page
let failed = false;

const isOld = () => {
  const intervals = lives().map((live) => 1000 * live.dataset.live);
  const silence = Date.now() - Math.max(heard.getTime(), looking);
  return intervals.length > 0 && (failed || silence > Math.min(...intervals) + PATIENCE);
};

const bar = document.createElement("div");
bar.className = "vs-stale-bar";
bar.innerHTML = '<span role="alert"></span> <span aria-live="off"></span>';
const judge = () => {
  const [said, age] = bar.children;
  const old = isOld();
  document.body.classList.toggle("vs-stale", old);
  if (!old) return bar.remove();
  if (!bar.isConnected) document.body.append(bar);
  const since = heard.toLocaleTimeString();
  const text = `The manager does not answer: what is shown is of ${since},`;
  if (said.textContent !== text) said.textContent = text;
  age.textContent = `${Math.round((Date.now() - heard.getTime()) / 1000)} s ago.`;
};
document.addEventListener("DOMContentLoaded", () => setInterval(judge, 500));

const isLive = (event) => event.detail.elt.dataset?.live !== undefined;
for (const trouble of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) {
  document.addEventListener(trouble, (event) => {
    if (!isLive(event)) return;
    failed = true;
    judge();
  });
}
document.addEventListener("htmx:afterRequest", (event) => {
  if (!event.detail.successful || !isLive(event)) return;
  heard = new Date();
  failed = false;
  judge();
});
document.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden && isLive(event)) event.preventDefault();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  looking = Date.now();
  lives().forEach((live) => htmx.trigger(live, "vs-look"));
});
document.addEventListener("htmx:beforeSwap", ({ detail: { target, xhr } }) => {
  // What is over or gone is not asked for again, and cannot become old.
  if (xhr.status === 286) target.removeAttribute("data-live");
});

// A message says what was just done; after a while the page knows better.
window.addEventListener("load", () => {
  const messages = document.querySelectorAll("#main > .px-4 ul .bg-green-100");
  setTimeout(() => messages.forEach((message) => message.closest("li").remove()), 10000);
});

// A list's rows are put in place one by one: what is chosen stays chosen.
const rowsOf = (part) =>
  new Map(
    [...part.querySelectorAll("#result_list .data-row")].map((row) => [
      row.querySelector("input.action-select")?.value,
      row,
    ]),
  );
let renewed = false;
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (detail.target.dataset.rows === undefined) return;
  const fresh = new DOMParser().parseFromString(detail.serverResponse, "text/html");
  const before = rowsOf(detail.target);
  const now = rowsOf(fresh);
  const same = [...before.keys()].join() === [...now.keys()].join();
  const chosen = detail.target.querySelector("input.action-select:checked");
  renewed = before.has(undefined) || (!same && !chosen);
  if (renewed) return; // all of it is put in anew
  detail.shouldSwap = false;
  for (const [key, row] of before) {
    row.classList.toggle("vs-gone", !now.has(key));
    [...(now.get(key)?.cells ?? [])].forEach((cell, place) => {
      const old = row.cells[place];
      if (!cell.querySelector("input") && cell.innerHTML !== old.innerHTML)
        old.innerHTML = cell.innerHTML;
    });
  }
});
document.addEventListener("htmx:afterSettle", ({ detail: { target } }) => {
  if (!renewed) return;
  renewed = false;
  const boxes = target.querySelectorAll("input.action-select");
  const parent = target.closest(".result-list-wrapper");
  if (boxes.length) window.Actions?.(boxes, { parent });
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
  held = target?.contains(active) && {
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

// A filter's choices are put away by a click elsewhere, or by Escape.
const openFilter = () => document.querySelector(".vs-filters details[open]");
document.addEventListener("click", ({ target }) => {
  if (openFilter() && !openFilter().contains(target)) openFilter().open = false;
});
document.addEventListener("keydown", ({ key }) => {
  const open = key === "Escape" && openFilter();
  if (!open) return;
  open.open = false;
  open.querySelector("summary").focus();
});

// The title of every page tells how many problems there are: it is seen on a tab that is not.
const tellInTitle = () => {
  const count = document.querySelector("#problem-badge [data-count]")?.dataset.count;
  const told = count && count !== "!" ? `(${count}) ` : "";
  document.title = told + document.title.trim().replace(/^\(\d+\) /, "");
};
document.addEventListener("DOMContentLoaded", tellInTitle);
document.addEventListener("htmx:afterSwap", ({ detail: { target } }) => {
  if (target.id === "problem-badge") tellInTitle();
});

// Who comes to a form begins with what is wrong in it, or with its first field.
document.addEventListener("DOMContentLoaded", () => {
  const field = "input:not([type=hidden]):not([type=search]), select, textarea";
  const wrong = document.querySelector("main [aria-invalid=true]");
  const first = document.querySelector(`main form.vs :is(${field}), main .vs-form :is(${field})`);
  if (wrong) return wrong.focus();
  // What stands above is read first: a page that is longer than the screen begins at its top.
  if (!document.querySelector("main [autofocus]")) first?.focus({ preventScroll: true });
});

// Icons are drawn by a font out of their names, which are not to be read aloud.
const hideIcons = (part) => {
  const icons = part.querySelectorAll(".material-symbols-outlined:not([aria-hidden])");
  icons.forEach((icon) => icon.setAttribute("aria-hidden", "true"));
};
document.addEventListener("DOMContentLoaded", () => {
  hideIcons(document);
  document.querySelector("#nav-sidebar a.active")?.setAttribute("aria-current", "page");
});
document.addEventListener("htmx:afterSettle", ({ target }) => hideIcons(target));
