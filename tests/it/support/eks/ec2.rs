//! EC2, as far as aws-iam-authenticator asks it: the private DNS names of instances.
//!
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html>

use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::http::Dropped;
use super::refusal::Refusal;
use super::rest_json::pairs;
use super::shared::Shared;
use super::world::World;

/// Answers on a connection until it ends.
pub(super) async fn talk<S>(shared: Arc<Shared>, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let handler = service_fn(move |request: Request<Incoming>| {
        let shared = shared.clone();
        async move {
            if shared.knobs().no_instances {
                return Err(Dropped);
            }
            let body = request.into_body().collect().await;
            let body = body.map_err(|_| Dropped)?.to_bytes();
            let form = pairs(&String::from_utf8_lossy(&body));
            let (status, xml) = match describe(&shared.world(), &form) {
                Ok(xml) => (200, xml),
                Err(refusal) => (refusal.status, error(&refusal)),
            };
            let response = Response::builder()
                .status(status)
                .header("content-type", "text/xml;charset=UTF-8")
                .body(Full::new(Bytes::from(xml)));
            Ok(response.expect("the header is legal"))
        }
    });
    // An error is a client that went away, or one that was dropped on purpose.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), handler)
        .await;
}

/// One reservation for each instance.
fn describe(world: &World, form: &[(String, String)]) -> Result<String, Refusal> {
    let action = form.iter().find(|(name, _)| name == "Action");
    if action.is_none_or(|(_, action)| action != "DescribeInstances") {
        return Err(Refusal::new(
            "InvalidAction",
            400,
            format!("The action {action:?} is not valid for this web service."),
        ));
    }
    let ids = form
        .iter()
        .filter(|(name, _)| name.starts_with("InstanceId."));
    let mut items = String::new();
    for (_, id) in ids {
        let dns = world.instances.get(id).ok_or_else(|| {
            Refusal::new(
                "InvalidInstanceID.NotFound",
                400,
                format!("The instance ID '{id}' does not exist"),
            )
        })?;
        let instance = format!(
            "<item><instanceId>{id}</instanceId><privateDnsName>{dns}</privateDnsName></item>"
        );
        items.extend(["<item><instancesSet>", &instance, "</instancesSet></item>"]);
    }
    Ok(format!(
        "<DescribeInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><reservationSet>{items}</reservationSet></DescribeInstancesResponse>"
    ))
}

fn error(refusal: &Refusal) -> String {
    let Refusal { code, message, .. } = refusal;
    format!(
        "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors><RequestID>0</RequestID></Response>"
    )
}
