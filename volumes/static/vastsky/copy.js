// A button beside lines puts them on the clipboard; also where the page came over plain HTTP.
document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-copy]");
  if (!button) return;
  const range = document.createRange();
  range.selectNodeContents(button.parentElement.querySelector("code"));
  const chosen = getSelection();
  chosen.removeAllRanges();
  chosen.addRange(range);
  if (!document.execCommand("copy")) return; // they are marked: the person copies them
  chosen.removeAllRanges();
  button.classList.add("vs-copied");
  setTimeout(() => button.classList.remove("vs-copied"), 1500);
});
