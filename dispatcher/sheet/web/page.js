// Tabs, the recipe card and the large view. Text enters the page as text only, never as markup.
"use strict";
const find = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const recipes = JSON.parse(find("#recipes").textContent);
const card = find("#card"), dialog = find("dialog");
const tabs = all("nav button"), panels = all("section");
let shown = null;

function show(index, focus) {
  tabs.forEach((tab, i) => { tab.setAttribute("aria-selected", i === index); tab.tabIndex = i === index ? 0 : -1; });
  panels.forEach((panel, i) => { panel.hidden = i !== index; });
  if (focus) { tabs[index].focus(); tabs[index].scrollIntoView({ block: "nearest", inline: "nearest" }); }
  hide();
}
tabs.forEach((tab, index) => {
  tab.addEventListener("click", () => show(index));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) { event.preventDefault(); show((index + step + tabs.length) % tabs.length, true); }
  });
});

function describe(target, cell) {
  const list = document.createElement("dl");
  for (const [name, value] of recipes[cell.dataset.recipe]) {
    list.append(Object.assign(document.createElement("dt"), { textContent: name }));
    list.append(Object.assign(document.createElement("dd"), { textContent: value }));
  }
  const number = Object.assign(document.createElement("p"), { className: "number", textContent: cell.dataset.about });
  target.replaceChildren(number, list);
}
function hide() { card.hidden = true; if (shown) shown.removeAttribute("aria-describedby"); shown = null; }
function hover(cell) {
  if (shown === cell || dialog.open) return;
  hide();
  shown = cell;
  describe(card, cell);
  card.hidden = false;
  cell.setAttribute("aria-describedby", "card");
  const box = cell.getBoundingClientRect(), width = card.offsetWidth, height = card.offsetHeight;
  const left = box.right + 10 + width < innerWidth ? box.right + 10 : Math.max(8, box.left - 10 - width);
  card.style.left = left + "px";
  card.style.top = Math.max(8, Math.min(box.top, innerHeight - height - 8)) + "px";
}
document.addEventListener("pointerover", (event) => {
  const cell = event.target.closest(".cell");
  if (cell) hover(cell); else if (shown !== document.activeElement) hide();
});
document.addEventListener("focusin", (event) => { if (event.target.matches(".cell:focus-visible")) hover(event.target); });
document.addEventListener("focusout", hide);
document.addEventListener("scroll", hide, true);

function open(cell) {
  const small = find("img", cell);
  if (!small) return;
  hide();
  const large = find(".stage img", dialog), side = Math.max(small.naturalWidth, small.naturalHeight);
  const factor = side <= 128 ? Math.max(1, Math.floor(512 / side)) : Math.max(1, 640 / side);
  Object.assign(large, { src: small.src, alt: small.alt, className: side <= 128 ? "pixels" : "" });
  large.style.width = small.naturalWidth * factor + "px";
  describe(find(".about", dialog), cell);
  dialog.dataset.at = all("section:not([hidden]) .cell").indexOf(cell);
  if (!dialog.open) dialog.showModal();
}
function turn(step) {
  const cells = all("section:not([hidden]) .cell");
  let at = Number(dialog.dataset.at) + step;
  while (cells[at] && !find("img", cells[at])) at += step;
  if (cells[at]) open(cells[at]);
}
function move(cell, key) {
  const place = cell.parentElement, row = place.parentElement, column = [...row.children].indexOf(place);
  const beside = (from, way) => { do from = from && from[way]; while (from && !find(".cell", from)); return from; };
  const rows = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling };
  const next = key in rows ? rows[key] && rows[key].children[column]
    : beside(place, key === "ArrowRight" ? "nextElementSibling" : "previousElementSibling");
  const target = next && find(".cell", next);
  if (target) target.focus();
}
document.addEventListener("click", (event) => {
  const cell = event.target.closest(".cell");
  if (cell) open(cell); else if (event.target === dialog) dialog.close();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hide();
  if (!event.key.startsWith("Arrow")) return;
  if (dialog.open) { if (event.key === "ArrowRight") turn(1); if (event.key === "ArrowLeft") turn(-1); return; }
  if (event.target.matches(".cell")) { event.preventDefault(); move(event.target, event.key); }
});
if (tabs.length) {
  document.body.classList.add("tabbed");
  panels.forEach((panel) => panel.setAttribute("role", "tabpanel"));
  find("nav").hidden = false;
  show(0);
}
