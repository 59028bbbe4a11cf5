//! What the keys do, and what the columns are.

/// The lines of the help.
pub const LINES: [&str; 19] = [
    "q, Ctrl-C   quit                   space   freeze, and go on",
    "up, down    choose a row           Enter   into a service, into a route",
    "left, right sort by another column Esc     back",
    "r           the other way around   Tab     routes of all services, or by service",
    "/           filter by part of a name; Enter keeps it, Esc clears it",
    "",
    "REQ/S       requests that ended, in a second; aborted ones too",
    "ERR         share of 4xx, 5xx and aborted ones; each has a column where there is room",
    "P50 P95 P99 durations, interpolated in the histogram's buckets of this interval",
    "PHASES      where the requests' time went, a letter for each part of it:",
    "            q queue     readable, and not yet read",
    "            r runqueue  ready to run, and waiting for a CPU",
    "            c cpu       running             b blocked  sleeping, or waiting for others",
    "            s send      first to last byte  ?          not known to be of one request",
    "RUNQ/S      how long threads (of a route: its requests) waited for a CPU, in a second",
    "FLY         requests that have begun and not ended",
    "BKLG        connections that wait to be accepted",
    "CPUS        CPUs that its threads kept busy",
    "COUNT       requests since this began",
];
