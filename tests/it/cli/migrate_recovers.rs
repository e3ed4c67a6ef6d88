//! `migrate` where something is missing on its way: aws-auth's mark, or the operator.

use std::time::{Duration, Instant};

use identity_mapper::ownership::MARK_ANNOTATION;
use serde_json::json;

use super::Ran;
use super::migrate_steps::{PACE, Stage};
use crate::support::rights;

/// What a dead operator may cost, with the steps before it.
const WITHIN: Duration = Duration::from_secs(90);

async fn run(stage: &Stage, args: &[&str]) -> Ran {
    stage.run(&[args, &PACE[..]].concat()).await
}

/// As `kubectl replace` does it, or deletion and `rollback restore`.
async fn lose_mark(stage: &Stage) {
    let patch = json!({ "metadata": { "annotations": { MARK_ANNOTATION: null } } });
    stage.cluster.patch_aws_auth("kubectl-replace", patch).await;
    assert!(!is_marked(stage).await);
}

async fn is_marked(stage: &Stage) -> bool {
    let object = stage.cluster.config_maps().get("aws-auth").await.unwrap();
    let annotations = object.metadata.annotations.unwrap_or_default();
    annotations.contains_key(MARK_ANNOTATION)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_mark_is_restored_during_apply_and_revert() {
    let stage = Stage::set("").await;
    let ran = run(&stage, &["apply", "--confirm=test", "--no-wait"]).await;
    assert_eq!(ran.code, 0, "{}", ran.shown());
    assert_eq!(stage.entries().len(), 2);

    // Back, without the mark.
    lose_mark(&stage).await;
    let ran = run(&stage, &["revert"]).await;
    assert_eq!(ran.code, 0, "{}", ran.shown());
    assert_eq!(stage.entries(), [""; 0]);
    assert_eq!(stage.in_text().await, ["Alice", "Root"]);
    assert!(is_marked(&stage).await);

    // And there: the soak goes on, then the copies are removed.
    let ran = run(&stage, &["apply", "--no-wait"]).await;
    assert_eq!(ran.code, 0, "{}", ran.shown());
    lose_mark(&stage).await;
    let ran = run(&stage, &["apply", "--no-wait"]).await;
    assert!(ran.stdout.contains("2 soaking"), "{}", ran.shown());
    assert!(is_marked(&stage).await);
    lose_mark(&stage).await;
    let ran = run(&stage, &["apply"]).await;
    assert_eq!(ran.code, 0, "{}", ran.shown());
    assert!(ran.stdout.contains("principals: 2 done"), "{}", ran.shown());
    assert_eq!(stage.in_text().await, [""; 0]);
    assert_eq!(
        stage.entries(),
        ["Alice team ", "Root  AmazonEKSClusterAdminPolicy"]
    );
}

/// The definition is installed, so the operator would hand over, and none is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apply_fails_within_a_minute_when_the_operator_is_down() {
    let stage = Stage::set("").await;
    rights::install_definitions(&stage.cluster.admin()).await;
    for args in [&["apply", "--confirm=test", "--import"][..], &["revert"]] {
        let begun = Instant::now();
        let ran = stage.run(args).await;
        assert_eq!(ran.code, 1, "{}", ran.shown());
        let words = ["no operator answers", "identity-mapper.dev/ping"];
        for word in words {
            assert!(ran.stderr.contains(word), "{}", ran.shown());
        }
        assert!(begun.elapsed() < WITHIN, "{:?}", begun.elapsed());
    }
}
