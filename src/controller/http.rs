//! The HTTP server for probes and metrics, which any Pod in the cluster can reach.
//!
//! What it can take of memory and of file descriptors is bounded, whatever is requested:
//!
//! - a connection carries one request and ends within [`CONNECTION_TIME`], however slowly either side speaks;
//! - at most [`MOST_CONNECTIONS`] are open. A further one takes the place of the oldest of whichever address has the most, so that no
//!   address keeps the kubelet's probes out;
//! - a request's head fits into [`MOST_HEAD`] bytes, and a body is never read.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tracing::debug;

/// Many times what the kubelet and some scrapers have open at once.
const MOST_CONNECTIONS: usize = 64;
/// A scrape takes milliseconds.
const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// The least that hyper takes.
const MOST_HEAD: usize = 8192;
const MOST_HEADERS: usize = 64;
/// While the process has no file descriptor left, accepting fails at once, again and again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a path answers.
pub(super) struct PageAnswer {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

impl PageAnswer {
    pub(super) fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: body.into(),
        }
    }
}

/// The answer to a GET of this path; `None` where nothing is served there.
pub(super) type Routes = dyn Fn(&str) -> Option<PageAnswer> + Send + Sync;

/// Serves for ever.
pub(super) async fn serve(listener: TcpListener, routes: Arc<Routes>) -> Infallible {
    let mut seats = Seats::default();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                seats.retain_open();
                if let Some(oldest) = seats.free_one() {
                    oldest.abort();
                }
                let served = tokio::spawn(serve_connection(stream, Arc::clone(&routes)));
                seats.take(peer.ip(), served.abort_handle());
            }
            Err(error) => {
                debug!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, routes: Arc<Routes>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = respond(request.method(), request.uri().path(), &*routes);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(MOST_HEAD)
        .max_headers(MOST_HEADERS)
        // One limit holds for all of the connection.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service);
    // How it ends concerns the other side alone.
    let _ = tokio::time::timeout(CONNECTION_TIME, connection).await;
}

fn respond(method: &Method, path: &str, routes: &Routes) -> Response<Full<Bytes>> {
    let answer = if method == Method::GET || method == Method::HEAD {
        routes(path)
            .unwrap_or_else(|| PageAnswer::text(StatusCode::NOT_FOUND, "nothing is served here\n"))
    } else {
        PageAnswer::text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served\n")
    };
    let mut response = Response::new(Full::from(answer.body));
    *response.status_mut() = answer.status;
    let content_type = HeaderValue::from_static(answer.content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// The connections that are open, oldest first.
#[derive(Default)]
struct Seats(VecDeque<(IpAddr, AbortHandle)>);

impl Seats {
    fn retain_open(&mut self) {
        self.0.retain(|(_, connection)| !connection.is_finished());
    }

    fn take(&mut self, address: IpAddr, connection: AbortHandle) {
        self.0.push_back((address, connection));
    }

    /// Where all are taken, the oldest of whichever address has the most.
    fn free_one(&mut self) -> Option<AbortHandle> {
        if self.0.len() < MOST_CONNECTIONS {
            return None;
        }
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for (address, _) in &self.0 {
            *counts.entry(*address).or_default() += 1;
        }
        let most = counts.values().copied().max()?;
        let position = self
            .0
            .iter()
            .position(|(address, _)| counts.get(address) == Some(&most))?;
        self.0.remove(position).map(|(_, connection)| connection)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    async fn start() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let routes =
            |path: &str| (path == "/livez").then(|| PageAnswer::text(StatusCode::OK, "ok\n"));
        tokio::spawn(serve(listener, Arc::new(routes)));
        address
    }

    /// All that is answered until the connection ends; a reset ends it too.
    async fn ask(stream: &mut TcpStream, request: &[u8]) -> String {
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut answer))
            .await
            .expect("the connection ends");
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn get(address: SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        ask(&mut stream, b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await
    }

    #[tokio::test]
    async fn a_connection_carries_one_request() {
        let address = start().await;
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let two = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\nGET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
        let answer = ask(&mut stream, two).await;
        assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 1, "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        for (request, status) in [
            ("GET /other HTTP/1.1", "404"),
            ("POST /livez HTTP/1.1", "405"),
            ("HEAD /livez HTTP/1.1", "200"),
        ] {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            let answer = ask(
                &mut stream,
                format!("{request}\r\nhost: x\r\n\r\n").as_bytes(),
            )
            .await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}")),
                "{answer}"
            );
        }
    }

    #[tokio::test]
    async fn a_large_head_is_refused() {
        let address = start().await;
        for head in [
            format!("a: {}\r\n", "x".repeat(4 * MOST_HEAD)),
            "a: x\r\n".repeat(MOST_HEADERS + 1),
        ] {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            let request = format!("GET /livez HTTP/1.1\r\nhost: x\r\n{head}\r\n");
            let answer = ask(&mut stream, request.as_bytes()).await;
            assert!(!answer.contains(" 200 "), "{answer}");
        }
    }

    #[tokio::test]
    async fn half_open_connections_do_not_block_others() {
        let address = start().await;
        let mut idle = Vec::new();
        for _ in 0..4 * MOST_CONNECTIONS {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            stream
                .write_all(b"GET /livez HTTP/1.1\r\n")
                .await
                .expect("it is accepted");
            idle.push(stream);
        }
        let answer = get(address).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        // The oldest gave way long before their time.
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(CONNECTION_TIME / 2, idle[0].read_to_end(&mut rest)).await;
        ended.expect("it ended").unwrap_or_default();
    }

    #[tokio::test]
    async fn a_silent_connection_ends() {
        let address = start().await;
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        assert_eq!(ask(&mut stream, b"GET /livez HTTP/1.1\r\n").await, "");
    }

    #[tokio::test]
    async fn the_address_with_the_most_gives_way() {
        let handle = || tokio::spawn(std::future::pending::<()>()).abort_handle();
        let address = |last| IpAddr::from([10, 0, 0, last]);
        let mut seats = Seats::default();
        seats.take(address(1), handle());
        let oldest_of_many = handle();
        seats.take(address(2), oldest_of_many.clone());
        while seats.0.len() < MOST_CONNECTIONS {
            assert!(seats.free_one().is_none());
            seats.take(address(2), handle());
        }
        let freed = seats.free_one().expect("all are taken");
        assert_eq!(freed.id(), oldest_of_many.id());
        assert!(seats.0.iter().any(|(seat, _)| *seat == address(1)));
    }
}
