//! Whose names the request metrics have.

use clap::ValueEnum;
use serde_saphyr::Spanned;

use super::{buckets::Buckets, error::Place, text::quoted};

/// Whose names, labels and buckets the request metrics have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, ValueEnum)]
pub enum Profile {
    /// Vigie's own.
    #[default]
    Vigie,
    /// Those of prometheus_fastapi_instrumentator.
    Fastapi,
    /// Those of express-prom-bundle.
    Express,
    /// Those of OpenTelemetry's semantic conventions.
    Otel,
}

/// The bounds of prometheus_fastapi_instrumentator's histogram without labels. Those of the other one are among them.
const FASTAPI: [f64; 21] = [
    0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 7.5, 10.0, 30.0, 60.0,
];
/// Those of express-prom-bundle.
const EXPRESS: [f64; 6] = [0.003, 0.03, 0.1, 0.3, 1.5, 10.0];
/// Those that the semantic conventions advise.
const OTEL: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

// === impl Profile ===

impl Profile {
    /// The profile of a name in the file.
    pub(super) fn read(name: &Spanned<String>) -> Result<Self, Place> {
        <Self as ValueEnum>::from_str(&name.value, false).map_err(|_| {
            let problem = format!("there is no metrics profile {}", quoted(&name.value));
            Place::at(name, &problem, "use vigie, fastapi, express or otel")
        })
    }

    /// The bounds in seconds that its histograms have. Vigie's own can have any.
    fn needs(self) -> &'static [f64] {
        match self {
            Self::Vigie => &[],
            Self::Fastapi => &FASTAPI,
            Self::Express => &EXPRESS,
            Self::Otel => &OTEL,
        }
    }

    /// Whether a path that has only answered 404 has a label of its own.
    pub fn shows_not_found(self) -> bool {
        self == Self::Express
    }

    /// The bounds where the file gives none.
    pub(super) fn default_buckets(self) -> Buckets {
        match self {
            Self::Vigie => Buckets::default(),
            _ => Buckets::of(self.needs()),
        }
    }

    /// Refuses bounds among which one is missing that this profile needs.
    pub(super) fn check(self, buckets: &Buckets, at: &Spanned<Vec<Spanned<f64>>>) -> Result<(), Place> {
        let needed = Buckets::of(self.needs());
        let missing = needed.nanos().iter().position(|bound| !buckets.nanos().contains(bound));
        match missing.and_then(|place| needed.seconds().get(place)) {
            None => Ok(()),
            Some(bound) => {
                let problem = format!("buckets has no {bound}, which the metrics profile {self} needs");
                Err(Place::at(at, &problem, "add it, or leave buckets out"))
            }
        }
    }
}

impl std::fmt::Display for Profile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Vigie => "vigie",
            Self::Fastapi => "fastapi",
            Self::Express => "express",
            Self::Otel => "otel",
        })
    }
}
