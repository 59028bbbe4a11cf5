//! What each path answers.

use std::{io::Write as _, net::IpAddr, rc::Rc, time::Duration};

use flate2::{Compression, write::GzEncoder};
use http_body_util::{Either, Full};
use hyper::{
    Method, Request, Response, StatusCode, Version,
    body::Bytes,
    header::{
        ACCEPT, ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_SECURITY_POLICY,
        CONTENT_TYPE, HOST, HeaderValue, ORIGIN, REFERRER_POLICY, RETRY_AFTER, USER_AGENT, VARY,
        X_CONTENT_TYPE_OPTIONS,
    },
    http::uri::Authority,
};
use log::error;

use super::{
    connections::Connections,
    moment::{Moments, Rendered},
    page::Page,
    requests::Requests,
    trace::{self, Answer},
};
use crate::{
    config::{Profile, SERVICE},
    metrics::{
        format::Format,
        scrapers::{self, Scraper},
    },
    watch::{Wanted, Watch},
};

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// How long a scraper waits that does not say so.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a scraper was shown, as an extension of the response.
#[derive(Clone, Debug)]
pub struct Scrape {
    /// The scraper.
    scraper: Scraper,
    /// When it was taken, by the monotonic clock, in nanoseconds.
    taken: u64,
    /// How long the scraper waits: if it ends the connection before, it has given up. `None`: it ends each connection at once.
    pub patience: Option<Duration>,
}

/// Where a client has come in.
#[derive(Clone, Copy, Debug)]
pub enum Door {
    /// Over TCP, from this address.
    Network(IpAddr),
    /// By the unix socket of traces, where there is nothing else.
    TraceSocket,
}

/// What the pages are made from.
pub struct Site {
    /// The path of the metrics.
    pub telemetry_path: String,
    /// The page at `/`.
    pub page: Page,
    /// Who makes the metrics.
    pub watch: Rc<Watch>,
    /// How many requests are answered at once.
    requests: Requests,
    moments: Moments,
}

fn respond(status: StatusCode, kind: HeaderValue, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

// === impl Site ===

impl Site {
    /// The site of this Vigie, which answers so many requests at once; 0: no limit.
    pub fn new(telemetry_path: String, watch: Rc<Watch>, max_requests: usize) -> Self {
        Self {
            page: Page::new(&telemetry_path),
            telemetry_path,
            watch,
            requests: Requests::new(max_requests),
            moments: Moments::default(),
        }
    }

    /// Answers a request of a client that has come in by this door.
    pub async fn answer<B>(&self, request: &Request<B>, door: Door, connections: &Connections) -> Answer {
        match door {
            Door::TraceSocket => trace::answer(self, request),
            Door::Network(client) => self.page_for(request, client, connections).await.map(Either::Left),
        }
    }

    async fn page_for<B>(
        &self,
        request: &Request<B>,
        client: IpAddr,
        connections: &Connections,
    ) -> Response<Full<Bytes>> {
        if is_foreign(request) {
            return respond(
                StatusCode::FORBIDDEN,
                PLAIN,
                "this is not for the scripts of other sites (Origin)\n",
            );
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut response = respond(
                StatusCode::METHOD_NOT_ALLOWED,
                PLAIN,
                "only GET and HEAD are answered here\n",
            );
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            path if path == self.telemetry_path || path == "/" => {
                let mut response = match path {
                    "/" => self.page(request),
                    _ => self.metrics(request, client, connections).await,
                };
                // Whoever goes while this waits has not been shown anything.
                let mut unsent = Unsent {
                    site: self,
                    scrape: response.extensions_mut().remove(),
                };
                let Some(place) = self.requests.begin(connections, self.watch.clients()).await else {
                    return too_many().map(Full::new);
                };
                if let Some(scrape) = unsent.scrape.take() {
                    response.extensions_mut().insert(scrape);
                }
                let (parts, body) = response.into_parts();
                Response::from_parts(parts, Full::new(place.keep_for(body)))
            }
            trace::PATH => respond(
                StatusCode::FORBIDDEN,
                PLAIN,
                "traces show paths: they are on a unix socket, for root and the group vigie (vigie trace)\n",
            ),
            "/-/healthy" => respond(StatusCode::OK, PLAIN, "Vigie is healthy.\n"),
            "/-/ready" => respond(StatusCode::OK, PLAIN, "Vigie is ready.\n"),
            _ => respond(StatusCode::NOT_FOUND, PLAIN, "no such page\n"),
        }
    }

    async fn metrics<B>(&self, request: &Request<B>, client: IpAddr, connections: &Connections) -> Response<Bytes> {
        let profile = match wanted_profile(request.uri().query(), self.watch.profile()) {
            Ok(profile) => profile,
            Err(problem) => return plain(StatusCode::BAD_REQUEST, format!("{problem}\n")),
        };
        let service_label = match wanted_service_label(request.uri().query(), self.watch.service_label()) {
            Ok(label) => label,
            Err(problem) => return plain(StatusCode::BAD_REQUEST, format!("{problem}\n")),
        };
        let accepted = request.headers().get_all(ACCEPT).iter();
        let format = Format::accepted(accepted.filter_map(|value| value.to_str().ok()));
        let scraper = scraper(request, client);
        let wanted = Wanted {
            profile,
            service_label,
            format,
            with_created: wants_created(request.uri().query()),
            shown: scraper.as_ref().and_then(|scraper| self.watch.last_shown(scraper)),
        };
        let collect = |wanted| self.watch.metrics(wanted);
        let clients = self.watch.clients();
        let rendered = match self.moments.rendered(wanted, connections, clients, collect).await {
            Ok(Some(rendered)) => rendered,
            Ok(None) => return too_many(),
            Err(failure) => {
                error!("cannot collect: {failure:#}");
                return plain(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    format!("cannot collect: {failure:#}\n"),
                );
            }
        };
        let Rendered { body, taken, .. } = &*rendered;
        let taken = *taken;
        let zipped = accepts_gzip(request).then(|| rendered.zipped(gzip)).flatten();
        let kind = HeaderValue::from_static(format.content_type());
        let mut response = with_coding(kind, body, zipped);
        response
            .headers_mut()
            .insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
        if let Some(scraper) = scraper {
            self.watch.shown(scraper.clone(), taken);
            response.extensions_mut().insert(Scrape {
                scraper,
                taken,
                patience: patience(request),
            });
        }
        response
    }

    /// What a scraper was shown has not come to it.
    pub fn lost(&self, scrape: &Scrape) {
        self.watch.lost(&scrape.scraper, scrape.taken);
    }

    fn page<B>(&self, request: &Request<B>) -> Response<Bytes> {
        let html = &self.page.html;
        let zipped = accepts_gzip(request)
            .then(|| gzip(html).ok().map(Bytes::from))
            .flatten();
        let mut response = with_coding(HTML, html, zipped);
        let headers = response.headers_mut();
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        headers.insert(CONTENT_SECURITY_POLICY, self.page.policy.clone());
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        // The next Vigie has another page.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}

/// Whether a query asks for the lines of OpenMetrics that say when a metric was 0.
fn wants_created(query: Option<&str>) -> bool {
    let parameters = query.unwrap_or_default().split('&');
    let mut values = parameters.filter_map(|parameter| parameter.strip_prefix("created="));
    values.next_back() == Some("true")
}

/// The scraper that a request is from, if it is from one. It has to want the body: by the head alone, it has seen nothing.
fn scraper<B>(request: &Request<B>, client: IpAddr) -> Option<Scraper> {
    let headers = request.headers();
    if request.method() != Method::GET || !headers.contains_key(scrapers::HEADER) {
        return None;
    }
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    Some(Scraper::new(
        client,
        agent.unwrap_or_default(),
        request.uri().query().unwrap_or_default(),
    ))
}

/// How long the client of a scrape waits for its answer, unless it ends its connection behind each answer anyway.
fn patience<B>(request: &Request<B>) -> Option<Duration> {
    let text = |name| {
        request
            .headers()
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let connection = text(CONNECTION.as_str()).unwrap_or_default();
    let closes = connection
        .split(',')
        .any(|option| option.trim().eq_ignore_ascii_case("close"));
    if closes || request.version() < Version::HTTP_11 {
        return None;
    }
    let seconds = text(scrapers::HEADER).and_then(|seconds| seconds.parse().ok());
    Some(
        seconds
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .unwrap_or(PATIENCE),
    )
}

/// What a query wants the label to be called that names the service: `service`, or what this Vigie calls it anyway.
fn wanted_service_label(query: Option<&str>, configured: &'static str) -> Result<&'static str, String> {
    let parameters = query.unwrap_or_default().split('&');
    let wanted = parameters
        .filter_map(|parameter| parameter.strip_prefix("service_label="))
        .next_back();
    match wanted {
        None => Ok(configured),
        Some(name) => [SERVICE, configured]
            .into_iter()
            .find(|label| *label == name)
            .ok_or_else(|| {
                format!("service_label can be {SERVICE} or {configured} here: the configuration says which")
            }),
    }
}

/// The metric profile that a query asks for: Vigie's own, or the one that this Vigie has the buckets for.
fn wanted_profile(query: Option<&str>, configured: Profile) -> Result<Profile, String> {
    let parameters = query.unwrap_or_default().split('&');
    match parameters
        .filter_map(|parameter| parameter.strip_prefix("profile="))
        .next_back()
    {
        None => Ok(configured),
        Some(name) => [Profile::Vigie, configured]
            .into_iter()
            .find(|profile| profile.to_string() == name)
            .ok_or_else(|| match configured {
                Profile::Vigie => {
                    "the only profile here is vigie: start Vigie with --metrics.profile for another".to_owned()
                }
                other => {
                    format!("the profiles here are vigie and {other}: start Vigie with --metrics.profile for another")
                }
            }),
    }
}

/// A scrape that is lost to its scraper when this is dropped.
struct Unsent<'a> {
    site: &'a Site,
    scrape: Option<Scrape>,
}

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        if let Some(scrape) = &self.scrape {
            self.site.lost(scrape);
        }
    }
}

fn too_many() -> Response<Bytes> {
    let text = "too many requests are under way (--web.max-requests)\n";
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, text.to_owned());
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn plain(status: StatusCode, text: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, PLAIN);
    response
}

/// A body, or what it is as gzip.
fn with_coding(kind: HeaderValue, body: &Bytes, zipped: Option<Bytes>) -> Response<Bytes> {
    let is_zipped = zipped.is_some();
    let mut response = Response::new(zipped.unwrap_or_else(|| body.clone()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    if is_zipped {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// Whether a script of another site asks: a browser says so (RFC 6454, 7). Its own pages ask without, or with the name that they were asked
/// for themselves.
fn is_foreign<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    let Some(origin) = headers.get(ORIGIN) else {
        return false;
    };
    let own = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let origin = origin.and_then(|(_, authority)| authority.parse::<Authority>().ok());
    match (origin, own) {
        (Some(origin), Some(own)) => origin != own,
        _ => true,
    }
}

/// Whether a client takes gzip (RFC 9110, 12.5.3): named, and not with weight 0.
fn accepts_gzip<B>(request: &Request<B>) -> bool {
    let values = request
        .headers()
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let is_refused = parts.any(|weight| matches!(weight, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        is_gzip && !is_refused
    })
}

fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_asks_for_a_profile() {
        use Profile::{Express, Fastapi, Vigie};
        for (query, configured, expected) in [
            (None, Express, Some(Express)),
            (Some("a=b"), Fastapi, Some(Fastapi)),
            (Some("profile=vigie"), Express, Some(Vigie)),
            (Some("a=b&profile=express"), Express, Some(Express)),
            (Some("profile=express"), Vigie, None),
            (Some("profile="), Vigie, None),
        ] {
            assert_eq!(wanted_profile(query, configured).ok(), expected, "{query:?}");
        }
    }

    #[test]
    fn a_query_asks_for_a_service_label() {
        for (query, expected) in [
            (None, Some("app")),
            (Some("profile=vigie"), Some("app")),
            (Some("profile=vigie&service_label=service"), Some("service")),
            (Some("service_label=app"), Some("app")),
            (Some("service_label=other"), None),
            (Some("service_label="), None),
        ] {
            assert_eq!(wanted_service_label(query, "app").ok(), expected, "{query:?}");
        }
    }

    #[test]
    fn created_lines_are_asked_for() {
        for (query, expected) in [
            (None, false),
            (Some("created=true"), true),
            (Some("profile=vigie&created=true"), true),
            (Some("created=false"), false),
            (Some("created=true&created=false"), false),
            (Some("xcreated=true"), false),
        ] {
            assert_eq!(wants_created(query), expected, "{query:?}");
        }
    }

    #[test]
    fn a_scraper_is_known_by_its_header() {
        let client = IpAddr::from([127, 0, 0, 1]);
        let request = |method: Method, header: &str| {
            let request = Request::builder()
                .method(method)
                .uri("/metrics?a=b")
                .header(USER_AGENT, "P/1");
            request.header(header, "10").body(()).unwrap()
        };
        let scrape = request(Method::GET, "X-Prometheus-Scrape-Timeout-Seconds");
        assert_eq!(scraper(&scrape, client), Some(Scraper::new(client, "P/1", "a=b")));
        let head = request(Method::HEAD, "X-Prometheus-Scrape-Timeout-Seconds");
        assert_eq!(scraper(&head, client), None);
        assert_eq!(scraper(&request(Method::GET, "X-Other"), client), None);
    }

    #[test]
    fn a_scraper_says_how_long_it_waits() {
        for (seconds, connection, version, expected) in [
            ("2.5", "", Version::HTTP_11, Some(Duration::from_millis(2500))),
            ("2.5", "keep-alive", Version::HTTP_11, Some(Duration::from_millis(2500))),
            ("x", "", Version::HTTP_11, Some(PATIENCE)),
            ("-1", "", Version::HTTP_11, Some(PATIENCE)),
            ("1e300", "", Version::HTTP_11, Some(PATIENCE)),
            ("2.5", "Close", Version::HTTP_11, None),
            ("2.5", "", Version::HTTP_10, None),
        ] {
            let request = Request::builder().version(version).header(scrapers::HEADER, seconds);
            let request = request.header(CONNECTION, connection).body(()).unwrap();
            assert_eq!(patience(&request), expected, "{seconds} {connection} {version:?}");
        }
    }

    #[test]
    fn scripts_of_other_sites_are_known() {
        for (origin, host, expected) in [
            (None, Some("shop:10190"), false),
            (Some("http://shop:10190"), Some("shop:10190"), false),
            (Some("http://SHOP:10190"), Some("shop:10190"), false),
            (Some("http://evil.example"), Some("shop:10190"), true),
            (Some("http://shop:80"), Some("shop:10190"), true),
            (Some("null"), Some("shop:10190"), true),
            (Some(""), Some("shop:10190"), true),
            (Some("http://shop:10190"), None, true),
        ] {
            let mut request = Request::new(());
            for (name, value) in [(ORIGIN, origin), (HOST, host)] {
                if let Some(value) = value {
                    request.headers_mut().insert(name, HeaderValue::from_static(value));
                }
            }
            assert_eq!(is_foreign(&request), expected, "{origin:?} {host:?}");
        }
    }

    #[test]
    fn gzip_is_negotiated() {
        for (header, expected) in [
            ("gzip", true),
            ("deflate, gzip;q=1.0, *;q=0.5", true),
            ("GZIP", true),
            ("identity", false),
            ("gzip;q=0", false),
            ("", false),
        ] {
            let request = Request::builder().header(ACCEPT_ENCODING, header).body(()).unwrap();
            assert_eq!(accepts_gzip(&request), expected, "{header}");
        }
        assert!(!accepts_gzip(&Request::new(())));
    }
}
