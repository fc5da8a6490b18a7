// events follows the server's events, and says whether it does: figures that
// nobody renews must not look as if they were new.

const silenceMax = 15000; // three beats
const againAfter = 2000;

export function follow({ topics, tell, line }) {
  let source, last = Date.now(), lostAt = null, again = null;
  const lost = () => {
    if (lostAt === null) lostAt = new Date();
    line("lost", "no word from the server since " + lostAt.toISOString().slice(11, 19) + "Z; the figures are old");
  };
  const open = () => {
    again = null;
    last = Date.now();
    source = new EventSource("/events");
    const heard = () => {
      last = Date.now();
      lostAt = null;
      line("live", "live");
    };
    source.addEventListener("beat", heard);
    for (const topic of topics) {
      source.addEventListener(topic, (e) => {
        heard();
        tell(topic, JSON.parse(e.data));
      });
    }
    source.onerror = async () => {
      lost();
      if (source.readyState !== EventSource.CLOSED) return; // the browser itself comes again
      const me = await fetch("/api/me").catch(() => null);
      if (me && me.status === 401) location.assign("/login");
      else later();
    };
  };
  const later = () => {
    source.close();
    if (again === null) again = setTimeout(open, againAfter);
  };
  setInterval(() => {
    if (Date.now() - last < silenceMax) return;
    lost();
    later();
  }, 1000);
  addEventListener("pagehide", () => source.close());
  open();
}
