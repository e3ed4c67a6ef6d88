//! A name server that knows the hosts of AWS alone, all at one address.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

const HEADER: usize = 12;
/// The type of an IPv4 address.
const A: [u8; 2] = [0, 1];
const DOMAIN: [&str; 2] = ["amazonaws", "com"];
const NO_SUCH_NAME: u8 = 3;

/// The running server. It ends when this value is dropped.
pub(crate) struct Names(JoinHandle<()>);

impl Names {
    /// Starts on an address, and answers with the same.
    pub(crate) async fn start(address: Ipv4Addr) -> Self {
        let socket = UdpSocket::bind(SocketAddr::from((address, 53)))
            .await
            .unwrap();
        Self(tokio::spawn(async move {
            let mut buffer = [0; 1024];
            loop {
                let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
                    continue;
                };
                if let Some(answer) = answer(&buffer[..length], address) {
                    // Whoever asked may have gone.
                    let _ = socket.send_to(&answer, client).await;
                }
            }
        }))
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// <https://www.rfc-editor.org/rfc/rfc1035#section-4>
fn answer(query: &[u8], address: Ipv4Addr) -> Option<Vec<u8>> {
    let (mut name, mut at) = (Vec::new(), HEADER);
    loop {
        let length = usize::from(*query.get(at)?);
        let label = query.get(at + 1..at + 1 + length)?;
        at += 1 + length;
        if length == 0 {
            break;
        }
        name.push(String::from_utf8_lossy(label).to_lowercase());
    }
    let question = query.get(HEADER..at + 4)?;
    let known = name.ends_with(&DOMAIN.map(str::to_owned));
    let addressed = known && query.get(at..at + 2)? == A;
    let mut answer = query.get(..2)?.to_vec();
    // An answer, to a client that wants the whole of it.
    answer.extend([0x81, if known { 0x80 } else { 0x80 | NO_SUCH_NAME }]);
    answer.extend([0, 1, 0, u8::from(addressed), 0, 0, 0, 0]);
    answer.extend(question);
    if addressed {
        // The name of the question, an IPv4 address, for a minute.
        answer.extend([0xC0, 0x0C, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}
