//! What the keys do, and what the columns are.

/// The lines of the help.
pub const LINES: [&str; 19] = [
    "q, Ctrl-C    quit                     space  freeze, and go on",
    "up, down     choose a row             Enter  into a service, into a route",
    "left, right  sort by another column   Esc    back",
    "r            the other way around     Tab    all routes, or by service",
    "/            filter by part of a name: Enter keeps it, Esc clears it",
    "",
    "REQ/S        requests that ended, in a second; aborted ones too",
    "ERR          share of 4xx, 5xx and aborted ones",
    "P50 P95 P99  durations, interpolated in the buckets of the interval",
    "PHASES       where the time of the requests went:",
    "             q queue     readable, not yet read   r runqueue  wants a CPU",
    "             c cpu       runs                     b blocked   sleeps",
    "             s send      sends the answer         ? not known whose",
    "RUNQ/S       how long threads waited for a CPU, in a second;",
    "             of a route: its requests",
    "FLY          requests that have begun and not ended",
    "BKLG         connections that wait to be accepted",
    "CPUS         CPUs that a service kept busy",
    "COUNT        requests since this began",
];
