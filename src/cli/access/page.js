'use strict';
// Without this script the page is a table. With it, rows that are not asked for are hidden.
(() => {
  const tools = document.getElementById('tools');
  const rows = [...document.querySelectorAll('#who tbody tr')];
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const search = document.getElementById('search');
  const backend = document.getElementById('backend');
  const kind = document.getElementById('kind');
  const administrators = document.getElementById('administrators');
  const shown = document.getElementById('shown');
  const none = document.getElementById('none');
  const apply = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const text = texts.get(row);
      const wanted = words.every((word) => text.includes(word))
        && (!backend.value || row.dataset.backend === backend.value)
        && (!kind.value || row.dataset.kind === kind.value)
        && (!administrators.checked || row.dataset.administrator === 'yes');
      row.hidden = !wanted;
      count += wanted ? 1 : 0;
    }
    shown.value = `${count} of ${rows.length} shown`;
    none.hidden = count > 0;
  };
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
