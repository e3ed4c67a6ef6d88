//! The HTTP endpoints: `/livez`, `/readyz`, `/metrics`.
//!
//! Live means that the loop turns; ready, that a first pass over everything was made, whatever came of its write: a
//! write that admission denies is the business of conditions, and no restart mends it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::metrics;

/// The loop turns at least every ten seconds; a pass that waits for a slow API server doesn't stop it.
const LONGEST_SILENCE: Duration = Duration::from_mins(1);

/// What the loop says of itself.
#[derive(Debug)]
pub struct Health {
    started: Instant,
    /// Milliseconds after the start at which the loop last turned.
    last_turn: AtomicU64,
    /// What the first pass still waits for; empty when it was made.
    waits_for: watch::Sender<String>,
}

impl Default for Health {
    fn default() -> Self {
        let waits_for = watch::Sender::new("the first pass".to_owned());
        Self {
            started: Instant::now(),
            last_turn: AtomicU64::new(0),
            waits_for,
        }
    }
}

impl Health {
    /// The loop turns.
    pub fn turn(&self) {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_turn.store(elapsed, Ordering::Relaxed);
    }

    /// Says what the first pass waits for; nothing means that it was made.
    pub fn waits_for(&self, what: &[&str]) {
        let text = what.join(", ");
        self.waits_for.send_if_modified(|known| {
            let differs = *known != text;
            if differs {
                *known = text;
            }
            differs
        });
    }

    /// Whether the first pass was made.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.waits_for.borrow().is_empty()
    }

    fn live(&self) -> (StatusCode, String) {
        let last = self.started + Duration::from_millis(self.last_turn.load(Ordering::Relaxed));
        if last.elapsed() < LONGEST_SILENCE {
            (StatusCode::OK, "ok\n".to_owned())
        } else {
            (
                StatusCode::SERVICE_UNAVAILABLE,
                format!(
                    "the loop has not turned for {} s\n",
                    last.elapsed().as_secs()
                ),
            )
        }
    }

    fn ready(&self) -> (StatusCode, String) {
        let waits_for = self.waits_for.borrow();
        if waits_for.is_empty() {
            (StatusCode::OK, "ok\n".to_owned())
        } else {
            (
                StatusCode::SERVICE_UNAVAILABLE,
                format!("waiting for {}\n", *waits_for),
            )
        }
    }
}

fn health_routes(health: Arc<Health>) -> Router {
    let live = Arc::clone(&health);
    Router::new()
        .route("/livez", get(async move || live.live()))
        .route("/readyz", get(async move || health.ready()))
}

fn metrics_routes(registry: Arc<Registry>) -> Router {
    let content_type = [(
        header::CONTENT_TYPE,
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
    )];
    Router::new().route(
        "/metrics",
        get(async move || (content_type, metrics::text(&registry))),
    )
}

/// Serves both until `shutdown`; one listener where the addresses are the same. An error where one can't be bound.
pub async fn serve(
    health_address: SocketAddr,
    metrics_address: SocketAddr,
    health: Arc<Health>,
    registry: Registry,
    shutdown: &CancellationToken,
) -> Result<(), BindError> {
    let (health, metrics) = (health_routes(health), metrics_routes(Arc::new(registry)));
    let servers = if health_address == metrics_address {
        vec![(health_address, health.merge(metrics))]
    } else {
        vec![(health_address, health), (metrics_address, metrics)]
    };
    for (address, routes) in servers {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| BindError { address, source })?;
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                // Not axum's graceful shutdown: a scraper that keeps its connection would hold up the end.
                () = shutdown.cancelled() => {}
                Err(error) = async { axum::serve(listener, routes).await } => warn!(%address, %error, "the HTTP server ended"),
            }
        });
    }
    Ok(())
}

/// An address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error(
    "can't listen on {address}: {source}; choose another with --health-address or --metrics-address"
)]
pub struct BindError {
    address: SocketAddr,
    source: std::io::Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_once_nothing_is_waited_for() {
        let health = Health::default();
        assert_eq!(
            health.ready(),
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "waiting for the first pass\n".to_owned()
            )
        );
        health.waits_for(&["IdentityMappings", "RoleBindings"]);
        assert_eq!(
            health.ready().1,
            "waiting for IdentityMappings, RoleBindings\n"
        );
        assert!(!health.is_ready());
        health.waits_for(&[]);
        assert_eq!(health.ready(), (StatusCode::OK, "ok\n".to_owned()));
    }

    #[test]
    fn live_while_the_loop_turns() {
        let health = Health::default();
        health.turn();
        assert_eq!(health.live().0, StatusCode::OK);
        let long_ago = Instant::now()
            .checked_sub(2 * LONGEST_SILENCE)
            .expect("the machine runs for minutes");
        let stuck = Health {
            started: long_ago,
            ..Health::default()
        };
        assert_eq!(stuck.live().0, StatusCode::SERVICE_UNAVAILABLE);
        stuck.turn();
        assert_eq!(stuck.live().0, StatusCode::OK);
    }
}
