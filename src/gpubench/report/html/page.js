// The page is whole without this: it chooses the roofline's accelerators, filters claims, opens the
// one an address names, and opens all for print.
"use strict";
for (const part of document.querySelectorAll(".scripted")) part.hidden = false;

const roofline = document.getElementById("roofline");
if (roofline) {
  const chosen = [...roofline.querySelectorAll("select")];
  const show = () => {
    for (const part of roofline.querySelectorAll("[data-part]")) {
      part.classList.remove("first", "second");
      for (const choice of chosen) {
        if (choice.value === part.dataset.part) part.classList.add(choice.dataset.place);
      }
    }
    const names = chosen.map((choice) => choice.selectedOptions[0].text);
    chosen.forEach((choice, i) => {
      document.getElementById("name-" + choice.dataset.place).textContent = names[i];
    });
    const row = (i) => roofline.querySelector(`tr[data-part="${chosen[i].value}"] td`).textContent;
    roofline.querySelector("svg.roofline").setAttribute(
      "aria-label", `${names[0]}: ${row(0)}; ${names[1]}: ${row(1)}`);
  };
  for (const choice of chosen) choice.addEventListener("change", show);
}

const boxes = [...document.querySelectorAll(".filter input")];
const filter = () => {
  const wanted = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
  for (const claim of document.querySelectorAll("[data-outcome]")) {
    claim.hidden = !wanted.has(claim.dataset.outcome);
  }
};
for (const box of boxes) box.addEventListener("change", filter);

const open = () => {
  const named = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (named && named.matches("details")) named.open = true;
};
addEventListener("hashchange", open);
open();
addEventListener("beforeprint", () => {
  for (const one of document.querySelectorAll("details:not([open])")) {
    one.dataset.closed = "";
    one.open = true;
  }
});
addEventListener("afterprint", () => {
  for (const one of document.querySelectorAll("details[data-closed]")) {
    delete one.dataset.closed;
    one.open = false;
  }
});
