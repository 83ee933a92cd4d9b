"use strict";
// sorts and filters tables; the page is whole without it

function valueOf(row, column) {
  const cell = row.cells[column], given = cell.dataset.value;
  return given === undefined ? cell.textContent.trim() : given === "" ? null : Number(given);
}

function sort(table, column, descending) {
  const body = table.tBodies[0], sign = descending ? -1 : 1;
  const keyed = Array.from(body.rows, (row) => [valueOf(row, column), row]);
  keyed.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null); // no figure: last either way
    if (typeof a === "number" && typeof b === "number") return a === b ? 0 : sign * (a < b ? -1 : 1);
    return sign * String(a).localeCompare(String(b), "en", { numeric: true });
  });
  body.append(...keyed.map(([, row]) => row));
  Array.from(table.tHead.rows[0].cells, (head, i) => {
    if (i === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  });
}

function filter(field) {
  const rows = Array.from(document.getElementById(field.dataset.filters).tBodies[0].rows);
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    shown += !row.hidden;
  }
  field.parentElement.querySelector("output").value = `${shown} of ${rows.length} rows`;
}

function prepare() {
  for (const table of document.querySelectorAll("table.sortable")) {
    Array.from(table.tHead.rows[0].cells, (head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(table, column, head.getAttribute("aria-sort") === "ascending"));
      head.append(button);
    });
  }
  for (const field of document.querySelectorAll("input[data-filters]")) {
    field.parentElement.hidden = false;
    field.addEventListener("input", () => filter(field));
    filter(field);
  }
  for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const text = document.getElementById(button.dataset.copies);
      text.select();
      document.execCommand("copy"); // the clipboard of today is closed to pages opened as files
    });
  }
  for (const audio of document.querySelectorAll("audio")) {
    audio.addEventListener("play", () => {
      for (const other of document.querySelectorAll("audio")) if (other !== audio) other.pause();
    });
    audio.addEventListener("loadedmetadata", () => { audio.dataset.seconds = audio.duration.toFixed(3); });
    audio.addEventListener("ended", () => { audio.dataset.played = "whole"; });
    audio.addEventListener("error", () => { audio.dataset.trouble = audio.error.message || "not played"; });
  }
}

// report.html#sort=SNR+dB&order=descending&filter=mil shows the rows so; #evidence-3 opens that evidence
function follow() {
  const asked = location.hash.slice(1), place = document.getElementById(asked);
  if (place) {
    if (place.tagName === "DETAILS") place.open = true;
    place.scrollIntoView();
    return;
  }
  const wishes = new URLSearchParams(asked), table = document.getElementById("table");
  if (!table) return;
  const column = Array.from(table.tHead.rows[0].cells, (head) => head.textContent).indexOf(wishes.get("sort"));
  if (column >= 0) sort(table, column, wishes.get("order") === "descending");
  const field = document.getElementById("table-filter");
  if (wishes.has("filter")) { field.value = wishes.get("filter"); filter(field); }
  if (wishes.has("play")) {
    const audio = document.querySelectorAll("audio")[Number(wishes.get("play"))];
    if (audio) { audio.closest("details") && (audio.closest("details").open = true); audio.play().catch(() => {}); }
  }
}

prepare();
follow();
window.addEventListener("hashchange", follow);
