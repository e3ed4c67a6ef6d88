//! The network between a client and the API server: slow, or cut.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::cluster::Cluster;

/// How good the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quality {
    /// As fast as the machine.
    Fast,
    /// Each connection carries at most so much, each way, and every piece of it comes late.
    Slow {
        bytes_per_second: u32,
        latency: Duration,
    },
    /// Connections end, and none is made.
    Cut,
}

/// A proxy on a loopback port. It ends with this value.
pub(crate) struct Link {
    address: SocketAddr,
    quality: watch::Sender<Quality>,
    accepting: JoinHandle<()>,
}

impl Link {
    /// A link to the API server.
    pub(crate) async fn to(cluster: &Cluster, quality: Quality) -> Self {
        let server = cluster.url().trim_start_matches("https://").to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (quality, current) = watch::channel(quality);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server.clone(), current.clone()));
            }
        });
        Self {
            address,
            quality,
            accepting,
        }
    }

    /// Changes it, for connections that are open too.
    pub(crate) fn set(&self, quality: Quality) {
        self.quality.send_replace(quality);
    }

    /// The same kubeconfig, by this link.
    pub(crate) fn kubeconfig(&self, cluster: &Cluster, kubeconfig: &Path) -> PathBuf {
        cluster.detour(kubeconfig, self.address)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
        self.quality.send_replace(Quality::Cut);
    }
}

async fn carry(client: TcpStream, server: String, mut quality: watch::Receiver<Quality>) {
    if *quality.borrow() == Quality::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let there = pour(from_client, to_server, quality.clone());
    let back = pour(from_server, to_client, quality.clone());
    tokio::select! {
        _ = futures::future::join(there, back) => {}
        _ = quality.wait_for(|quality| *quality == Quality::Cut) => {}
    }
}

async fn pour(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, quality: watch::Receiver<Quality>) {
    let mut piece = vec![0; 16 * 1024];
    while let Ok(size @ 1..) = from.read(&mut piece).await {
        let now = *quality.borrow();
        if let Quality::Slow {
            bytes_per_second,
            latency,
        } = now
        {
            let size = u32::try_from(size).expect("a piece is small");
            let takes = Duration::from_secs_f64(f64::from(size) / f64::from(bytes_per_second));
            tokio::time::sleep(latency + takes).await;
        }
        if to.write_all(&piece[..size]).await.is_err() {
            return;
        }
    }
}
