//! The server: bytes to calls, answers to bytes, and what goes wrong between.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::execute::{self, fault_refusal};
use super::gate::Connection;
use super::log::{Call, Outcome};
use super::model::Operation;
use super::refusal::Refusal;
use super::shared::Shared;
use super::world::Caller;
use super::{Fault, Service, query, rest_json, sigv4, workload};

/// At most so long until a message that became visible again is seen by who waits for one.
const LOOK: Duration = Duration::from_millis(200);

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("dropped on purpose")]
pub(super) struct Dropped;

/// A request, read.
struct Received {
    method: String,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Bytes,
}

/// Serves one service until the runtime ends.
pub(super) async fn serve(shared: Arc<Shared>, service: Service, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        while connections.try_join_next().is_some() {}
        connections.spawn(talk(shared.clone(), service, stream));
    }
}

/// Serves one service on a connection until it ends.
pub(super) async fn talk<S>(shared: Arc<Shared>, service: Service, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let connection = shared.gate().connection();
    let handler = service_fn(move |request: Request<Incoming>| {
        let (shared, connection) = (shared.clone(), connection.clone());
        handle(shared, connection, service, request)
    });
    // An error is a client that went away, or one that was dropped on purpose.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), handler)
        .await;
}

async fn handle(
    shared: Arc<Shared>,
    connection: Connection,
    service: Service,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Dropped> {
    if shared.knobs().unreachable.contains(&service) {
        return Err(Dropped);
    }
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Dropped)?.to_bytes();
    let received = Received {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
    };
    let answer = answer(shared, connection, service, received);
    if service == Service::Eks {
        // What EKS has received it does, also where its caller has died.
        tokio::spawn(answer).await.map_err(|_| Dropped)?
    } else {
        answer.await
    }
}

async fn answer(
    shared: Arc<Shared>,
    connection: Connection,
    service: Service,
    received: Received,
) -> Result<Response<Full<Bytes>>, Dropped> {
    let effect = effect(service, &received);
    if !connection.admits(effect) {
        return std::future::pending().await;
    }
    let operation = read(service, &received).map(|(it, _)| it.name.clone());
    let operation = operation.unwrap_or_default();
    let (before, after) = shared.knobs().waits(service, &operation);
    if !before.is_zero() {
        let _delayed = Delayed::of(&shared, operation);
        tokio::time::sleep(before).await;
    }
    let deadline = Instant::now() + wait_of(service, &received);
    let mut first = true;
    loop {
        let woken = shared.woken.notified();
        let last = Instant::now() >= deadline;
        match once(&shared, service, &received, first, last)? {
            Step::Answer { response, done } => {
                let effect = effect.filter(|_| done);
                if effect.is_some_and(|effect| !connection.had(effect)) {
                    return std::future::pending().await;
                }
                tokio::time::sleep(after).await;
                return Ok(response);
            }
            Step::Silence => std::future::pending().await,
            Step::Wait => {
                // Whichever comes first: either way the loop looks again.
                let _ = tokio::time::timeout(LOOK, woken).await;
                first = false;
            }
        }
    }
}

/// How long a call may wait for something to answer: the long polling of SQS.
fn wait_of(service: Service, received: &Received) -> Duration {
    let body: Option<Value> = (service == Service::Sqs)
        .then(|| serde_json::from_slice(&received.body).ok())
        .flatten();
    let seconds = body.and_then(|body| body.get("WaitTimeSeconds")?.as_u64());
    Duration::from_secs(seconds.unwrap_or_default().min(20))
}

/// A call that waits out the latency. It counts until this is dropped, also where its caller has gone.
struct Delayed<'a> {
    shared: &'a Shared,
    operation: String,
}

impl<'a> Delayed<'a> {
    fn of(shared: &'a Shared, operation: String) -> Self {
        let mut knobs = shared.knobs();
        *knobs.delayed.entry(operation.clone()).or_default() += 1;
        Self { shared, operation }
    }
}

impl Drop for Delayed<'_> {
    fn drop(&mut self) {
        let mut knobs = self.shared.knobs();
        let count = knobs.delayed.entry(self.operation.clone()).or_default();
        *count = count.saturating_sub(1);
    }
}

enum Step {
    Answer {
        response: Response<Full<Bytes>>,
        /// Whether the call was done, and not refused.
        done: bool,
    },
    /// Never to be answered.
    Silence,
    /// Nothing to answer yet.
    Wait,
}

/// Answers the request, if there is anything to answer: when asked for the `last` time, whatever there is. What goes wrong
/// is drawn the `first` time.
fn once(
    shared: &Shared,
    service: Service,
    received: &Received,
    first: bool,
    last: bool,
) -> Result<Step, Dropped> {
    let mut world = shared.world();
    let mut knobs = shared.knobs();
    let request_id = world.uuid();
    let as_json = received
        .headers
        .get("accept")
        .is_some_and(|accept| accept == "application/json");
    let reply = |result: Result<(&Operation, &Value), &Refusal>| Step::Answer {
        done: result.is_ok(),
        response: response(service, result, &request_id, as_json),
    };

    let read = read(service, received);
    let signed = rest_json::pairs(&received.query);
    let clock = Timestamp::now();
    let signed = sigv4::Signed {
        method: &received.method,
        path: &received.path,
        query: &signed,
        headers: &received.headers,
    };
    let caller = match &read {
        Ok((operation, _)) if operation.name == workload::UNSIGNED => Ok(Caller::nobody(&world)),
        _ => sigv4::caller(&world, service, &signed, clock),
    };
    let (caller, (operation, input)) = match (caller, read) {
        (Ok(caller), Ok(read)) => (caller, read),
        (caller, read) => {
            let operation = read
                .as_ref()
                .map_or_else(|_| String::new(), |(it, _)| it.name.clone());
            let known = caller
                .as_ref()
                .map_or_else(|_| String::new(), |it| it.arn.clone());
            // Who is not known is told nothing else.
            let Some(refusal) = caller.err().or(read.err()) else {
                return Err(Dropped);
            };
            shared.log().push(Call {
                time: world.now,
                service,
                operation,
                caller: known,
                principal: None,
                outcome: Outcome::Refused(refusal.code.clone(), refusal.message.clone()),
                by_hand: false,
            });
            return Ok(reply(Err(&refusal)));
        }
    };

    let request = execute::Request {
        service,
        operation,
        caller: &caller,
        input,
    };
    let now = world.now;
    let fault = first
        .then(|| knobs.fault(service, &operation.name, now))
        .flatten();
    let reaches = !matches!(
        fault,
        Some(Fault::Throttled | Fault::ServerError | Fault::Timeout | Fault::UnheardOf)
    );
    let result = if reaches {
        let allowed = request.authorise(&world, &knobs);
        Some(allowed.and_then(|()| request.execute(shared, &mut world, &mut knobs)))
    } else {
        None
    };
    let empty = matches!(&result, Some(Ok(Value::Object(it))) if it.is_empty());
    if operation.name == "ReceiveMessage" && empty && !last && fault.is_none() {
        return Ok(Step::Wait);
    }
    let effect = matches!(result, Some(Ok(_)));
    let outcome = match (&result, fault) {
        (_, Some(how)) => Outcome::Lost { effect, how },
        (Some(Err(refusal)), None) => {
            Outcome::Refused(refusal.code.clone(), refusal.message.clone())
        }
        (_, None) => Outcome::Done,
    };
    shared.log().push(request.logged(&world, outcome, false));
    match (fault, &result) {
        (Some(Fault::Timeout | Fault::TimeoutAfterEffect), _) => Ok(Step::Silence),
        (Some(fault), _) if fault != Fault::DroppedAfterEffect => {
            Ok(reply(Err(&fault_refusal(service, fault))))
        }
        (None, Some(Ok(answer))) => Ok(reply(Ok((operation, answer)))),
        (None, Some(Err(refusal))) => Ok(reply(Err(refusal))),
        _ => Err(Dropped),
    }
}

/// The operation's name, where it changes something that lasts. A message that was received and not deleted comes again.
fn effect(service: Service, received: &Received) -> Option<&'static str> {
    let (operation, _) = read(service, received).ok()?;
    let name = operation.name.as_str();
    let reads = ["AssumeRole", "Describe", "Get", "List", "ReceiveMessage"];
    let changes = !reads.iter().any(|read| name.starts_with(read));
    changes.then_some(name)
}

/// The operation and its input, by the service's protocol.
fn read(
    service: Service,
    received: &Received,
) -> Result<(&'static Operation, Map<String, Value>), Refusal> {
    let model = service.model();
    match service {
        Service::Eks => {
            let routed = rest_json::route(model, &received.method, &received.path);
            let (operation, labels) = routed.ok_or_else(|| {
                let message = format!(
                    "Unable to determine service/operation name: {} {}",
                    received.method, received.path
                );
                Refusal::new("UnknownOperationException", 404, message)
            })?;
            let input =
                rest_json::input(model, operation, &labels, &received.query, &received.body)?;
            Ok((operation, input))
        }
        Service::Iam | Service::Sts => {
            // A form, or the query of a GET such as the tokens of `aws eks get-token` hold.
            let mut form = rest_json::pairs(&String::from_utf8_lossy(&received.body));
            form.extend(rest_json::pairs(&received.query));
            let operation = query::route(model, &form)?;
            Ok((operation, query::input(model, operation, &form)?))
        }
        Service::Sqs => {
            let target = received.headers.get("x-amz-target");
            let target = target
                .and_then(|target| target.to_str().ok())
                .unwrap_or_default();
            let operation = target.strip_prefix("AmazonSQS.");
            let operation = operation
                .and_then(|name| model.operations.get(name))
                .ok_or_else(|| {
                    let message =
                        format!("Unable to determine service/operation name of {target:?}");
                    Refusal::new("UnknownOperationException", 404, message)
                })?;
            let body: Result<Map<String, Value>, _> = serde_json::from_slice(&received.body);
            let input = body
                .map_err(|error| Refusal::new("SerializationException", 400, error.to_string()))?;
            Ok((operation, input))
        }
    }
}

fn response(
    service: Service,
    result: Result<(&Operation, &Value), &Refusal>,
    request_id: &str,
    as_json: bool,
) -> Response<Full<Bytes>> {
    let model = service.model();
    let status = result
        .as_ref()
        .map_or_else(|refusal| refusal.status, |_| 200);
    let mut builder = Response::builder().status(status);
    let body = match (service, result) {
        (Service::Eks | Service::Sqs, Ok((_, answer))) => answer.to_string(),
        (Service::Eks, Err(refusal)) => {
            builder = builder.header("x-amzn-errortype", &refusal.code);
            rest_json::error_body(refusal)
        }
        (Service::Sts, Ok((operation, answer))) if as_json => {
            query::json_answer(operation, answer, request_id).to_string()
        }
        (Service::Sts, Err(refusal)) if as_json => {
            query::json_error(refusal, request_id).to_string()
        }
        (Service::Iam | Service::Sts, Ok((operation, answer))) => {
            query::answer(model, operation, answer, request_id)
        }
        (Service::Iam | Service::Sts, Err(refusal)) => {
            query::error_body(model, refusal, request_id)
        }
        (Service::Sqs, Err(refusal)) => {
            let fault = if refusal.status < 500 {
                "Sender"
            } else {
                "Receiver"
            };
            let old = query_code(&refusal.code);
            builder = builder.header("x-amzn-query-error", format!("{old};{fault}"));
            json!({"__type": format!("com.amazonaws.sqs#{}", refusal.code), "message": refusal.message})
                .to_string()
        }
    };
    let content = match service {
        Service::Eks => "application/json",
        Service::Sts if as_json => "application/json",
        Service::Iam | Service::Sts => "text/xml",
        Service::Sqs => "application/x-amz-json-1.0",
    };
    let built = builder
        .header("content-type", content)
        .header("x-amzn-requestid", request_id)
        .body(Full::new(Bytes::from(body)));
    built.expect("codes and ids are legal header values")
}

/// The code that the error had in the query protocol of SQS, which clients still go by
/// (<https://smithy.io/2.0/aws/protocols/aws-query-protocol.html#aws-protocols-awsquerycompatible-trait>).
fn query_code(code: &str) -> String {
    match code {
        "QueueDoesNotExist" => "AWS.SimpleQueueService.NonExistentQueue".to_owned(),
        "BatchEntryIdsNotDistinct" | "EmptyBatchRequest" | "TooManyEntriesInBatchRequest" => {
            format!("AWS.SimpleQueueService.{code}")
        }
        other => other.to_owned(),
    }
}
