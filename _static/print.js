// On paper all is unfolded and light, whatever is shown on the screen.
(function () {
  "use strict";
  var root = document.documentElement, theme = null, opened = [];
  window.addEventListener("beforeprint", function () {
    theme = root.dataset.theme;
    root.dataset.theme = "light";
    opened = Array.from(document.querySelectorAll("details:not([open])"));
    opened.forEach(function (part) { part.open = true; });
    document.querySelectorAll("img[loading=lazy]").forEach(function (image) {
      image.loading = "eager";
    });
  });
  window.addEventListener("afterprint", function () {
    root.dataset.theme = theme;
    opened.forEach(function (part) { part.open = false; });
  });
})();
