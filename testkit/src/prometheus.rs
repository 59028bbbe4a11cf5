//! A real Prometheus server, and what it answers to queries.

use crate::http::{Client, Request};
use crate::process::{Server, free_port};
use crate::temp_dir::TempDir;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// A running Prometheus server. Stopped on drop, its data with it.
#[derive(Debug)]
pub struct Prometheus {
    /// Its process and its address.
    pub server: Server,
}

/// The HTTP API of a Prometheus server that runs somewhere.
#[derive(Clone, Copy, Debug)]
pub struct Api {
    /// Where the server listens.
    pub address: SocketAddr,
}

/// One time series of an instant query's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The labels, the name among them as `__name__`.
    pub labels: BTreeMap<String, String>,
    /// The value: `NaN` and infinities are what they are.
    pub value: f64,
}

// === impl Sample ===

impl Sample {
    /// The value of a label; empty if there is none, as in PromQL.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

// === impl Prometheus ===

impl Prometheus {
    /// Starts the program with a configuration (`prometheus.yml`), and waits until it is ready.
    ///
    /// Paths in the configuration are relative to the configuration's directory, which is `dir`: rule files may lie
    /// there. `flags` are added to the command line.
    pub fn start(program: &Path, dir: TempDir, config: &str, flags: &[&str]) -> Result<Self> {
        let port = free_port()?;
        let file = dir.write("prometheus.yml", config.as_bytes())?;
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(flags);
        let server = Server::start(command, dir, port)?;
        let prometheus = Self { server };
        prometheus.server.wait_for(READY_TIMEOUT, || {
            let response = prometheus.get("/-/ready").ok()?;
            (response.0 == 200).then_some(())
        })?;
        Ok(prometheus)
    }

    /// Its HTTP API, to ask from anywhere.
    pub fn client(&self) -> Api {
        Api {
            address: self.server.address(),
        }
    }

    /// The status and the body of a page.
    pub fn get(&self, target: &str) -> Result<(u16, Vec<u8>)> {
        self.client().get(target)
    }

    /// The `data` of an answer of the HTTP API.
    ///
    /// # Errors
    ///
    /// What Prometheus says of a request that it refuses, such as a query with a mistake.
    pub fn api(&self, target: &str) -> Result<Value> {
        self.client().api(target)
    }

    /// The answer to an instant query: a vector, or a scalar as one sample without labels.
    pub fn query(&self, expression: &str) -> Result<Vec<Sample>> {
        self.client().query(expression)
    }

    /// The value of a query that gives one sample.
    pub fn value(&self, expression: &str) -> Result<f64> {
        self.client().value(expression)
    }
}

// === impl Api ===

impl Api {
    /// The status and the body of a page.
    pub fn get(&self, target: &str) -> Result<(u16, Vec<u8>)> {
        let response = Client::connect(self.address)?.send(&Request::get(target))?;
        Ok((response.status, response.body))
    }

    /// The `data` of an answer of the HTTP API.
    ///
    /// # Errors
    ///
    /// What Prometheus says of a request that it refuses, such as a query with a mistake.
    pub fn api(&self, target: &str) -> Result<Value> {
        let (_, body) = self.get(target)?;
        let mut answer: Value = serde_json::from_slice(&body)
            .with_context(|| format!("no JSON from {target}: {}", String::from_utf8_lossy(&body)))?;
        ensure!(
            answer["status"] == "success",
            "Prometheus refuses {target}: {}",
            answer["error"]
        );
        Ok(answer["data"].take())
    }

    /// The answer to an instant query: a vector, or a scalar as one sample without labels.
    pub fn query(&self, expression: &str) -> Result<Vec<Sample>> {
        self.instant(&format!("/api/v1/query?query={}", escape(expression)))
    }

    /// The same for a moment of the past, in Unix seconds.
    pub fn query_at(&self, expression: &str, time: f64) -> Result<Vec<Sample>> {
        self.instant(&format!("/api/v1/query?query={}&time={time:.3}", escape(expression)))
    }

    fn instant(&self, target: &str) -> Result<Vec<Sample>> {
        let data = self.api(target)?;
        let result = &data["result"];
        if data["resultType"] == "scalar" {
            let labels = BTreeMap::new();
            return Ok(vec![Sample {
                labels,
                value: number(&result[1])?,
            }]);
        }
        let series = result.as_array().with_context(|| format!("no vector: {data}"))?;
        series
            .iter()
            .map(|series| {
                let labels = series["metric"].as_object().context("a series without labels")?;
                let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
                Ok(Sample {
                    labels: labels.iter().filter_map(text).collect(),
                    value: number(&series["value"][1])?,
                })
            })
            .collect()
    }

    /// The value of a query that gives one sample.
    pub fn value(&self, expression: &str) -> Result<f64> {
        let samples = self.query(expression)?;
        ensure!(
            samples.len() == 1,
            "{} samples instead of one from {expression}",
            samples.len()
        );
        Ok(samples[0].value)
    }
}

fn number(value: &Value) -> Result<f64> {
    let text = value.as_str().context("a value that is no text")?;
    text.parse().with_context(|| format!("'{text}' is no number"))
}

/// A text as part of a query string (RFC 3986, 2.1).
pub fn escape(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let each = text.bytes().map(|byte| match keep(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_escaped() {
        assert_eq!(
            escape(r#"rate(a{b=~"4.."}[1m])"#),
            "rate%28a%7Bb%3D~%224..%22%7D%5B1m%5D%29"
        );
    }
}
