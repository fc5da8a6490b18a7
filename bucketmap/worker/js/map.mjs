// The map as the Worker reads it: map.bin, whose layout is in layout.go. What is
// large stays as it is in the file, and is looked at in place.

const magic = "DROVERW1";
const headerBytes = 64;
const blockUsers = 16; // users in a block of the whitelist
export const userMax = 256;

const crcTable = new Uint32Array(256).map((_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

// crc32 is the CRC-32 (IEEE) of an ASCII text.
export function crc32(text) {
  let crc = 0xffffffff;
  for (let i = 0; i < text.length; i++) crc = crcTable[(crc ^ text.charCodeAt(i)) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

// RoutingMap decides. Datacenters are indexes in its list of names.
export class RoutingMap {
  // The tag is what config.json says of the map: files of two exports do not
  // fit together.
  constructor(buffer, tag) {
    const bytes = new Uint8Array(buffer);
    const view = new DataView(buffer);
    if (bytes.length < headerBytes || asText(bytes.subarray(0, 8)) !== magic) {
      throw new Error("map.bin is not a map: export the Worker again");
    }
    const found = [...bytes.subarray(8, 24)].map((b) => b.toString(16).padStart(2, "0")).join("");
    if (found !== tag) throw new Error("map.bin and config.json are not of one export: export the Worker again");
    const field = (n) => view.getUint32(32 + 4 * n, true);
    const [buckets, datacenters, dflt, holds, users, idBytes, nameBytes] = [0, 1, 2, 3, 4, 5, 6].map(field);
    const Place = numbersTo(datacenters);
    let at = headerBytes;
    const section = (Kind, count) => {
      const part = new Kind(buffer, at, count);
      at += Math.ceil(part.byteLength / 8) * 8;
      return part;
    };
    this.version = String(view.getBigUint64(24, true));
    this.buckets = buckets;
    this.dflt = dflt;
    this.datacenters = asText(section(Uint8Array, nameBytes)).split("\n");
    this.others = section(Place, datacenters); // plus one; 0: none
    this.homes = section(Place, buckets); // plus one; 0: none
    this.ends = section(Float64Array, holds); // in milliseconds
    this.holds = section(numbersTo(holds), holds === 0 ? 0 : buckets); // plus one; 0: not held
    this.users = users;
    this.blocks = section(Uint32Array, Math.ceil(users / blockUsers)); // where they begin in ids
    this.places = section(Place, users);
    this.ids = section(Uint8Array, idBytes); // each behind its length less one
    if (at !== bytes.length) throw new Error("map.bin is not whole: export the Worker again");
  }

  // decide says to which datacenter a user goes. An empty one is no user.
  decide(user) {
    if (user.length === 0) return { datacenter: this.dflt, reason: "no_user" };
    if (user.length > userMax) return this.unusable();
    const bucket = crc32(user) % this.buckets;
    const listed = this.whitelisted(user);
    if (listed >= 0) return { datacenter: listed, reason: "whitelist", bucket };
    const home = this.homes[bucket];
    if (home !== 0) return { datacenter: home - 1, reason: "bucket", bucket };
    return { datacenter: this.dflt, reason: "unmapped", bucket };
  }

  // unusable is the decision for a user id that cannot be used.
  unusable() {
    return { datacenter: this.dflt, reason: "bad_user" };
  }

  // heldUntil returns when a bucket's hold ends, in milliseconds; 0: no hold.
  heldUntil(bucket) {
    const hold = this.holds.length === 0 ? 0 : this.holds[bucket];
    return hold === 0 ? 0 : this.ends[hold - 1];
  }

  // counterpart returns the other end of the migration; -1: there is none.
  counterpart(datacenter) {
    return this.others[datacenter] - 1;
  }

  // whitelisted returns the user's datacenter on the whitelist, or -1. The ids
  // are sorted: the block by halving, and then one after the other.
  whitelisted(user) {
    let low = 0;
    let high = this.blocks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.compare(this.blocks[middle], user) <= 0) low = middle + 1;
      else high = middle;
    }
    const first = (low - 1) * blockUsers;
    if (first < 0) return -1;
    let at = this.blocks[low - 1];
    for (let i = first; i < Math.min(first + blockUsers, this.users); i++) {
      if (this.compare(at, user) === 0) return this.places[i] - 1;
      at += this.ids[at] + 2;
    }
    return -1;
  }

  // compare says how the id at a place in ids compares with a user.
  compare(at, user) {
    const length = this.ids[at] + 1;
    for (let i = 0; i < length && i < user.length; i++) {
      const difference = this.ids[at + 1 + i] - user.charCodeAt(i);
      if (difference !== 0) return difference;
    }
    return length - user.length;
  }
}

// numbersTo returns how numbers from 0 to n are kept.
function numbersTo(n) {
  if (n <= 0xff) return Uint8Array;
  return n <= 0xffff ? Uint16Array : Uint32Array;
}

function asText(bytes) {
  return new TextDecoder().decode(bytes);
}
