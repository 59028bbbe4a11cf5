//! The demo store's traffic, in the proportions of its k6 script (`demo/load.k6.js`).
//!
//! After a 500 uvicorn closes the connection without announcing it, once it has logged the error. A request that leaves before
//! that close arrives is a transport error record. [`crate::run_stages`] opens a new connection after a 5xx;
//! [`crate::closed_loop`] does not.

use crate::http::Request;
use crate::load::Shot;
use crate::random::Random;
use std::ops::Range;
use std::time::Duration;

/// The store's default token (`STORE_TOKEN`).
pub const TOKEN: &str = "secret-demo";
/// How long a k6 user waits between two requests.
pub const THINK: Range<Duration> = Duration::from_millis(50)..Duration::from_millis(150);
/// The stages of the k6 script: (users, duration of the stage).
pub const STAGES: [(usize, Duration); 4] = [
    (10, Duration::from_secs(15)),
    (30, Duration::from_secs(15)),
    (60, Duration::from_secs(15)),
    (100, Duration::from_secs(15)),
];

const PRODUITS: u64 = 500;
const MAGASINS: u64 = 20;
const CORRUPT_SHEET_EVERY: u64 = 50;

const PRODUIT: &str = "/api/produits/{id}";
const STOCK: &str = "/api/magasins/{id}/stock";
const RAPPORT: &str = "/api/ventes/rapport";
const VENTES: &str = "/api/ventes";
const FICHE: &str = "/api/produits/{id}/fiche";
/// The handler of a path that no route matches.
pub const NO_HANDLER: &str = "none";

/// One request of the mix, its route and the status the store answers.
pub fn store_shot(random: &mut Random) -> Shot {
    // Shares in percent: 45, 20, 8, 15, 3, 2, 3, 2, 1, 1.
    match random.below(100) {
        0..45 => get(PRODUIT, produit(random), Some(TOKEN), 200),
        45..65 => get(
            STOCK,
            format!("/api/magasins/{}/stock", random.range(1..MAGASINS + 1)),
            Some(TOKEN),
            200,
        ),
        65..73 => get(RAPPORT, RAPPORT.to_owned(), Some(TOKEN), 200),
        73..88 => {
            let quantity = random.range(1..4);
            post_vente(random, quantity, 201)
        }
        88..91 => get(PRODUIT, produit(random), None, 401),
        91..93 => get(PRODUIT, produit(random), Some("not-the-token"), 403),
        93..96 => {
            let unknown = PRODUITS + random.range(1..501);
            get(PRODUIT, format!("/api/produits/{unknown}"), Some(TOKEN), 404)
        }
        96..98 => post_vente(random, 0, 422),
        98 => get(NO_HANDLER, "/api/inconnu".to_owned(), Some(TOKEN), 404),
        _ => {
            let corrupt = CORRUPT_SHEET_EVERY * random.range(1..PRODUITS / CORRUPT_SHEET_EVERY + 1);
            get(FICHE, format!("/api/produits/{corrupt}/fiche"), Some(TOKEN), 500)
        }
    }
}

fn produit(random: &mut Random) -> String {
    format!("/api/produits/{}", random.range(1..PRODUITS + 1))
}

fn get(handler: &'static str, path: String, token: Option<&str>, expected: u16) -> Shot {
    let mut request = Request::get(path);
    if let Some(token) = token {
        request = request.header("x-token", token);
    }
    Shot {
        handler,
        request,
        expected: Some(expected),
    }
}

fn post_vente(random: &mut Random, quantity: u64, expected: u16) -> Shot {
    let body = format!(
        r#"{{"magasin_id":{},"produit_id":{},"quantite":{quantity}}}"#,
        random.range(1..MAGASINS + 1),
        random.range(1..PRODUITS + 1),
    );
    let request = Request::post(VENTES, body)
        .header("x-token", TOKEN)
        .header("content-type", "application/json");
    Shot {
        handler: VENTES,
        request,
        expected: Some(expected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn keeps_the_proportions_of_the_k6_script() {
        let mut random = Random::new(1);
        let mut counts = BTreeMap::new();
        let total = 100_000;
        for _ in 0..total {
            let shot = store_shot(&mut random);
            *counts
                .entry((shot.handler, shot.request.method, shot.expected.unwrap()))
                .or_insert(0) += 1;
        }
        let expected = [
            ((PRODUIT, "GET", 200), 45),
            ((STOCK, "GET", 200), 20),
            ((RAPPORT, "GET", 200), 8),
            ((VENTES, "POST", 201), 15),
            ((PRODUIT, "GET", 401), 3),
            ((PRODUIT, "GET", 403), 2),
            ((PRODUIT, "GET", 404), 3),
            ((VENTES, "POST", 422), 2),
            ((NO_HANDLER, "GET", 404), 1),
            ((FICHE, "GET", 500), 1),
        ];
        assert_eq!(counts.len(), expected.len());
        for ((handler, method, status), percent) in expected {
            let seen = counts[&(handler, method.to_owned(), status)] as f64 * 100.0 / f64::from(total);
            assert!((seen - f64::from(percent)).abs() < 0.6, "{handler} {status}: {seen} %");
        }
    }
}
