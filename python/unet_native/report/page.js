// A convenience only: a click on a column's title sorts its table.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  if (!body || body.rows.length < 2) continue;
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const upwards = head.getAttribute("aria-sort") !== "ascending";
      const key = (row) => row.cells[column].textContent;
      const compare = (a, b) => {
        const [x, y] = [parseFloat(key(a)), parseFloat(key(b))];
        if (column === 0 || (isNaN(x) && isNaN(y)))
          return key(a).localeCompare(key(b), "en", { numeric: true });
        return isNaN(x) ? 1 : isNaN(y) ? -1 : x - y; // what has no score comes last
      };
      body.append(...[...body.rows].sort((a, b) => (upwards ? 1 : -1) * compare(a, b)));
      for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", upwards ? "ascending" : "descending");
    });
  });
}
