//! What is seen of the requests: each one with `-v`, and of a connection that fails the address and the cause, once.

use std::fs;

use insta::assert_snapshot;
use regex::Regex;
use serde_json::{Value, json};

use super::Run;
use crate::support::Cluster;
use crate::support::eks::{Eks, Mode, World};
use crate::support::supervise::Scratch;

#[tokio::test]
async fn each_request_is_a_line_without_credentials() {
    let cluster = Cluster::with_operator_rights().await;
    cluster
        .seed(json!({ "mapRoles": "- rolearn: arn:aws:iam::111122223333:role/dev\n  username: dev\n" }))
        .await;
    let mut world = World::new("arn:aws:eks:eu-west-1:111122223333:cluster/main")
        .mode(Mode::ApiAndConfigMap)
        .api_server(&cluster.authority(), cluster.url());
    world.role("111122223333", "/", "dev");
    let eks = Eks::start(world).await;
    let access = |more: &'static [&'static str]| {
        let arguments = [&["access", "--cluster-name=main"], more].concat();
        Run::new(arguments).on(&cluster).with(&eks).run_aside()
    };
    let quiet = access(&[]).await;
    assert!(!quiet.stderr.contains("answered"), "{}", quiet.shown());
    let verbose = access(&["-v"]).await;
    assert_eq!(verbose.stdout, quiet.stdout);
    let lines: Vec<&str> = verbose
        .stderr
        .lines()
        .filter(|line| line.contains("answered"))
        .collect();
    for expected in [
        r#"API server answered verb="get" path="/api/v1/namespaces/kube-system/configmaps/aws-auth" code="200" milliseconds=\d+$"#,
        r#"API server answered verb="get" path="/apis/rbac.authorization.k8s.io/v1/clusterrolebindings" code="200" milliseconds=\d+$"#,
        r#"AWS answered service="eks" operation="DescribeCluster" outcome="ok" milliseconds=\d+$"#,
        r#"AWS answered service="eks" operation="ListAccessEntries" outcome="ok" milliseconds=\d+$"#,
        r#"AWS answered service="iam" operation="ListRoles" outcome="ok" milliseconds=\d+$"#,
    ] {
        let expected = Regex::new(expected).unwrap();
        assert!(
            lines.iter().any(|line| expected.is_match(line)),
            "{expected}: {}",
            verbose.stderr
        );
    }
    let everything = access(&["-vv"]).await;
    let kubeconfig = fs::read_to_string(cluster.admin_kubeconfig()).unwrap();
    let kubeconfig: Value = serde_saphyr::from_str(&kubeconfig).unwrap();
    let user = kubeconfig["users"][0]["user"].as_object().unwrap();
    let aws = eks.env().into_iter();
    let aws = aws.filter(|(name, _)| name.contains("SECRET") || name.contains("TOKEN"));
    let secrets = user.values().filter_map(Value::as_str).map(str::to_owned);
    let secrets: Vec<String> = secrets.chain(aws.map(|(_, value)| value)).collect();
    assert!(secrets.len() > 1, "{secrets:?}");
    for ran in [&verbose, &everything] {
        for secret in secrets.iter().filter(|it| it.len() > 8) {
            assert!(!ran.stderr.contains(secret.as_str()), "{}", ran.stderr);
        }
        assert!(!ran.stderr.contains("Bearer "), "{}", ran.stderr);
    }
}

/// A kubeconfig of a server that is not there.
fn nowhere() -> Scratch {
    let folder = Scratch::new();
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "gone",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [
            {"name": "gone", "context": {"cluster": "c", "user": "u"}},
            {"name": "other", "context": {"cluster": "c", "user": "u"}},
        ],
    });
    fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string()).unwrap();
    folder
}

#[test]
fn a_connection_that_fails_is_one_line_with_the_cause() {
    let folder = nowhere();
    let kubeconfig = folder.path().join("kubeconfig");
    let run = |arguments: &[&str]| {
        let run = Run::new(arguments).env("KUBECONFIG", kubeconfig.to_str().unwrap());
        run.run().shown()
    };
    assert_snapshot!(run(&["access", "--mode=CONFIG_MAP"]), @"
    exit code 1
    --- stderr
    error: aws-auth can't be read: can't connect to https://127.0.0.1:1: connection refused
    ");
    for arguments in [
        &["effective"][..],
        &["lint", "--mode=CONFIG_MAP"],
        &["plan", "--mode=CONFIG_MAP"],
        &["rollback", "list"],
        &["release", "--yes"],
        &["import", "--mode=CONFIG_MAP"],
    ] {
        let shown = run(arguments);
        let (_, error) = shown.split_once("--- stderr\n").unwrap();
        assert_eq!(error.lines().count(), 1, "{arguments:?}: {shown}");
        assert!(
            error.ends_with("can't connect to https://127.0.0.1:1: connection refused\n"),
            "{arguments:?}: {shown}"
        );
        assert_eq!(error.matches("127.0.0.1:1").count(), 1, "{shown}");
    }
    assert_snapshot!(run(&["access", "--context=zz"]), @r#"
    exit code 1
    --- stderr
    error: the kubeconfig has no context "zz"; it has gone, other
    "#);
}

#[test]
fn an_aws_service_that_is_not_there_is_one_line_with_the_cause() {
    let run = Run::new(["explain", "--me", "--aws-auth=-"])
        .stdin("kind: ConfigMap\nmetadata: {name: aws-auth}\n")
        .env("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "secret");
    let shown = run.run().shown();
    assert!(
        shown.contains("STS can't be reached: connection refused\n"),
        "{shown}"
    );
}
