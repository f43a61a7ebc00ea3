// Elements without HTML strings: the text of a plan or an artifact is never parsed as markup.

export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "value") made.value = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

export function show(...children) {
  const main = document.getElementById("main");
  main.replaceChildren(...children.flat().filter(Boolean));
}

let silence;

export function announce(text) {
  const place = document.getElementById("announcement");
  place.replaceChildren(el("p", {}, text));
  clearTimeout(silence);
  silence = setTimeout(() => place.replaceChildren(), 8000);
}

// A field with its label; returns both, so that the caller keeps hold of the field.
let fields = 0;

export function labelled(text, field, hint) {
  field.id = field.id || `field-${++fields}`;
  const label = el("label", { for: field.id }, text, hint ? el("span", { class: "hint" }, ` ${hint}`) : null);
  return el("div", {}, label, field);
}
