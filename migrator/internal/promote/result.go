package promote

import "drover/migrator/internal/preflight"

// Result is what one check of the preflight found on one server.
type Result = preflight.Result
