//! The contract as an axum application.

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path};
use axum::http::StatusCode;
use axum::routing::{any, get, post};
use axum::{Router, serve};
use std::env;
use std::error::Error;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::sleep;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let echo = |body: Bytes| async { body };
    let app = Router::new()
        .route("/status/{code}", any(status))
        .route("/sleep/{milliseconds}", get(slow))
        .route("/bytes/{count}", get(bytes))
        .route("/echo", post(echo).put(echo))
        .layer(DefaultBodyLimit::max(1 << 20));
    let listener = TcpListener::bind(env::var("ADDRESS")?).await?;
    Ok(serve(listener, app).await?)
}

async fn status(Path(code): Path<u16>) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST)
}

async fn slow(Path(milliseconds): Path<u64>) -> &'static str {
    sleep(Duration::from_millis(milliseconds)).await;
    "slept\n"
}

async fn bytes(Path(count): Path<usize>) -> Vec<u8> {
    vec![b'x'; count]
}
