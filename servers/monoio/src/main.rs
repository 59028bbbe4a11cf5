//! The contract on monoio, with heads read by `httparse`.

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder, spawn, time};
use std::env;
use std::error::Error;
use std::time::Duration;

/// One request: what its answer depends on.
struct Request {
    method: String,
    path: String,
    body: Vec<u8>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = env::var("ADDRESS")?;
    let mut runtime = RuntimeBuilder::<IoUringDriver>::new().enable_timer().build()?;
    runtime.block_on(async move {
        let listener = TcpListener::bind(address)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            spawn(serve(stream));
        }
    })
}

/// Answers until the peer closes, or sends what is no request.
async fn serve(mut stream: TcpStream) {
    let mut received = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        while let Some((request, length)) = parse(&received) {
            received.drain(..length);
            if stream.write_all(answer(request).await).await.0.is_err() {
                return;
            }
        }
        let (result, returned) = stream.read(buffer).await;
        buffer = returned;
        match result {
            Ok(count) if count > 0 => received.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    }
}

/// The first request of the bytes, and how many of them it is, if it is complete.
fn parse(bytes: &[u8]) -> Option<(Request, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(start) = head.parse(bytes).ok()? else {
        return None;
    };
    let header = |name: &str| {
        let found = head
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        str::from_utf8(found.value).ok()
    };
    let (body, length) = if header("transfer-encoding") == Some("chunked") {
        chunked(&bytes[start..])?
    } else {
        let length = header("content-length").map_or(Some(0), |text| text.parse().ok())?;
        (bytes.get(start..start + length)?.to_owned(), length)
    };
    let request = Request {
        method: head.method?.to_owned(),
        path: head.path?.split('?').next()?.to_owned(),
        body,
    };
    Some((request, start + length))
}

/// A body in chunks, and how many bytes it takes with their framing. It may have no trailers.
fn chunked(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let httparse::Status::Complete((start, size)) = httparse::parse_chunk_size(&bytes[at..]).ok()? else {
            return None;
        };
        let (start, size) = (at + start, usize::try_from(size).ok()?);
        body.extend_from_slice(bytes.get(start..start + size)?);
        at = start + size + 2;
        if at > bytes.len() {
            return None;
        }
        if size == 0 {
            return Some((body, at));
        }
    }
}

async fn answer(request: Request) -> Vec<u8> {
    let mut parts = request.path.split('/').skip(1);
    let name = parts.next().unwrap_or_default();
    let number = parts.next().and_then(|text| text.parse().ok()).unwrap_or(0);
    let (status, body) = match name {
        "status" => (number, Vec::new()),
        "sleep" => {
            time::sleep(Duration::from_millis(number as u64)).await;
            (200, b"slept\n".to_vec())
        }
        "bytes" => (200, vec![b'x'; number]),
        "echo" => (200, request.body),
        _ => (404, Vec::new()),
    };
    let mut response = format!("HTTP/1.1 {status} \r\n").into_bytes();
    if status != 204 {
        response.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    response.extend_from_slice(b"\r\n");
    if request.method != "HEAD" {
        response.extend_from_slice(&body);
    }
    response
}
