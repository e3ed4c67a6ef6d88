//! AWS as a Pod on the node has it: its credentials come as EKS gives them to Pods, and every call goes over TLS to the hosts of AWS by
//! their names, which the stand-in answers under a private authority.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};

use super::super::addresses::Family;
use super::super::eks::{AGENT, Eks};
use super::super::rights::SERVICE_ACCOUNT;
use super::super::wait::eventually;
use super::Node;
use super::names::Names;

const SOON: Duration = Duration::from_mins(2);

/// The port of the proxy.
const PROXY: u16 = 3128;

/// The stand-in, open to the Pods of a node, and what the operator's Pod needs to be a role in it.
pub(crate) struct Aws {
    authority: String,
    role: String,
    road: Road,
}

/// How the Pods of a node reach AWS.
enum Road {
    /// A name server knows the hosts.
    Names { _server: Names },
    /// Nothing knows them but this proxy, and the API server is no host of its.
    Proxy(SocketAddr, IpAddr),
}

impl Aws {
    /// Opens it, and has the API server change the operator's Pods, from the next one on, as EKS does.
    pub(crate) async fn open(node: &Node, eks: &Eks, way: Way, role: &str) -> Self {
        let family = node.family();
        let authority = eks.hosts_at(family.node()).await.unwrap();
        let names = Names::start(family).await;
        Self::on(
            (node, eks),
            way,
            role,
            authority,
            Road::Names { _server: names },
        )
        .await
    }

    /// The same on a node from which a proxy is the only way to the hosts: nothing else knows their names.
    pub(crate) async fn behind_proxy(node: &Node, eks: &Eks, way: Way, role: &str) -> Self {
        let family = node.family();
        let front = eks.front_at((family.node(), PROXY).into()).await.unwrap();
        let road = Road::Proxy(front.address, family.api_server());
        Self::on((node, eks), way, role, front.authority, road).await
    }

    async fn on(
        (node, eks): (&Node, &Eks),
        way: Way,
        role: &str,
        authority: String,
        road: Road,
    ) -> Self {
        let agent = node.family().agent();
        eks.agent_at(agent).await.unwrap();
        let region = eks.world().cluster.region.clone();
        injected(node, &way.injection(role, &region, agent)).await;
        Self {
            authority,
            role: role.to_owned(),
            road,
        }
    }

    /// Values of the chart, as `helm --set` and `--set-json` take them.
    pub(crate) fn values(&self) -> Vec<String> {
        let annotations = json!({"eks.amazonaws.com/role-arn": self.role});
        let mut values = vec![
            format!("certificateAuthorities={}", json!(self.authority)),
            format!("serviceAccount.annotations={annotations}"),
        ];
        if let Road::Proxy(proxy, api_server) = &self.road {
            // As docs/iam.md says.
            let env = json!([
                {"name": "HTTPS_PROXY", "value": format!("http://{proxy}")},
                {"name": "NO_PROXY", "value": format!("{api_server},{}", Family::V4.agent())},
            ]);
            values.push(format!("env={env}"));
        }
        values
    }
}

/// Where an agent of EKS Pod Identity gives credentials.
fn credentials_of(agent: IpAddr) -> String {
    match agent {
        IpAddr::V4(agent) => format!("http://{agent}/v1/credentials"),
        IpAddr::V6(agent) => format!("http://[{agent}]/v1/credentials"),
    }
}

/// How a Pod gets credentials.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    /// IAM roles for service accounts.
    Irsa,
    /// EKS Pod Identity.
    PodIdentity,
}

impl Way {
    const fn audience(self) -> &'static str {
        match self {
            Self::Irsa => "sts.amazonaws.com",
            Self::PodIdentity => "pods.eks.amazonaws.com",
        }
    }

    /// The call by which credentials are made.
    pub(crate) const fn call(self) -> &'static str {
        match self {
            Self::Irsa => "AssumeRoleWithWebIdentity",
            Self::PodIdentity => AGENT,
        }
    }

    /// Where EKS mounts the token, and how it is called.
    const fn token(self) -> (&'static str, &'static str) {
        match self {
            Self::Irsa => ("/var/run/secrets/eks.amazonaws.com/serviceaccount", "token"),
            Self::PodIdentity => (
                "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount",
                "eks-pod-identity-token",
            ),
        }
    }

    fn environment(self, role: &str, region: &str, agent: IpAddr) -> Vec<(&'static str, String)> {
        let (folder, file) = self.token();
        let token = format!("{folder}/{file}");
        let mut variables = vec![
            ("AWS_DEFAULT_REGION", region.to_owned()),
            ("AWS_REGION", region.to_owned()),
            ("AWS_STS_REGIONAL_ENDPOINTS", "regional".to_owned()),
        ];
        variables.extend(match self {
            Self::Irsa => [
                ("AWS_ROLE_ARN", role.to_owned()),
                ("AWS_WEB_IDENTITY_TOKEN_FILE", token),
            ],
            Self::PodIdentity => [
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", credentials_of(agent)),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token),
            ],
        });
        variables
    }

    /// What EKS's own webhook does to Pods of the ServiceAccount, as a policy.
    fn injection(self, role: &str, region: &str, agent: IpAddr) -> Value {
        let (folder, file) = self.token();
        let volume = format!(
            r#"Object.spec.volumes{{name: "aws-token", projected: Object.spec.volumes.projected{{sources: [
                Object.spec.volumes.projected.sources{{serviceAccountToken: Object.spec.volumes.projected.sources.serviceAccountToken{{
                    audience: "{}", expirationSeconds: 86400, path: "{file}"}}}}]}}}}"#,
            self.audience()
        );
        let mount = format!(
            r#"Object.spec.containers.volumeMounts{{name: "aws-token", mountPath: "{folder}", readOnly: true}}"#
        );
        let variables = self.environment(role, region, agent).into_iter();
        let variables = variables.map(|(name, value)| {
            let value =
                format!(r#"Object.spec.containers.env{{name: "{name}", value: "{value}"}}"#);
            ("/spec/containers/0/env/-", value)
        });
        let added = [
            ("/spec/volumes/-", volume),
            ("/spec/containers/0/volumeMounts/-", mount),
        ];
        let patches = added.into_iter().chain(variables).map(|(path, value)| {
            format!(r#"JSONPatch{{op: "add", path: "{path}", value: {value}}}"#)
        });
        let patches = patches.collect::<Vec<_>>().join(", ");
        let pods = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]});
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy",
            "metadata": {"name": "pod-identity"},
            "spec": {
                "matchConstraints": {"resourceRules": [pods]},
                "matchConditions": [{
                    "name": "account",
                    "expression": format!("object.spec.serviceAccountName == '{SERVICE_ACCOUNT}'"),
                }],
                "reinvocationPolicy": "Never",
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": format!("[{patches}]")}}],
            },
        })
    }
}

/// Waits until the API server changes Pods by the policy.
async fn injected(node: &Node, policy: &Value) {
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": "pod-identity"}, "spec": {"policyName": "pod-identity"},
    });
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": SERVICE_ACCOUNT, "namespace": "default"}});
    for object in [policy, &binding, &account] {
        node.apply(object);
    }
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "namespace": "default"},
        "spec": {
            "serviceAccountName": SERVICE_ACCOUNT,
            "containers": [{"name": "probe", "image": "none", "env": [{"name": "A", "value": "b"}]}],
        },
    });
    let pod = pod.to_string();
    eventually("Pods are changed by the policy", SOON, async || {
        let create = ["create", "--dry-run=server", "--output=json", "-f", "-"];
        let output = node.cluster.kubectl(&create, Some(&pod));
        let words =
            [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
        if words[0].contains("aws-token") {
            Ok(())
        } else {
            Err(words.concat())
        }
    })
    .await;
}
