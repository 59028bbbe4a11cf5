//! The page at `/`: what happens right now, for a browser.
//!
//! It is one document with its style and its script inside. The script reads the metrics again and again and computes the rest, so
//! that an open page costs what a scrape costs, and a page that nobody looks at costs nothing.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::{body::Bytes, header::HeaderValue};
use sha2::{Digest as _, Sha256};

use crate::view::{host, page::escape::escape};

const DOCUMENT: &str = include_str!("page/document.html");
const STYLE: &str = include_str!("page/style.css");
/// The parts in the order of their use. They share one scope, which nothing else gets into.
const SCRIPT: &str = concat!(
    "\"use strict\";\n(() => {\n",
    include_str!("page/numbers.js"),
    include_str!("page/work.js"),
    include_str!("page/scrape.js"),
    include_str!("page/history.js"),
    include_str!("page/elements.js"),
    include_str!("page/plots.js"),
    include_str!("page/heat_map.js"),
    include_str!("page/phases.js"),
    include_str!("page/signals.js"),
    include_str!("page/host.js"),
    include_str!("page/services.js"),
    include_str!("page/endpoints.js"),
    include_str!("page/main.js"),
    "})();\n"
);

/// The document, and what the browser has to know of it.
#[derive(Debug)]
pub struct Page {
    /// The document.
    pub html: Bytes,
    /// The only things that it may do, for the header `Content-Security-Policy`.
    pub policy: HeaderValue,
}

// === impl Page ===

impl Page {
    /// The page of this host, which reads the metrics at this path.
    pub fn new(telemetry_path: &str) -> Self {
        Self::of(&host::name(), telemetry_path)
    }

    fn of(host: &str, telemetry_path: &str) -> Self {
        // What comes from elsewhere is put in last, so that nothing is put into it.
        let html = DOCUMENT
            .replace("{{style}}", STYLE)
            .replace("{{script}}", SCRIPT)
            .replace("{{version}}", env!("CARGO_PKG_VERSION"))
            .replace("{{metrics}}", &escape(telemetry_path))
            .replace("{{host}}", &escape(host));
        // Style and script are known by their hashes: any other one, wherever it came from, does not run.
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
            hash(SCRIPT),
            hash(STYLE)
        );
        Self {
            html: html.into(),
            // The letters of base64 are those of a header.
            policy: HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'")),
        }
    }
}

/// How a policy names an inline script or style.
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_open() {
        let page = Page::of("<b>{{script}}", "/\"><script>&");
        let html = String::from_utf8(page.html.to_vec()).unwrap();
        assert_eq!(html.matches("<script>").count(), 1);
        assert!(html.contains("&lt;b&gt;{{script}}") && html.contains("/&quot;&gt;&lt;script&gt;&amp;"));
        for name in ["style", "version", "metrics", "host"] {
            assert!(!html.contains(&format!("{{{{{name}}}}}")), "{name}");
        }
        let policy = page.policy.to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'sha256-"),
            "{policy}"
        );
    }

    /// What the policy names is what stands between the tags.
    #[test]
    fn the_hashes_are_those_of_the_document() {
        let page = Page::new("/metrics");
        let html = String::from_utf8(page.html.to_vec()).unwrap();
        for tag in ["script", "style"] {
            let (_, rest) = html.split_once(&format!("<{tag}>")).unwrap();
            let (text, _) = rest.split_once(&format!("</{tag}>")).unwrap();
            assert!(page.policy.to_str().unwrap().contains(&hash(text)), "{tag}");
        }
    }

    #[test]
    fn it_names_no_other_place() {
        for text in [DOCUMENT, STYLE, SCRIPT] {
            // The namespace of SVG is a name, and not a place; the other one is what a reader may type.
            let text = text
                .replace("http://www.w3.org/2000/svg", "")
                .replace("curl http://localhost:", "");
            assert!(!text.contains("http://") && !text.contains("https://") && !text.contains("@import"));
        }
    }
}
