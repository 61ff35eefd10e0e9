// The console's live parts: tell when they could not be refreshed, and pause them while hidden.
document.addEventListener("htmx:sendError", () => document.body.classList.add("vs-stale"));
document.addEventListener("htmx:responseError", (event) => {
  document.body.classList.add("vs-stale");
  // A page that was open when the session ended leads to the login, not to a dead screen.
  if (event.detail.xhr.status === 403) window.location.reload();
});
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful) document.body.classList.remove("vs-stale");
});
document.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden && event.detail.elt.dataset.live !== undefined) event.preventDefault();
});
