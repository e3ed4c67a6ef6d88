//! The test bed keeps its own promises.

use crate::support::Cluster;

#[tokio::test]
async fn a_control_plane_starts() {
    let started = std::time::Instant::now();
    let cluster = Cluster::start().await;
    println!("{:?}", started.elapsed());
    let audit = cluster.audit();
    let mark = audit.mark().await;
    let out = cluster.kubectl(
        &["-n", "kube-system", "create", "configmap", "aws-auth"],
        None,
    );
    assert!(out.status.success(), "{out:?}");
    assert_eq!(
        audit
            .writes("configmaps")
            .of("aws-auth")
            .since(mark)
            .count()
            .await,
        1
    );
}
