// Package nginx exports the map for nginx with the njs module
// (libnginx-mod-http-js, 0.7.9 and later), which then decides like Drover's own
// edge. nginx itself cannot: it has no CRC-32, and its maps do not tell cases
// apart.
//
// One export, in this order: (1) make sure that the map says nothing that nginx
// cannot do; (2) write the script, with the map in it, into a folder of its
// own; (3) write drover-headers.conf; (4) write drover.conf, which names that
// folder, into place; (5) the operator, or a timer, checks it (nginx -t) and
// reloads nginx.
//
//	drover.conf                       for http {}: the variables
//	drover-headers.conf               for a location: headers, and holds
//	drover-17-9f3c52d1a0b4/drover.js  the map of version 17, and the decision
//
// nginx reads them by four lines:
//
//	load_module modules/ngx_http_js_module.so;
//	http {
//	    include /etc/nginx/drover/drover.conf;
//	    …
//	        location / {
//	            include /etc/nginx/drover/drover-headers.conf;
//	            proxy_pass http://$drover_backend;
//	        }
//
// njs runs a script's outermost lines anew for each request, so a table that
// is built by them would be built for each request. A string is not: it is made
// once, when nginx reads its configuration, and all requests read the same one.
// So the script has strings alone: one or more characters a bucket, and the
// whitelist sorted, in hexadecimal, to be searched by halving.
//
// What nginx cannot do: wait. A request of a held bucket is answered 503 with
// Retry-After: 1 until the hold's deadline, a whitelisted user's too, unless
// Options.IgnoreHolds. It takes no part in acknowledgements and does not send
// again what was answered 421. A second line with the identity header makes a
// bad user, also where both lines are the same. A client's headers whose name
// begins with Drover- pass unless they are one of the five that an edge sets.
// underscores_in_headers and ignore_invalid_headers must be left as they are,
// off and on, or other spellings of these headers pass too.
//
// The package never talks to nginx and never reloads it. Export may be called
// concurrently.
package nginx
