//! The authorizer for access policies, as EKS has one: an authenticated principal may do what the policies allow that are associated
//! with its access entry, in their scope.
//!
//! <https://docs.aws.amazon.com/eks/latest/userguide/access-policies.html>

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use identity_mapper::access_entry::Scope;
use k8s_openapi::api::authorization::v1::{
    SubjectAccessReview, SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use k8s_openapi::api::rbac::v1::PolicyRule;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::webhooks::Shown;
use crate::support::access_policies::published;
use crate::support::power::{Door, InForce};

/// Serves until the runtime ends.
pub(super) async fn serve(listener: TcpListener, tls: TlsAcceptor, door: Shown) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (tls, door) = (tls.clone(), door.clone());
        connections.spawn(async move {
            // An API server that ends meanwhile asks nothing more.
            let Ok(stream) = tls.accept(stream).await else {
                return;
            };
            let handler = service_fn(move |request: Request<Incoming>| {
                let door = door.clone();
                async move {
                    let body = request.into_body().collect().await?.to_bytes();
                    Ok::<_, hyper::Error>(answer(&body, &door))
                }
            });
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), handler)
                .await;
        });
    }
}

fn answer(body: &[u8], door: &Shown) -> Response<Full<Bytes>> {
    let mut review: SubjectAccessReview =
        serde_json::from_slice(body).expect("the API server sends reviews");
    let door = door.lock().expect("nobody panics with it");
    let reason = door.as_ref().and_then(|door| allows(door, &review.spec));
    review.status = Some(SubjectAccessReviewStatus {
        allowed: reason.is_some(),
        reason,
        ..SubjectAccessReviewStatus::default()
    });
    let body = serde_json::to_vec(&review).expect("a review is JSON");
    Response::builder()
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .expect("the header is legal")
}

/// The policy that allows it.
fn allows(door: &Door, spec: &SubjectAccessReviewSpec) -> Option<String> {
    let extra = |name: &str| spec.extra.as_ref()?.get(name)?.first().map(String::as_str);
    let entry: &InForce = door.entry_of(extra("principalId")?, extra("canonicalArn")?)?;
    let allowing = entry.policies.iter().find(|(arn, scope)| {
        let name = arn.rsplit('/').next().unwrap_or_default();
        let mut rules = published(name).iter();
        within(scope, spec) && rules.any(|rule| matches(rule, scope, spec))
    });
    allowing.map(|(arn, _)| format!("{arn} of {} allows it", entry.principal_arn))
}

fn within(scope: &Scope, spec: &SubjectAccessReviewSpec) -> bool {
    let namespace = spec
        .resource_attributes
        .as_ref()
        .and_then(|resource| resource.namespace.as_deref())
        .filter(|namespace| !namespace.is_empty());
    match (scope, namespace) {
        (Scope::Cluster, _) => true,
        (Scope::Namespaces(patterns), Some(namespace)) => {
            patterns.iter().any(|pattern| fits(pattern, namespace))
        }
        (Scope::Namespaces(_), None) => false,
    }
}

/// Whether a name is one of the pattern's, in which `*` stands for any text.
fn fits(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(pieces.next().unwrap_or_default()) else {
        return false;
    };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else {
        return rest.is_empty();
    };
    for piece in pieces {
        let Some(at) = rest.find(piece) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

fn matches(rule: &PolicyRule, scope: &Scope, spec: &SubjectAccessReviewSpec) -> bool {
    let one_of = |list: &[String], wanted: &str| list.iter().any(|it| it == "*" || it == wanted);
    let among = |list: &Option<Vec<String>>, wanted: &str| {
        list.as_ref().is_some_and(|list| one_of(list, wanted))
    };
    if let Some(path) = &spec.non_resource_attributes {
        let (path, verb) = (path.path.as_deref(), path.verb.as_deref());
        return *scope == Scope::Cluster
            && one_of(&rule.verbs, verb.unwrap_or_default())
            && among(&rule.non_resource_urls, path.unwrap_or_default());
    }
    let Some(resource) = &spec.resource_attributes else {
        return false;
    };
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let mut name = text(&resource.resource);
    if let Some(subresource) = resource.subresource.as_ref().filter(|it| !it.is_empty()) {
        name = format!("{name}/{subresource}");
    }
    one_of(&rule.verbs, &text(&resource.verb))
        && among(&rule.api_groups, &text(&resource.group))
        && among(&rule.resources, &name)
}
