// What is scrolled within a live part stays where it is when the part is shown anew.
const scrolled = new Map();
document.addEventListener("htmx:beforeSwap", ({ detail: { target } }) => {
  scrolled.clear();
  for (const part of target.querySelectorAll("[data-scrolls]"))
    scrolled.set(part.dataset.scrolls, [part.scrollLeft, part.scrollTop]);
});
document.addEventListener("htmx:afterSwap", ({ detail: { target } }) => {
  for (const part of target.querySelectorAll("[data-scrolls]"))
    part.scrollTo(...(scrolled.get(part.dataset.scrolls) ?? [0, 0]));
});
