//! The CRD: fresh, accepted by a real API server, and one in mind with the rules as they run offline.

#[allow(clippy::too_many_lines, reason = "tables")]
#[rustfmt::skip] // Tables read better with a case a line.
mod cases;

use std::fmt::Write as _;
use std::time::Duration;

use identity_mapper::api::{IdentityMapping, Violation, check_json};
use identity_mapper::cli::crd::crd_yaml;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, PostParams};
use kube::core::{Request, Status};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{Cluster, eventually};
use cases::{Case, cases};

/// For what a server does within a second, on a machine that is busy with other tests.
const DEADLINE: Duration = Duration::from_secs(30);

#[test]
fn crds_folder_is_fresh() {
    let checked_in = include_str!("../../crds/identitymappings.identity-mapper.dev.yaml");
    assert!(
        checked_in == crd_yaml(),
        "run: cargo run -- crd > crds/identitymappings.identity-mapper.dev.yaml"
    );
}

#[test]
fn cases_offline() {
    let mut failures = String::new();
    for case in cases() {
        let found = check_json(&object(&case)).err().unwrap_or_default();
        compare(&case, &found, &mut failures);
    }
    assert!(failures.is_empty(), "{failures}");
}

fn object(case: &Case) -> Value {
    let spec: Value =
        serde_saphyr::from_str(&case.spec).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    json!({
        "apiVersion": "identity-mapper.dev/v1alpha1",
        "kind": "IdentityMapping",
        "metadata": {"name": "case"},
        "spec": spec,
    })
}

/// Notes where what was found is not exactly what the table expects.
fn compare(case: &Case, found: &[Violation], failures: &mut String) {
    let mut found = found.to_vec();
    found.sort();
    let agrees = found.len() == case.wrong.len()
        && found
            .iter()
            .zip(&case.wrong)
            .all(|(found, (field, message))| {
                found.field == *field && found.message.to_lowercase().contains(message)
            });
    if !agrees {
        let _ = writeln!(
            failures,
            "{}:\n  expected {:?}\n  found    {found:?}",
            case.name, case.wrong
        );
    }
}

#[tokio::test]
async fn a_server_accepts_the_crd_and_agrees_with_the_rules_offline() {
    let cluster = Cluster::start().await;
    cases_on_server(cluster.admin()).await;
    columns_and_docs(&cluster);
}

/// What `kubectl` shows of a mapping and of its fields; and that any field may be changed.
#[allow(
    clippy::too_many_lines,
    reason = "one API server, and all that it shows"
)]
fn columns_and_docs(cluster: &Cluster) {
    let kubectl = |args: &[&str], stdin: Option<&str>| {
        let output = cluster.kubectl(args, stdin);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {args:?}: {stderr}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let mapping = |principal: &str, fields: &str| {
        format!(
            "{{apiVersion: identity-mapper.dev/v1alpha1, kind: IdentityMapping, metadata: {{name: platform-admins}}, spec: {{principal: {principal}, {fields}}}}}"
        )
    };
    let role = mapping(
        "{arn: 'arn:aws:iam::111122223333:role/Admin'}",
        "groups: [a, b], validUntil: '2026-12-24T18:00:00Z'",
    );
    kubectl(&["apply", "-f", "-"], Some(&role));
    let status = r#"{"status": {
        "summary": {"principal": "role/da…readers (…6666)", "username": "someon…{{…}}", "groups": "firs…roup +2", "accessPolicies": "Clust…min +1"},
        "principalArn": "arn:aws:iam::111122223333:role/Admin", "username": "admin", "backend": "AccessEntry", "state": "Suspended",
        "conditions": [{"type": "Ready", "status": "True", "reason": "InEffect", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
    }}"#;
    kubectl(
        &[
            "patch",
            "idmap",
            "platform-admins",
            "--subresource=status",
            "--type=merge",
            "-p",
            status,
        ],
        None,
    );
    let columns = |table: &str| -> Vec<String> {
        let lines = table.lines().map(|line| line.split("   ").map(str::trim));
        let words = lines.flat_map(|line| line.filter(|word| !word.is_empty()).map(str::to_owned));
        words.collect()
    };
    let wide = columns(&kubectl(&["get", "aws", "-o", "wide"], None));
    let expected = [
        "NAME",
        "PRINCIPAL",
        "USERNAME",
        "GROUPS",
        "POLICIES",
        "BACKEND",
        "STATE",
        "REASON",
        "UNTIL",
        "ARN",
        "FULL USERNAME",
        "AGE",
        "platform-admins",
        "role/da…readers (…6666)",
        "someon…{{…}}",
        "firs…roup +2",
        "Clust…min +1",
        "AccessEntry",
        "Suspended",
        "InEffect",
        "2026-12-24T18:00:00Z",
        "arn:aws:iam::111122223333:role/Admin",
        "admin",
    ];
    assert_eq!(wide[..expected.len()], expected);
    let narrow = kubectl(&["get", "idmaps"], None);
    assert_eq!(
        columns(&narrow)[..8],
        [
            "NAME",
            "PRINCIPAL",
            "USERNAME",
            "GROUPS",
            "POLICIES",
            "BACKEND",
            "STATE",
            "AGE"
        ]
    );
    // As wide as each value may be, with an age of five characters.
    let age = |line: &str| line.split_whitespace().last().unwrap_or_default().len();
    assert!(
        narrow
            .lines()
            .all(|line| line.trim_end().chars().count() - age(line) + 5 <= 120),
        "{narrow}"
    );

    let other = mapping(
        "{permissionSet: {name: Admin, accountId: '111122223333'}}",
        "backend: AccessEntry, adoption: Never, deletion: Retain, suspend: true, username: other",
    );
    kubectl(&["apply", "-f", "-"], Some(&other));
    let groups = kubectl(
        &[
            "get",
            "idmap",
            "platform-admins",
            "-o",
            "jsonpath={.spec.principal.permissionSet.name} {.spec.groups}",
        ],
        None,
    );
    assert_eq!(groups, "Admin ");

    let docs = kubectl(&["explain", "identitymappings.spec.username"], None);
    assert!(docs.contains("{{SessionName}}"), "{docs}");
}

/// Installs the CRD as it is checked in and offers every case to the server, dry, with strict fields as kubectl asks.
pub(crate) async fn cases_on_server(client: Client) {
    let crd: CustomResourceDefinition = serde_saphyr::from_str(include_str!(
        "../../crds/identitymappings.identity-mapper.dev.yaml"
    ))
    .expect("crds/ holds a CRD");
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    crds.create(&PostParams::default(), &crd)
        .await
        .expect("the server accepts the CRD");
    let name = crd.name_any();
    let established = await_condition(crds, &name, conditions::is_crd_established());
    timeout(DEADLINE, established)
        .await
        .expect("the CRD is established in time")
        .expect("the CRD can be watched");

    let mappings: Api<IdentityMapping> = Api::all(client.clone());
    eventually("identitymappings are served", DEADLINE, async || {
        mappings.list(&ListParams::default()).await
    })
    .await;

    let mut failures = String::new();
    for case in cases() {
        let found = match create_dry(&client, &object(&case)).await {
            Ok(_) => Vec::new(),
            Err(kube::Error::Api(status)) => violations(&status),
            Err(error) => panic!("{}: {error}", case.name),
        };
        compare(&case, &found, &mut failures);
    }
    assert!(failures.is_empty(), "{failures}");
}

/// A dry creation with strict fields, which [`PostParams`] can't ask for.
async fn create_dry(client: &Client, mapping: &Value) -> kube::Result<Value> {
    let url = IdentityMapping::url_path(&(), None);
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let mut request = Request::new(url)
        .create(&params, mapping.to_string().into_bytes())
        .expect("the path of a kind is a path");
    *request.uri_mut() = format!("{}&fieldValidation=Strict", request.uri())
        .parse()
        .expect("a longer path is one too");
    client.request(request).await
}

/// What a server's refusal says is wrong.
fn violations(status: &Status) -> Vec<Violation> {
    // Unknown fields are found while the object is decoded, and only the text names them.
    if let Some((_, rest)) = status.message.split_once("unknown field \"")
        && let Some((field, _)) = rest.split_once('"')
    {
        return vec![Violation {
            field: field.to_owned(),
            message: "unknown field".to_owned(),
        }];
    }
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes
        // Said beside the bounds that are broken, and about no field.
        .filter(|cause| {
            !cause
                .message
                .contains("some validation rules were not checked")
        })
        .map(|cause| Violation {
            field: cause.field.clone(),
            message: cause.message.clone(),
        })
        .collect()
}
