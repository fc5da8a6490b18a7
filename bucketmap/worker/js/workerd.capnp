# Runs the Worker here: workerd serve workerd.capnp
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "edge", worker = .edge),
    # The upstreams may be anywhere.
    (name = "upstreams", network = (
      allow = ["public", "private"],
      tlsOptions = (trustBrowserCas = true),
    )),
  ],
  sockets = [(name = "http", address = "{{.Listen}}", http = (), service = "edge")],
);

const edge :Workerd.Worker = (
  modules = [
    (name = "worker.mjs", esModule = embed "worker.mjs"),
    (name = "identity.mjs", esModule = embed "identity.mjs"),
    (name = "map.mjs", esModule = embed "map.mjs"),
    (name = "config.json", json = embed "config.json"),
    (name = "map.bin", data = embed "map.bin"),
  ],
  bindings = [(name = "PLATFORM", text = "workerd")],
  compatibilityDate = "{{.Date}}",
  globalOutbound = "upstreams",
);
