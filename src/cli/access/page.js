'use strict';
// Without this script the page is a table. With it, rows that are not asked for are hidden, and columns sort.
(() => {
  const tools = document.getElementById('tools');
  const table = document.getElementById('who');
  if (!tools || !table) {
    return;
  }
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const search = document.getElementById('search');
  const backend = document.getElementById('backend');
  const kind = document.getElementById('kind');
  const administrators = document.getElementById('administrators');
  const shown = document.getElementById('shown');
  const none = document.getElementById('none');
  const words = (text) => text.toLowerCase().split(/\s+/).filter(Boolean);
  const heads = [...table.tHead.rows[0].cells];
  const filters = [];
  const apply = () => {
    const asked = words(search.value);
    const columns = filters.map((filter) => words(filter.value));
    let count = 0;
    for (const row of rows) {
      const text = texts.get(row);
      const wanted = asked.every((word) => text.includes(word))
        && columns.every((asks, column) => asks.length === 0
          || asks.every((word) => row.cells[column].textContent.toLowerCase().includes(word)))
        && (!backend.value || row.dataset.backend === backend.value)
        && (!kind.value || row.dataset.kind === kind.value)
        && (!administrators.checked || row.dataset.administrator === 'yes');
      row.hidden = !wanted;
      count += wanted ? 1 : 0;
    }
    shown.value = `${count} of ${rows.length} shown`;
    none.hidden = count > 0;
  };
  const order = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });
  const sort = (column, button) => {
    const up = heads[column].getAttribute('aria-sort') !== 'ascending';
    for (const head of heads) {
      head.removeAttribute('aria-sort');
    }
    heads[column].setAttribute('aria-sort', up ? 'ascending' : 'descending');
    const value = (row) => row.cells[column].textContent.trim();
    rows.sort((one, other) => order.compare(value(one), value(other)) * (up ? 1 : -1));
    body.append(...rows);
    button.focus();
  };
  heads.forEach((head, column) => {
    const name = head.textContent;
    // No button: with one in it Chromium does not repeat the head on each sheet.
    const button = document.createElement('span');
    button.className = 'sort';
    button.role = 'button';
    button.tabIndex = 0;
    button.textContent = name;
    button.addEventListener('click', () => sort(column, button));
    button.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' || event.key === ' ') {
        event.preventDefault();
        sort(column, button);
      }
    });
    head.replaceChildren(button);
    const filter = document.createElement('input');
    filter.type = 'search';
    filter.placeholder = 'filter';
    filter.setAttribute('aria-label', `Filter by ${name}`);
    filter.addEventListener('input', apply);
    filters.push(filter);
    head.append(filter);
  });
  for (const control of [search, backend, kind, administrators]) {
    control.addEventListener('input', apply);
  }
  document.addEventListener('keydown', (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === '/' && !typing) {
      event.preventDefault();
      search.focus();
    }
  });
  tools.hidden = false;
  apply();
})();
