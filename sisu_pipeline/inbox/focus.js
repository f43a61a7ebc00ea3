// The focus of a person who uses the keyboard: kept when the page is drawn again, and returned when work is done.

const main = () => document.getElementById("main");

// Without a focus, the Tab key would begin at the top of the page.
export function holdFocus(place = main()) {
  if (document.activeElement === document.body) place.focus({ preventScroll: true });
}

// Draws again what `root` holds. The focus returns to the same element, or goes to the content when that is gone.
export function keepingFocus(root, draw) {
  const held = document.activeElement;
  const wanted = root.contains(held) && held !== root ? addressOf(held) : null;
  draw();
  if (wanted && document.activeElement === document.body) (root.querySelector(wanted) ?? main()).focus({ preventScroll: true });
}

// Runs the work of a button that was pressed. A failure is shown and returned, and the focus returns to where it was.
export async function perform(fault, buttons, work, done) {
  const held = document.activeElement;
  fault.textContent = "";
  for (const button of buttons) button.disabled = true;
  let answer;
  try {
    answer = await work();
  } catch (error) {
    fault.textContent = error.message;
    for (const button of buttons) button.disabled = false;
    held.focus({ preventScroll: true });
    return error;
  }
  // What the person was at is done: a field of the same name that is drawn next is another one.
  document.activeElement.blur();
  await done(answer);
  holdFocus();
  return null;
}

// Numbers of fields are given anew at each drawing.
function addressOf(element) {
  if (element.id && !element.id.startsWith("field-")) return `#${CSS.escape(element.id)}`;
  const name = ["name", "data-run", "href", "aria-label"].find((each) => element.hasAttribute(each));
  const region = element.parentElement.closest("[role=region][aria-label]");
  const place = region ? `${attribute(region, "aria-label")} ` : "";
  return name ? `${place}${element.localName}${attribute(element, name)}` : ":not(*)";
}

const attribute = (element, name) => `[${name}="${CSS.escape(element.getAttribute(name))}"]`;
