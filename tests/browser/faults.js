() => {
  const faults = [];
  const root = document.documentElement;
  const shown = element => element.getClientRects().length > 0;
  const name = element => element.outerHTML.slice(0, 120);

  if (root.scrollWidth > root.clientWidth) {
    const widest = [...document.body.querySelectorAll('*')].filter(shown)
      .sort((a, b) => b.getBoundingClientRect().right - a.getBoundingClientRect().right)[0];
    faults.push(`wider than the window by ${root.scrollWidth - root.clientWidth} px: ${name(widest)}`);
  }
  for (const box of document.querySelectorAll('.results, .scroll'))
    if (root.clientWidth >= 1280 && box.scrollWidth > box.clientWidth)
      faults.push(`columns are hidden, ${box.scrollWidth - box.clientWidth} px of them: ${name(box)}`);
  if (!root.lang) faults.push('names no language');
  if (!document.title.trim()) faults.push('has no title');

  const labelled = field => field.labels?.length || field.getAttribute('aria-label') || field.getAttribute('aria-labelledby') || field.title;
  for (const field of document.querySelectorAll('input:not([type=hidden], [type=submit], [type=button]), select, textarea'))
    if (shown(field) && !labelled(field)) faults.push(`has no label: ${name(field)}`);
  for (const image of document.querySelectorAll('img:not([alt])')) faults.push(`has no alt: ${name(image)}`);
  for (const link of document.querySelectorAll('a[href], button'))
    if (shown(link) && !(link.innerText.trim() || link.title || link.getAttribute('aria-label') || link.querySelector('img[alt]')))
      faults.push(`has no text: ${name(link)}`);

  const ids = [...document.querySelectorAll('[id]')].map(element => element.id);
  for (const id of new Set(ids.filter((id, n) => ids.indexOf(id) !== n))) faults.push(`is repeated: #${id}`);
  for (const element of document.querySelectorAll('[aria-describedby], [aria-labelledby]'))
    for (const id of `${element.getAttribute('aria-describedby') ?? ''} ${element.getAttribute('aria-labelledby') ?? ''}`.split(/\s+/))
      if (id && !document.getElementById(id)) faults.push(`refers to a missing element, #${id}: ${name(element)}`);
  if ([...document.querySelectorAll('td, .readonly')].some(cell => cell.innerText.trim() === 'None')) faults.push('shows None');
  return faults;
}
