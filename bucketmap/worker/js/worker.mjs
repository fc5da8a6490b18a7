// The edge as a Worker. One request, in this order: (1) the user is found;
// (2) the map in map.bin decides; (3) a held bucket is told to come again;
// (4) the request goes to the datacenter's upstream, as it came but for the
// headers that are the edge's to say; (5) a 421 of the application sends it to
// one other place, once; (6) the answer goes back, less the edge's headers.
//
// Nothing here is kept between requests but the map and the configuration,
// which never change while this runs: a new map is a new deployment.
import config from "./config.json";
import data from "./map.bin";
import { Finder } from "./identity.mjs";
import { RoutingMap } from "./map.mjs";

const map = new RoutingMap(data, config.tag);
const finder = new Finder(config.identity, config.trust_clients);
const origins = map.datacenters.map((name) => config.upstreams[name]);
const failover = map.datacenters.map((name) => (config.failover[name] ?? []).map((n) => map.datacenters.indexOf(n)));

// The methods that may be sent twice (RFC 9110, 9.2.2).
const idempotent = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);

// Cloudflare answers for an origin that it could not reach: the connection was
// refused, it timed out, there is no route. On workerd fetch throws instead.
const unreachable = new Set([521, 522, 523]);

export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    if (/[/?#@\\]/.test(request.headers.get("host") ?? "")) {
      return refuse(400, "the request's Host is no host", "send one well-formed request", null);
    }
    const journey = new Journey(request, url, env.PLATFORM === "cloudflare");
    return journey.held() ?? (await journey.keepBody()) ?? journey.go();
  },
};

// Journey is one request on its way.
class Journey {
  constructor(request, url, cloudflare) {
    this.request = request;
    this.url = url;
    this.cloudflare = cloudflare;
    // What the application gets to see, dot segments resolved, is what decides.
    this.target = url.href.slice(url.origin.length);
    const found = finder.find(request.headers, this.target);
    this.user = found.user;
    this.decision = found.unusable ? map.unusable() : map.decide(found.user);
    this.kept = null; // the body, when it can be sent again
    this.replayable = request.body === null;
  }

  // held returns the answer to a request whose bucket is held. The request has
  // gone nowhere: the client sends it again.
  held() {
    const { bucket } = this.decision;
    const left = bucket === undefined ? 0 : map.heldUntil(bucket) - Date.now();
    if (left <= 0) return null;
    const answer = refuse(503, "the user's data is being moved", "send the request again", this.exposed());
    answer.headers.set("Retry-After", String(Math.max(1, Math.ceil(left / 1000))));
    return answer;
  }

  // keepBody reads a body that is known to be short, so that it can be sent
  // again. Any other is streamed, and sent once.
  async keepBody() {
    const { request } = this;
    const length = request.headers.get("content-length");
    const carries = request.method !== "GET" && request.method !== "HEAD"; // no fetch sends a kept body with these
    if (!carries || request.body === null || length === null) return null;
    if (!/^\d{1,9}$/.test(length) || Number(length) > config.replay_buffer) return null;
    try {
      this.kept = await request.arrayBuffer();
    } catch {
      return refuse(400, "the request's body is broken off", "send the request again", this.exposed());
    }
    this.replayable = true;
    return null;
  }

  // go sends the request and returns the answer for the client.
  async go() {
    const first = this.decision.datacenter;
    const tries = this.mayRepeat() ? [first, ...failover[first]] : [first];
    let [answer, at] = await this.reach(tries);
    if (answer !== null && this.replayable && isMisdirected(answer)) {
      const other = otherPlace(answer, at);
      await answer.body?.cancel();
      [answer, at] = other < 0 ? [null, at] : await this.reach([other]);
      if (other < 0 || (answer !== null && isMisdirected(answer))) {
        await answer?.body?.cancel();
        const refusal = refuse(503, "the user's data is being moved", "send the request again", this.exposed(at));
        refusal.headers.set("Retry-After", "1");
        return refusal;
      }
    }
    if (answer === null) {
      const remedy = "look whether the request was carried out before sending it again";
      return refuse(502, "the application cannot be reached", remedy, this.exposed(at));
    }
    return this.pass(answer, at);
  }

  mayRepeat() {
    return this.replayable && idempotent.has(this.request.method);
  }

  // reach sends the request to the first of the datacenters that answers.
  async reach(datacenters) {
    let at = datacenters[0];
    for (const [i, datacenter] of datacenters.entries()) {
      at = datacenter;
      const last = i === datacenters.length - 1;
      try {
        const answer = await fetch(this.onward(datacenter));
        if (last || !this.cloudflare || !unreachable.has(answer.status)) return [answer, at];
        await answer.body?.cancel();
      } catch (error) {
        console.warn("the application cannot be reached", map.datacenters[datacenter], String(error));
      }
    }
    return [null, at];
  }

  // onward returns the request as a datacenter gets it.
  onward(datacenter) {
    const { request, url } = this;
    const { method, headers: sent } = request;
    const source = this.kept === null ? request : { method, headers: sent, body: this.kept, redirect: "manual" };
    const onward = new Request(origins[datacenter] + this.target, source);
    const { headers } = onward;
    const before = config.trust_clients ? headers.get("x-forwarded-for") : null;
    for (const name of [...headers.keys()]) {
      if (isEdges(name) || (!config.trust_clients && isForwarding(name)) || finder.refuses(name)) headers.delete(name);
    }
    const client = this.cloudflare ? request.headers.get("cf-connecting-ip") : null;
    if (client !== null) headers.set("X-Forwarded-For", before === null ? client : `${before}, ${client}`);
    if (!headers.has("x-forwarded-proto")) headers.set("X-Forwarded-Proto", url.protocol.slice(0, -1));
    if (!headers.has("x-forwarded-host") && url.host !== "") headers.set("X-Forwarded-Host", request.headers.get("host") ?? url.host);
    const { bucket } = this.decision;
    if (bucket !== undefined) {
      headers.set("Drover-User", this.user);
      headers.set("Drover-Bucket", String(bucket));
    }
    headers.set("Drover-Datacenter", map.datacenters[datacenter]);
    headers.set("Drover-Route", this.reason(datacenter));
    headers.set("Drover-Map-Version", map.version);
    return onward;
  }

  reason(datacenter) {
    return datacenter === this.decision.datacenter ? this.decision.reason : "failover";
  }

  // exposed are the headers that a client may see.
  exposed(datacenter = this.decision.datacenter) {
    if (!config.expose_headers) return null;
    const headers = {
      "Drover-Datacenter": map.datacenters[datacenter],
      "Drover-Route": this.reason(datacenter),
      "Drover-Map-Version": map.version,
    };
    if (this.decision.bucket !== undefined) headers["Drover-Bucket"] = String(this.decision.bucket);
    return headers;
  }

  // pass makes the answer the client's.
  pass(answer, datacenter) {
    const { webSocket } = answer;
    const passed = webSocket
      ? new Response(null, { status: 101, webSocket, headers: answer.headers })
      : new Response(answer.body, answer);
    for (const name of [...passed.headers.keys()]) {
      if (isEdges(name)) passed.headers.delete(name);
    }
    for (const [name, value] of Object.entries(this.exposed(datacenter) ?? {})) passed.headers.set(name, value);
    return passed;
  }
}

// isMisdirected says whether an answer is the application's "not here". A 421
// without a version of the map is the application's own affair.
function isMisdirected(answer) {
  const version = answer.headers.get("drover-map-version") ?? "";
  return answer.status === 421 && /^\d{1,20}$/.test(version) && BigInt(version) < 1n << 64n;
}

// otherPlace returns where a request that was misdirected at one place may go:
// where the application says, else the other end of the migration. -1: nowhere.
function otherPlace(answer, at) {
  const told = map.datacenters.indexOf(answer.headers.get("drover-datacenter"));
  const other = told >= 0 ? told : map.counterpart(at);
  return other === at ? -1 : other;
}

// isEdges says whether a header, in lower case, is one of the edge's own, in
// any spelling that an application server takes for it.
function isEdges(name) {
  return /^drover[^a-z0-9]/.test(name);
}

// isForwarding says whether a header tells of who was before the edge.
function isForwarding(name) {
  return /^(forwarded$|x[^a-z0-9]forwarded[^a-z0-9]|x[^a-z0-9]real[^a-z0-9]ip$)/.test(name);
}

// refuse is an answer of the edge itself.
function refuse(status, error, remedy, headers) {
  const init = { status, headers: { "Content-Type": "application/json", ...headers } };
  return new Response(`${JSON.stringify({ error, remedy })}\n`, init);
}
