"use strict";
addEventListener("beforeprint", () => {
  for (const one of document.querySelectorAll("details")) { one.dataset.was = one.open ? "1" : ""; one.open = true; }
});
addEventListener("afterprint", () => {
  for (const one of document.querySelectorAll("details")) { one.open = one.dataset.was === "1"; }
});
