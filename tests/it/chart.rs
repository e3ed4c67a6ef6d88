//! The chart: what helm makes of it is installed on a real API server and does what it says.

mod availability;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use k8s_openapi::api::authorization::v1::ResourceAttributes;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

use crate::cli::Run;
use crate::support::chart;
use crate::support::deployment::documents;
use crate::support::programs::{operator_binary, program, repository};
use crate::support::rights::{self, Rules};
use crate::support::{Cluster, Operator};

/// Values that make the chart render every argument that it can.
const EVERY_VALUE: [&str; 5] = [
    "observe=true",
    "repair=Off",
    "resync=1h30m",
    "logFormat=text",
    "logLevel=debug",
];

fn root(path: &str) -> PathBuf {
    repository().join(path)
}

/// Values that make the chart render every argument that concerns EKS.
const EVERY_VALUE_OF_EKS: [&str; 15] = [
    "eks.clusterName=main",
    "eks.region=eu-west-1",
    "eks.handover=Auto",
    "eks.soak=90s",
    "eks.propagation=10s",
    "eks.recreatedPrincipals=Renew",
    "eks.listingPeriod=1m",
    "eks.refreshPeriod=2h",
    "eks.ssoSweep=30s",
    "eks.rate=2.5",
    "eks.queueUrl=https://sqs.eu-west-1.amazonaws.com/111122223333/identity-mapper",
    r#"eks.iamRoles=["arn:aws:iam::444455556666:role/reader","arn:aws:iam::{account}:role/reader"]"#,
    r#"eks.iamAccounts=["777788889999"]"#,
    "eks.iamExternalId=some-id",
    "serviceAccount.annotations.eks\\.amazonaws\\.com/role-arn=arn:aws:iam::111122223333:role/identity-mapper",
];

/// For a cluster that EKS is not asked about.
fn helm_template(values: &[&str]) -> Output {
    chart::template(&[&["authenticationMode=CONFIG_MAP"], values].concat())
}

fn render(values: &[&str]) -> String {
    rendered(&helm_template(values))
}

fn rendered(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn find(documents: &[Value], kind: &str) -> Value {
    let mut found = documents.iter().filter(|document| document["kind"] == kind);
    let one = found
        .next()
        .unwrap_or_else(|| panic!("no {kind} is rendered"));
    assert!(found.next().is_none(), "one {kind} is rendered");
    one.clone()
}

fn named(documents: &[Value], kind: &str, name: &str) -> Vec<Value> {
    let found = documents
        .iter()
        .filter(|document| document["kind"] == kind && document["metadata"]["name"] == name);
    found.cloned().collect()
}

/// A cluster with a namespace that takes restricted Pods only, and in it what helm renders.
async fn installed(values: &[&str]) -> (Cluster, String) {
    let cluster = Cluster::start().await;
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": rights::NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    });
    apply(&cluster, &namespace.to_string());
    let manifests = render(values);
    apply(&cluster, &manifests);
    (cluster, manifests)
}

/// kubectl refuses fields that the API server does not know.
fn apply(cluster: &Cluster, manifests: &str) {
    let output = cluster.kubectl(&["apply", "--validate=strict", "-f", "-"], Some(manifests));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_chart_carries_the_generated_definitions() {
    let names = |folder: &Path| {
        let files = fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name());
        let mut names: Vec<_> = files.collect();
        names.sort();
        names
    };
    let (generated, carried) = (root("crds"), root("charts/identity-mapper/files/crds"));
    assert_eq!(
        names(&generated),
        names(&carried),
        "`make crd` brings both up to date"
    );
    for name in names(&generated) {
        let read = |folder: &Path| fs::read_to_string(folder.join(&name)).unwrap();
        assert!(
            read(&generated) == read(&carried),
            "{name:?} differs: `make crd` brings both up to date"
        );
    }
}

#[test]
fn the_definition_is_rendered_whole_and_outlives_the_release() {
    let rendered = find(&documents(&render(&[])), "CustomResourceDefinition");
    let metadata = &rendered["metadata"];
    assert_eq!(metadata["annotations"]["helm.sh/resource-policy"], "keep");
    let generated = serde_json::to_value(&rights::generated_definitions()[0]).unwrap();
    assert_eq!(metadata["name"], generated["metadata"]["name"]);
    assert_eq!(rendered["spec"], generated["spec"]);

    let without = render(&["crds.install=false"]);
    assert!(!without.contains("CustomResourceDefinition"));
}

#[test]
fn helm_renders_the_rules_that_the_tests_run_under() {
    let rules = |role: &Value| -> Vec<PolicyRule> {
        serde_json::from_value(role["rules"].clone()).unwrap()
    };
    for (namespace, name) in [
        ("kube-system", "aws-auth"),
        ("trial", "aws-auth.copy"),
        (rights::CLUSTER_SCOPED, "copy"),
        (rights::NAMESPACE, "copy"),
    ] {
        let values = [
            format!("configMap.namespace={namespace}"),
            format!("configMap.name={name}"),
        ];
        let documents = documents(&render(&[&values[0], &values[1]]));
        let expected = Rules::read(name);
        let operator = named(&documents, "ClusterRole", rights::SERVICE_ACCOUNT);
        assert_eq!(rules(&operator[0]), expected.cluster);
        // The same in each namespace, by a binding of its own.
        let beside = expected.by_namespace(namespace);
        let rendered: BTreeMap<&str, Vec<PolicyRule>> = documents
            .iter()
            .filter(|document| document["kind"] == "Role")
            .map(|role| (role["metadata"]["namespace"].as_str().unwrap(), rules(role)))
            .collect();
        assert_eq!(rendered, beside);
        let bound: BTreeSet<&str> = documents
            .iter()
            .filter(|document| document["kind"] == "RoleBinding")
            .map(|binding| binding["metadata"]["namespace"].as_str().unwrap())
            .collect();
        assert_eq!(bound, beside.keys().copied().collect());

        let args =
            find(&documents, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]
                .to_string();
        assert!(
            args.contains(&format!("--config-map-namespace={namespace}")),
            "{args}"
        );
        assert!(
            args.contains(&format!("--config-map-name={name}")),
            "{args}"
        );
    }
}

#[test]
fn the_mode_is_read_or_declared() {
    for (values, mend) in [
        (&[][..], "Set eks.clusterName"),
        (
            &["authenticationMode=CONFIG_MAP", "eks.clusterName=main"],
            "Remove authenticationMode",
        ),
    ] {
        let output = chart::template(values);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{values:?} are taken");
        assert!(message.contains(mend), "{values:?}: {message}");
    }
}

#[test]
fn every_value_of_eks_is_an_argument_that_the_operator_takes() {
    let documents = documents(&rendered(&chart::template(&EVERY_VALUE_OF_EKS)));
    let container =
        find(&documents, "Deployment")["spec"]["template"]["spec"]["containers"][0].clone();
    let args: Vec<String> = serde_json::from_value(container["args"].clone()).unwrap();
    for arg in [
        "--cluster-name=main",
        "--region=eu-west-1",
        "--handover=Auto",
        "--soak=90s",
        "--propagation=10s",
        "--recreated-principals=Renew",
        "--listing-period=1m",
        "--refresh-period=2h",
        "--sso-sweep=30s",
        "--eks-rate=2.5",
        "--queue-url=https://sqs.eu-west-1.amazonaws.com/111122223333/identity-mapper",
        "--iam-role=arn:aws:iam::444455556666:role/reader",
        "--iam-role=arn:aws:iam::{account}:role/reader",
        "--iam-account=777788889999",
        "--iam-external-id=some-id",
    ] {
        assert!(args.iter().any(|found| found == arg), "{arg}: {args:?}");
    }
    // The Pod of `helm test` plans as the operator does.
    let pod = find(&documents, "Pod")["spec"]["containers"][0].clone();
    let planned: Vec<String> = serde_json::from_value(pod["args"].clone()).unwrap();
    for flag in [
        "handover",
        "soak",
        "propagation",
        "recreated-principals",
        "region",
        "iam-role",
        "iam-account",
        "config-map-name",
    ] {
        let of = |args: &[String]| {
            let prefix = format!("--{flag}=");
            args.iter()
                .filter(|arg| arg.starts_with(&prefix))
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(of(&planned), of(&args), "--{flag}");
        assert!(!of(&planned).is_empty(), "--{flag}");
    }
    let account = find(&documents, "ServiceAccount");
    assert_eq!(
        account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"],
        "arn:aws:iam::111122223333:role/identity-mapper"
    );
    // What it does not know, or finds wrong, ends it before it looks for a cluster.
    let output = Command::new(operator_binary())
        .args(&args)
        .args(["--kubeconfig", "/nowhere"])
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("kubeconfig can't be read"), "{message}");
}

#[test]
fn further_environment_reaches_the_container() {
    let documents = documents(&render(&[
        "env[0].name=HTTPS_PROXY",
        "env[0].value=http://proxy:3128",
    ]));
    let container = &find(&documents, "Deployment")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        container["env"],
        json!([{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}])
    );
}

/// The variables of the TLS library replace each other's default, so both are set: the image's bundle, and the folder beside it.
#[test]
fn private_authorities_are_trusted_beside_the_public_ones() {
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
    let documents = documents(&render(&[&format!("certificateAuthorities={pem}")]));
    let config_map = named(
        &documents,
        "ConfigMap",
        "identity-mapper-certificate-authorities",
    );
    let data = config_map[0]["data"].as_object().unwrap();
    assert_eq!(
        data.values().collect::<Vec<_>>(),
        [&json!(format!("{pem}\n"))]
    );
    let spec = &find(&documents, "Deployment")["spec"]["template"]["spec"];
    let container = &spec["containers"][0];
    let folder = &container["volumeMounts"][0]["mountPath"];
    assert_eq!(
        container["env"],
        json!([
            {"name": "SSL_CERT_FILE", "value": "/etc/ssl/certs/ca-certificates.crt"},
            {"name": "SSL_CERT_DIR", "value": folder},
        ])
    );
    assert_eq!(
        spec["volumes"],
        json!([{
            "name": container["volumeMounts"][0]["name"],
            "configMap": {"name": config_map[0]["metadata"]["name"]},
        }])
    );
}

#[tokio::test]
async fn a_restricted_namespace_takes_the_pod() {
    let (cluster, manifests) = installed(&[]).await;
    let template = find(&documents(&manifests), "Deployment")["spec"]["template"].clone();
    let spec = &template["spec"];
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        let always = json!({"key": key, "operator": "Exists"});
        assert!(
            spec["tolerations"].as_array().unwrap().contains(&always),
            "{key} is tolerated without limit"
        );
    }
    assert_eq!(spec["priorityClassName"], "system-cluster-critical");

    // Nothing makes Pods of a Deployment here, so the template becomes one by hand.
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "spec": spec,
        "metadata": {"name": "one", "namespace": rights::NAMESPACE, "labels": template["metadata"]["labels"]},
    });
    apply(&cluster, &pod.to_string());
}

/// The roles admin, edit and view are made of every role that is labelled for them.
#[test]
fn only_the_operator_gets_permissions() {
    let documents = documents(&render(&[]));
    for document in &documents {
        let kind = document["kind"].as_str().unwrap();
        let labels = document["metadata"]["labels"].to_string();
        assert!(
            !labels.contains("aggregate-to"),
            "{kind} goes into a role that people have"
        );
        if kind.ends_with("RoleBinding") {
            let operator = json!([{"kind": "ServiceAccount", "name": rights::SERVICE_ACCOUNT, "namespace": rights::NAMESPACE}]);
            assert_eq!(document["subjects"], operator);
        }
    }
}

/// The people's roles by name, and only by name.
#[test]
fn roles_for_people_write_no_status_and_hold_no_verb_of_grants() {
    let documents = documents(&render(&[]));
    let verbs = |name: &str| {
        let role = named(&documents, "ClusterRole", name).remove(0);
        let rules: Vec<PolicyRule> = serde_json::from_value(role["rules"].clone()).unwrap();
        assert_eq!(rules.len(), 1, "{name}");
        assert_eq!(rules[0].resources.as_deref().unwrap(), ["identitymappings"]);
        rules[0].verbs.join(" ")
    };
    assert_eq!(verbs("identity-mapper-viewer"), "get list watch");
    assert_eq!(
        verbs("identity-mapper-editor"),
        "get list watch create update patch delete"
    );
}

#[test]
fn without_admission_policies_the_notes_warn() {
    let off = render(&["admissionPolicy.enabled=false"]);
    assert!(!off.contains("ValidatingAdmissionPolicy"));
    let notes = |value: &str| {
        let output = Command::new(program("helm"))
            .args([
                "install",
                "--dry-run=client",
                "--namespace",
                rights::NAMESPACE,
                "some-release",
            ])
            .arg(root("charts/identity-mapper"))
            .args(["--set", "authenticationMode=CONFIG_MAP", "--set", value])
            .output()
            .unwrap();
        rendered(&output)
    };
    assert!(
        notes("admissionPolicy.enabled=false")
            .contains("WARNING: admissionPolicy.enabled is false")
    );
    assert!(!notes("admissionPolicy.enabled=true").contains("WARNING"));
}

#[tokio::test]
async fn the_rules_reach_aws_auth_and_its_history_and_nothing_beside() {
    let (cluster, _) = installed(&[]).await;
    let wanted = ResourceAttributes {
        resource: Some("configmaps".to_owned()),
        namespace: Some("kube-system".to_owned()),
        name: Some("aws-auth".to_owned()),
        verb: Some("patch".to_owned()),
        ..Default::default()
    };
    rights::in_force(
        &cluster.admin(),
        rights::NAMESPACE,
        rights::SERVICE_ACCOUNT,
        wanted,
    )
    .await;
    let kubeconfig = Kubeconfig::read_from(cluster.operator_kubeconfig().await).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    let operator = Client::try_from(config).unwrap();
    let config_maps = Api::<ConfigMap>::namespaced(operator.clone(), "kube-system");
    let patch = Patch::Merge(json!({"data": {"key": "value"}}));
    let (create, patching) = (PostParams::default(), PatchParams::default());

    for name in ["aws-auth", "aws-auth-history", "kube-proxy"] {
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            ..Default::default()
        };
        let new = ConfigMap {
            metadata,
            ..Default::default()
        };
        config_maps.create(&create, &new).await.unwrap();
        let ours = name != "kube-proxy";
        let field = format!("metadata.name={name}");
        assert_eq!(config_maps.get(name).await.is_ok(), ours);
        assert_eq!(
            config_maps.patch(name, &patching, &patch).await.is_ok(),
            ours
        );
        assert_eq!(
            config_maps
                .list(&ListParams::default().fields(&field))
                .await
                .is_ok(),
            ours
        );
        assert_eq!(
            config_maps
                .watch(&WatchParams::default().fields(&field), "0")
                .await
                .is_ok(),
            ours
        );
        config_maps
            .delete(name, &kube::api::DeleteParams::default())
            .await
            .unwrap_err();
    }
    config_maps.list(&ListParams::default()).await.unwrap_err();
    let secrets = Api::<Secret>::all(operator);
    secrets.list(&ListParams::default()).await.unwrap_err();
}

#[tokio::test]
async fn the_rendered_deployment_runs() {
    for values in [&[][..], &EVERY_VALUE] {
        let (cluster, manifests) = installed(values).await;
        let operator = Operator::from_deployment(&cluster, &manifests).await;
        assert_eq!(operator.probe("/livez").await, 200);
        assert!(!operator.metrics().await.is_empty());
    }
}

/// The Pod of `helm test`, with the operator's rights.
#[tokio::test]
async fn helm_test_reports_whether_everything_declared_is_in_effect() {
    let (cluster, manifests) = installed(&[]).await;
    let pods = documents(&manifests)
        .into_iter()
        .filter(|document| document["kind"] == "Pod");
    let [pod] = &pods.collect::<Vec<_>>()[..] else {
        panic!("one Pod is rendered");
    };
    assert_eq!(pod["metadata"]["annotations"]["helm.sh/hook"], "test");
    let args: Vec<String> =
        serde_json::from_value(pod["spec"]["containers"][0]["args"].clone()).unwrap();
    let namespace = pod["metadata"]["namespace"].as_str().unwrap();
    let account = pod["spec"]["serviceAccountName"].as_str().unwrap();
    let kubeconfig = cluster.service_account_kubeconfig(namespace, account).await;
    let test = async || {
        let run = Run::new(&args).env("KUBECONFIG", kubeconfig.to_str().unwrap());
        run.run_aside().await
    };

    let operator = Operator::from_deployment(&cluster, &manifests).await;
    cluster.establish("dev", json!({})).await;
    let works = test().await;
    assert_eq!(works.code, 0, "{}", works.shown());
    assert!(works.stderr.is_empty(), "{}", works.shown());

    assert!(operator.stop().await.0.success());
    cluster.declare("later", json!({})).await;
    let stands_still = test().await;
    assert_eq!(stands_still.code, 2, "{}", stands_still.shown());
    assert!(
        stands_still.stdout.contains("role/later"),
        "{}",
        stands_still.shown()
    );
}
