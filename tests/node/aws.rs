//! The Pod with AWS: its credentials come as EKS gives them to Pods, and every call goes over TLS to the hosts of AWS by their names,
//! which the stand-in answers under a private authority.

use std::net::Ipv4Addr;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::machine::{Node, TAG};
use crate::names::Names;
use crate::namespace::inside;
use crate::support::Logins;
use crate::support::certs::NODE_ADDRESS;
use crate::support::eks::{AGENT, Eks, Mark, Mode, Outcome, World};
use crate::support::rights::{NAMESPACE, SERVICE_ACCOUNT};
use crate::support::wait::eventually;

const CLUSTER: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/main";
const REGION: &str = "eu-west-1";
/// Where the agent of EKS Pod Identity listens on a node.
const POD_IDENTITY: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 23);

const SOON: Duration = Duration::from_mins(2);

/// Clients renew credentials ten seconds before their end: here, at every listing.
const LIFETIME: SignedDuration = SignedDuration::from_secs(15);

/// How a Pod gets credentials.
#[derive(Clone, Copy)]
enum Way {
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
    const fn call(self) -> &'static str {
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

    fn environment(self, role: &str) -> Vec<(&'static str, String)> {
        let (folder, file) = self.token();
        let token = format!("{folder}/{file}");
        let mut variables = vec![
            ("AWS_DEFAULT_REGION", REGION.to_owned()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_STS_REGIONAL_ENDPOINTS", "regional".to_owned()),
        ];
        variables.extend(match self {
            Self::Irsa => [
                ("AWS_ROLE_ARN", role.to_owned()),
                ("AWS_WEB_IDENTITY_TOKEN_FILE", token),
            ],
            Self::PodIdentity => [
                (
                    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                    format!("http://{POD_IDENTITY}/v1/credentials"),
                ),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token),
            ],
        });
        variables
    }

    /// What EKS's own webhook does to Pods of the ServiceAccount, as a policy.
    fn injection(self, role: &str) -> Value {
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
        let variables = self.environment(role).into_iter();
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

async fn works(cgroup: &str, way: Way) {
    let node = Node::start(cgroup).await;
    let mut world = World::new(CLUSTER)
        .mode(Mode::ApiAndConfigMap)
        .api_server(&node.cluster.authority(), node.cluster.url());
    let role = world.role("111122223333", "/", "identity-mapper");
    world.trust_workload(NAMESPACE, SERVICE_ACCOUNT, &role);
    world.workloads.lifetime = Some(LIFETIME);
    world.role("111122223333", "/", "dev");
    let eks = Eks::start(world).await;
    let authority = eks.on_node(NODE_ADDRESS, POD_IDENTITY).await.unwrap();
    let _names = Names::start(NODE_ADDRESS).await;
    let logins = Logins::start(&node.cluster, &eks).await;

    injected(&node, &way.injection(&role.arn)).await;
    let annotations = json!({"eks.amazonaws.com/role-arn": role.arn});
    node.install(
        TAG,
        &[
            "eks.clusterName=main",
            "eks.listingPeriod=10s",
            &format!("certificateAuthorities={}", json!(authority)),
            &format!("serviceAccount.annotations={annotations}"),
        ],
    );

    node.cluster
        .establish("dev", json!({"backend": "AccessEntry"}))
        .await;
    let dev = eks.world().session("111122223333", "dev", "ann");
    let who = logins.who(&eks.token(&dev)).await.unwrap();
    assert!(who.groups.unwrap_or_default().contains(&"team".to_owned()));

    let made = || eks.log().count(way.call(), Mark::START);
    let before = made();
    eventually("credentials are renewed twice", SOON, async || {
        if made() >= before + 2 {
            Ok(())
        } else {
            Err(made())
        }
    })
    .await;
    node.cluster.delete("dev").await;
    node.cluster.gone("dev").await;
    assert!(eks.world().cluster.entries.is_empty());

    let calls = eks.log().since(Mark::START).to_vec();
    let refused: Vec<_> = calls
        .iter()
        .filter(|call| matches!(&call.outcome, Outcome::Refused(code, _) if code != "ResourceNotFoundException"))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let session = "arn:aws:sts::111122223333:assumed-role/identity-mapper/";
    let created = calls
        .iter()
        .find(|call| call.operation == "CreateAccessEntry")
        .unwrap();
    assert!(created.caller.starts_with(session), "{created:?}");
}

#[test]
fn by_iam_roles_for_service_accounts() {
    inside("aws::by_iam_roles_for_service_accounts", async |cgroup| {
        works(cgroup, Way::Irsa).await;
    });
}

#[test]
fn by_eks_pod_identity() {
    inside("aws::by_eks_pod_identity", async |cgroup| {
        works(cgroup, Way::PodIdentity).await;
    });
}
