//! Roles of workloads: what a projected ServiceAccount token stands for at STS (IAM roles for service accounts) and at the agent of EKS
//! Pod Identity, which runs on each node.
//!
//! Tokens are believed by what they claim: issuer and signature are not checked.
//!
//! <https://docs.aws.amazon.com/eks/latest/userguide/service-accounts.html>

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::AUTHORIZATION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jiff::SignedDuration;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::Service;
use super::log::{Call, Outcome};
use super::refusal::Refusal;
use super::shared::Shared;
use super::sts;
use super::world::{Caller, Principal, World};

/// The one operation without a signature: the token is all that there is.
pub(super) const UNSIGNED: &str = "AssumeRoleWithWebIdentity";

/// What the agent asks of EKS, by which it is in the log.
pub(crate) const AGENT: &str = "AssumeRoleForPodIdentity";

/// Which ServiceAccount may be which role, and for how long at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workloads {
    /// ARN of the role, by the ServiceAccount as tokens name it.
    roles: BTreeMap<String, String>,
    /// The longest life of credentials; as long as asked for where it is `None`.
    pub(crate) lifetime: Option<SignedDuration>,
}

impl World {
    /// Lets a ServiceAccount be a role, at STS and by EKS Pod Identity.
    pub(crate) fn trust_workload(&mut self, namespace: &str, account: &str, role: &Principal) {
        let subject = format!("system:serviceaccount:{namespace}:{account}");
        self.workloads.roles.insert(subject, role.arn.clone());
    }

    /// The role that the token's ServiceAccount may be: STS is asked for one, Pod Identity knows it.
    fn role_of(&self, token: &str, audience: &str, asked: Option<&str>) -> Option<Principal> {
        let claims = claims(token)?;
        let audiences = claims["aud"].as_array()?;
        let fresh = claims["exp"].as_i64()? > self.now.as_second();
        let known = self.workloads.roles.get(claims["sub"].as_str()?)?;
        let meant = audiences.iter().any(|it| it == audience) && fresh;
        let wanted = asked.is_none_or(|asked| asked == known);
        self.find(known).filter(|_| meant && wanted).cloned()
    }

    fn lifetime(&self, asked: SignedDuration) -> SignedDuration {
        let longest = self.workloads.lifetime.unwrap_or(asked);
        asked.min(longest)
    }
}

impl Caller {
    /// Whoever brings no signature.
    pub(super) fn nobody(world: &World) -> Self {
        Self {
            arn: String::new(),
            account: world.cluster.account.clone(),
            user_id: String::new(),
            token: None,
            expires: None,
        }
    }
}

/// What a token claims.
fn claims(token: &str) -> Option<Value> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// `AssumeRoleWithWebIdentity`.
pub(super) fn assume(world: &mut World, input: &Map<String, Value>) -> Result<Value, Refusal> {
    let text = |name: &str| input.get(name).and_then(Value::as_str).unwrap_or_default();
    let (token, audience) = (text("WebIdentityToken"), "sts.amazonaws.com");
    let Some(role) = world.role_of(token, audience, Some(text("RoleArn"))) else {
        let message = "Not authorized to perform sts:AssumeRoleWithWebIdentity";
        return Err(Refusal::new("AccessDenied", 403, message));
    };
    let seconds = input.get("DurationSeconds").and_then(Value::as_i64);
    let asked = SignedDuration::from_secs(seconds.unwrap_or(3600));
    let lifetime = world.lifetime(asked);
    let mut answer = sts::issue(world, &role, text("RoleSessionName"), lifetime);
    let claims = claims(token).unwrap_or_default();
    answer["SubjectFromWebIdentityToken"] = claims["sub"].clone();
    answer["Audience"] = json!(audience);
    answer["Provider"] = claims["iss"].clone();
    Ok(answer)
}

/// Serves the agent of EKS Pod Identity until the runtime ends.
pub(super) async fn serve_agent(shared: Arc<Shared>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        while connections.try_join_next().is_some() {}
        let shared = shared.clone();
        connections.spawn(async move {
            let handler = service_fn(|request: Request<Incoming>| {
                let answer = credentials(&shared, &request);
                async move { answer }
            });
            // An error is a client that went away.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), handler)
                .await;
        });
    }
}

/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>
fn credentials(
    shared: &Shared,
    request: &Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::http::Error> {
    let mut world = shared.world();
    let token = request.headers().get(AUTHORIZATION);
    let token = token.and_then(|it| it.to_str().ok()).unwrap_or_default();
    let at = request.uri().path() == "/v1/credentials";
    let role = world.role_of(token, "pods.eks.amazonaws.com", None);
    let (status, body, outcome) = if let Some(role) = role.filter(|_| at) {
        let lifetime = world.lifetime(SignedDuration::from_hours(6));
        let expires = world.now.saturating_add(lifetime).unwrap_or(world.now);
        let issued = sts::issue(&mut world, &role, "eks-main-identity-mapper", lifetime);
        let credentials = &issued["Credentials"];
        let body = json!({
            "AccessKeyId": credentials["AccessKeyId"],
            "SecretAccessKey": credentials["SecretAccessKey"],
            "Token": credentials["SessionToken"],
            "AccountId": world.cluster.account,
            "Expiration": expires,
        });
        (200, body.to_string(), Outcome::Done)
    } else {
        let message = "Not authorized to perform eks-auth:AssumeRoleForPodIdentity";
        let outcome = Outcome::Refused("AccessDeniedException".to_owned(), message.to_owned());
        (400, message.to_owned(), outcome)
    };
    shared.log().push(Call {
        time: world.now,
        service: Service::Eks,
        operation: AGENT.to_owned(),
        caller: String::new(),
        principal: None,
        outcome,
        by_hand: false,
    });
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
}
