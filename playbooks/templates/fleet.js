/*
What the page of a fleet does when it is used: search, filter, sort, and say how old it is. Without it, all rows are there.
Standards: ECMAScript 2020; the sortable table of the ARIA Authoring Practices Guide.
Copyright (c) beamops contributors
GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
SPDX-License-Identifier: GPL-3.0-or-later
*/
"use strict";
(() => {
  const id = (name) => document.getElementById(name);
  const body = document.querySelector("tbody");
  const rows = [...body.rows];
  const titles = [...document.querySelectorAll("thead th")];

  // Search and filter.
  let texts;
  const find = () => {
    texts = texts || rows.map((row) => row.textContent.toLowerCase());
    const words = id("words").value.toLowerCase().split(/\s+/).filter(Boolean);
    const which = id("which").value;
    let shown = 0;
    rows.forEach((row, place) => {
      const fits = (!which || row.classList.contains(which)) && words.every((word) => texts[place].includes(word));
      // To set what is set already costs a layout.
      if (row.hidden === fits) row.hidden = !fits;
      shown += fits;
    });
    id("shown").textContent = `${shown} of ${rows.length} hosts`;
  };
  let waiting = 0;
  id("words").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(find, 80);
  });
  id("which").addEventListener("change", find);
  id("find").addEventListener("submit", (event) => event.preventDefault());
  id("find").hidden = false;
  id("shown").textContent = `${rows.length} of ${rows.length} hosts`;

  // Sort. Rows that are alike stay in the order in which they were.
  const collator = new Intl.Collator("en", { numeric: true });
  const tones = ["bad", "warn", "good", "plain"];
  const keys = [
    (row) => row.cells[0].textContent,
    (row) => tones.indexOf(row.cells[1].firstChild.className) + row.cells[1].textContent,
    (row) => String(row.cells[2].childElementCount),
    (row) => (row.classList.contains("risk") ? 0 : row.classList.contains("open") ? 1 : 2) + row.cells[3].textContent,
    (row) => row.cells[4].textContent,
  ];
  titles.forEach((title, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...title.childNodes);
    title.append(button);
    button.addEventListener("click", () => {
      const falls = title.getAttribute("aria-sort") === "ascending";
      titles.forEach((other) => other.removeAttribute("aria-sort"));
      title.setAttribute("aria-sort", falls ? "descending" : "ascending");
      const sorted = [...body.rows].map((row) => [keys[column](row), row]);
      sorted.sort(([left], [right]) => (falls ? collator.compare(right, left) : collator.compare(left, right)));
      body.append(...sorted.map(([, row]) => row));
    });
  });

  // How old it is.
  const made = document.querySelector("header time");
  const minutes = Math.floor((Date.now() - Date.parse(made.dateTime)) / 60000);
  const [number, unit] = minutes < 90 ? [minutes, "minute"] : minutes < 2880 ? [Math.round(minutes / 60), "hour"] : [Math.round(minutes / 1440), "day"];
  if (number > 0) id("age").textContent = `, ${number} ${unit}${number === 1 ? "" : "s"} ago`;
})();
