//! The gate that every write of a leader passes before it is sent to the API server.

use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::{Method, Request, Response};
use kube::client::Body;
use kube::{Client, Error};
use tower_service::Service;

use super::CALL_TIMEOUT;
use crate::lease::Permit;

/// A client that sends reads at once, and anything else only while the Lease is held for longer than a call may take.
pub(super) fn fenced(client: Client, permit: Permit) -> Client {
    let namespace = client.default_namespace().to_owned();
    Client::new(FencedService { client, permit }, namespace)
}

struct FencedService {
    client: Client,
    permit: Permit,
}

impl Service<Request<Body>> for FencedService {
    type Response = Response<Body>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (client, permit) = (self.client.clone(), self.permit.clone());
        Box::pin(async move {
            if request.method() == Method::GET {
                return client.send(request).await;
            }
            let refused = |lost| Error::Service(Box::new(lost));
            permit.granted(CALL_TIMEOUT).await.map_err(refused)?;
            let call = permit.while_held(client.send(request));
            call.await.map_err(refused)?
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::lease::{LeaseLost, Term};

    /// Counts the requests that arrive.
    #[derive(Clone, Default)]
    struct Arrivals(Arc<AtomicUsize>);

    impl Service<Request<Body>> for Arrivals {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            self.0.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Ok(Response::new(Body::empty())))
        }
    }

    #[tokio::test]
    async fn only_reads_pass_once_the_lease_is_lost() {
        let arrivals = Arrivals::default();
        let (grant, permit) = Term::new(Instant::now() + Duration::from_mins(1));
        let client = fenced(Client::new(arrivals.clone(), "default"), permit);
        let send = async |method: Method| {
            let request = Request::builder()
                .method(method)
                .uri("/")
                .body(Body::empty());
            client.send(request.expect("a request")).await.map(drop)
        };
        let writes = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        for method in writes.clone() {
            send(method).await.expect("it leads");
        }
        drop(grant);
        for method in writes {
            let error = send(method).await.expect_err("it does not lead");
            let Error::Service(error) = error else {
                panic!("{error}");
            };
            assert!(error.is::<LeaseLost>(), "{error}");
        }
        send(Method::GET).await.expect("reads pass");
        assert_eq!(arrivals.0.load(Ordering::SeqCst), 5);
    }
}
