// Who the user of a request is: a header, a cookie, a parameter of the query, or
// a segment of the path, in the order of the configuration. The rules are the
// proxy's (proxy/internal/identity). But a Worker gets headers as text, not as
// bytes, and lines of one name joined: an id that has anything but printable
// ASCII in it, or that may be two, is unusable here.
import { userMax } from "./map.mjs";

const nobody = { user: "", unusable: false };
const unusable = { user: "", unusable: true };

// joined is what the platform puts between the values of two lines.
const joined = ", ";

// Finder finds users.
export class Finder {
  // Identity headers of clients are believed when all clients are trusted.
  constructor(sources, trusted) {
    this.sources = sources;
    this.trusted = trusted;
    this.exact = new Set();
    this.loose = new Set();
    for (const { header } of sources) {
      if (header === undefined) continue;
      this.exact.add(header.toLowerCase());
      this.loose.add(loose(header.toLowerCase()));
    }
  }

  // find returns the user, empty when there is none. The first source that has
  // an id decides, also when it cannot be used: another could name another user.
  find(headers, target) {
    for (const source of this.sources) {
      const user = this.ask(source, headers, target);
      if (user === null || (user !== "" && !isUsable(user))) return unusable;
      if (user !== "") return { user, unusable: false };
    }
    return nobody;
  }

  // ask returns a source's id, "" for none, or null for one that is in doubt.
  ask(source, headers, target) {
    if (source.header !== undefined) return this.trusted ? byHeader(headers, source.header) : "";
    if (source.cookie !== undefined) return byCookie(headers, source.cookie);
    if (source.query !== undefined) return byQuery(target, source.query);
    return byPath(target, source.path);
  }

  // refuses says whether a header, in lower case, must not reach the
  // application: it could pass for an identity header, and is not believed.
  refuses(name) {
    return this.loose.has(loose(name)) && !(this.trusted && this.exact.has(name));
  }
}

// loose is how servers that make variables of headers read a name.
function loose(name) {
  return name.replace(/[^a-z0-9]/g, "-");
}

// isUsable says whether an id can be the value of a header: printable ASCII, no
// blanks at the ends.
function isUsable(user) {
  return user.length <= userMax && /^[!-~]([ -~]*[!-~])?$/.test(user);
}

function byHeader(headers, name) {
  const value = headers.get(name) ?? "";
  return value.includes(joined) ? null : value;
}

function byCookie(headers, name) {
  let user = "";
  for (const pair of (headers.get("cookie") ?? "").split(";")) {
    const equals = pair.indexOf("=");
    if (equals < 0 || pair.slice(0, equals).replace(/^[ \t]+/, "") !== name) continue;
    const value = trimRight(pair.slice(equals + 1));
    if (value === "") continue;
    if (value.includes(joined) || (user !== "" && user !== value)) return null;
    user = value;
  }
  return user;
}

// trimRight takes blanks and tabs away. A loop: /[ \t]+$/ takes quadratic time
// where blanks are in the middle.
function trimRight(text) {
  let end = text.length;
  while (end > 0 && (text[end - 1] === " " || text[end - 1] === "\t")) end--;
  return text.slice(0, end);
}

// byQuery returns the first parameter of that name. A parameter whose name does
// not decode is another one.
function byQuery(target, name) {
  const [, query] = cut(target, "?");
  if (query === "") return "";
  for (const pair of query.split("&")) {
    const [key, value] = cut(pair, "=");
    if (key === name || decode(key, true) === name) return decode(value, true);
  }
  return "";
}

// byPath returns the segment {id} of a path that begins with a pattern.
function byPath(target, pattern) {
  const segments = cut(target, "?")[0].slice(1).split("/");
  const { parts, slash } = pattern;
  if (segments.length < parts.length + (slash ? 1 : 0)) return "";
  let id = "";
  for (const [i, part] of parts.entries()) {
    if (part.id) id = segments[i];
    else if (!matches(part, segments[i])) return "";
  }
  id = decode(id, false);
  return id === "-" || id === "." || id === ".." ? "" : id; // "me", and what normalization takes away
}

// matches says whether a segment is a part of a pattern: a literal, or what is
// before and after a *.
function matches({ before, after, glob }, segment) {
  if (segment === "") return false;
  if (glob && before === "" && after === "") return true;
  const text = decode(segment, false);
  if (text === null) return false;
  if (!glob) return text === before;
  return text.length >= before.length + after.length && text.startsWith(before) && text.endsWith(after);
}

// decode percent-decodes a text to one character a byte, and + to a blank in a
// form. null: a % that two hexadecimal digits do not follow.
function decode(text, form) {
  const spaced = form ? text.replaceAll("+", " ") : text;
  if (!spaced.includes("%")) return spaced;
  if (/%(?![0-9A-Fa-f]{2})/.test(spaced)) return null;
  return spaced.replace(/%(..)/g, (_, digits) => String.fromCharCode(parseInt(digits, 16)));
}

function cut(text, separator) {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}
