//! The bodies of answers: whole, slow, cut, or silent.

use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, BodyStream, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};

/// The connection ends before the answer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("dropped on purpose")]
pub(crate) struct Dropped;

pub(super) type Body = UnsyncBoxBody<Bytes, Dropped>;
type Pieces = BoxStream<'static, Result<Bytes, Dropped>>;

/// So small are the pieces of a slow body.
const PIECE: usize = 512;

fn of(pieces: Pieces) -> Body {
    BodyExt::boxed_unsync(StreamBody::new(pieces.map_ok(Frame::data)))
}

fn pieces(body: Body) -> Pieces {
    let frames = BodyStream::new(body);
    let data = frames.try_filter_map(|frame| futures::future::ok(frame.into_data().ok()));
    data.boxed()
}

/// All of a request's body.
pub(super) async fn whole(incoming: Incoming) -> Result<Bytes, Dropped> {
    let collected = incoming.collect().await.map_err(|_| Dropped)?;
    Ok(collected.to_bytes())
}

/// All of an answer's body.
pub(super) async fn collected(body: Body) -> Result<Bytes, Dropped> {
    Ok(body.collect().await?.to_bytes())
}

/// As it comes from the API server.
pub(super) fn passed_on(incoming: Incoming) -> Body {
    BodyExt::boxed_unsync(incoming.map_err(|_| Dropped))
}

/// All of it at once.
pub(super) fn full(bytes: Bytes) -> Body {
    of(stream::once(async { Ok(bytes) }).boxed())
}

/// A little at a time, all of it in this time.
pub(super) fn slow(bytes: &Bytes, takes: Duration) -> Body {
    let count = u32::try_from(bytes.len().div_ceil(PIECE)).expect("an answer is small");
    let pause = takes / count.max(1);
    let parts: Vec<Bytes> = bytes.chunks(PIECE).map(Bytes::copy_from_slice).collect();
    let parts = stream::iter(parts).then(move |part| async move {
        tokio::time::sleep(pause).await;
        Ok(part)
    });
    of(parts.boxed())
}

/// What comes in this time, and then this; without it the connection ends.
pub(super) fn for_a_while(body: Body, time: Duration, then: Option<Bytes>) -> Body {
    let over = tokio::time::sleep(time);
    let end = match then {
        Some(last) => stream::once(async { Ok(last) }).boxed(),
        None => stream::once(async { Err(Dropped) }).boxed(),
    };
    of(pieces(body).take_until(over).chain(end).boxed())
}

/// Nothing ever comes, and the connection stays.
pub(super) fn silent() -> Body {
    of(stream::pending().boxed())
}
