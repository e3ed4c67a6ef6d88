//! Networks in which a proxy is the only way out.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Ran, Run};
use crate::support::Cluster;
use crate::support::eks::{Eks, Mode, World};

const CLUSTER: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/main";

/// A kubeconfig for the same cluster under a name that only the proxy knows.
fn kubeconfig(cluster: &Cluster, folder: &Path, further: &Value) -> PathBuf {
    let text = fs::read_to_string(cluster.admin_kubeconfig()).unwrap();
    let mut whole: Value = serde_json::from_str(&text).unwrap();
    let known = whole["clusters"][0]["cluster"].as_object_mut().unwrap();
    let server = known["server"].as_str().unwrap();
    let server = server.replace("127.0.0.1", "kubernetes.test");
    known.insert("server".to_owned(), json!(server));
    known.insert("tls-server-name".to_owned(), json!("127.0.0.1"));
    known.extend(further.as_object().unwrap().clone());
    let file = folder.join("kubeconfig");
    fs::write(&file, whole.to_string()).unwrap();
    file
}

#[tokio::test]
async fn cluster_and_aws_are_reached_through_a_proxy() {
    let cluster = Cluster::seeded().await;
    let mut world = World::new(CLUSTER)
        .mode(Mode::Api)
        .api_server(&cluster.authority(), cluster.url());
    world.role("111122223333", "/", "dev");
    let eks = Eks::start(world).await;
    let front = eks.front().await.unwrap();
    let proxy = format!("http://{}", front.address);
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("aws.pem");
    fs::write(&authority, &front.authority).unwrap();

    let run = async |further: Value, variables: &[(&str, &str)]| -> Ran {
        let file = kubeconfig(&cluster, folder.path(), &further);
        let mut run = Run::new(["access", "--cluster-name=main", "--output=json"]);
        let endpoints = |name: &str| name.starts_with("AWS_ENDPOINT_URL") || name == "NO_PROXY";
        for (name, value) in eks.env() {
            if !endpoints(&name) {
                run = run.env(&name, &value);
            }
        }
        run = run
            .env("KUBECONFIG", file.to_str().unwrap())
            .env("SSL_CERT_FILE", authority.to_str().unwrap());
        for (name, value) in variables {
            run = run.env(name, value);
        }
        run.run_aside().await
    };
    let everywhere = ("HTTPS_PROXY", proxy.as_str());

    let found = run(json!({}), &[everywhere]).await;
    assert_eq!(found.code, 0, "{}", found.shown());
    assert!(
        found.stdout.contains("\"mode\": \"API\""),
        "{}",
        found.stdout
    );

    // A kubeconfig's own proxy is for the API server alone, and has no exceptions.
    let own = json!({ "proxy-url": proxy });
    let excluded = ("NO_PROXY", "kubernetes.test");
    let found = run(own, &[everywhere, excluded]).await;
    assert_eq!(found.code, 0, "{}", found.shown());

    // Nothing but the proxy knows the name.
    let found = run(json!({}), &[everywhere, excluded]).await;
    assert_eq!(found.code, 1, "{}", found.shown());
    assert!(found.stderr.contains("kubernetes.test"), "{}", found.stderr);
    let found = run(json!({}), &[]).await;
    assert_eq!(found.code, 1, "{}", found.shown());

    // A proxy that is not there is what the error is about.
    let found = run(json!({}), &[("HTTPS_PROXY", "http://127.0.0.1:1")]).await;
    assert_eq!(found.code, 1, "{}", found.shown());
    assert!(found.stderr.contains("127.0.0.1:1"), "{}", found.stderr);

    // The same machine is reached without it.
    let direct = Run::new(["lint"])
        .on(&cluster)
        .env("HTTPS_PROXY", "http://127.0.0.1:1");
    let found = direct.run_aside().await;
    assert!(!found.stderr.contains("error:"), "{}", found.shown());
}
