// A stream of events that rests while its tab is hidden: a browser has six connections for one site, all tabs together.

const GLANCE_MS = 30_000;

// With `glances`, a hidden tab reads the first event of the stream now and then, for its title.
export function follow(path, name, receive, { opened = () => {}, failed = () => {}, glances = false } = {}) {
  let source = null;
  const rest = () => { source?.close(); source = null; };
  const open = () => {
    const opening = source = new EventSource(path);
    opening.addEventListener("open", opened);
    opening.addEventListener("error", () => failed(opening.readyState === EventSource.CLOSED));
    opening.addEventListener(name, (event) => {
      if (document.hidden && opening === source) rest();
      receive(event);
    });
  };
  const change = () => { if (document.hidden) rest(); else if (!source) open(); };
  const glance = setInterval(() => { if (glances && !source) open(); }, GLANCE_MS);
  document.addEventListener("visibilitychange", change);
  open();
  return {
    close() {
      clearInterval(glance);
      document.removeEventListener("visibilitychange", change);
      rest();
    },
  };
}
