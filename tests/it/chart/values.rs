//! Values that the chart refuses before anything is installed.

use std::process::Command;

use super::helm_template;
use crate::support::chart;
use crate::support::programs::operator_binary;

#[test]
fn values_that_mean_nothing_are_refused() {
    for value in [
        "observed=true",
        "replicas=0",
        "replicas=two",
        "authenticationMode=CONFIGMAP",
        "authenticationMode=API",
        "eks.clusterName=arn:aws:eks:eu-west-1:111122223333:cluster/main",
        "eks.region=Ireland",
        "eks.handover=auto",
        "eks.soak=a day",
        "eks.rate=fast",
        "eks.rate=0",
        "eks.queueUrl=identity-mapper",
        "eks.iamRoles={reader}",
        "eks.iamAccounts={account}",
        "admissionPolicy.enable=true",
        "admissionPolicy.enabled=yes",
        "admissionPolicy.allowedAccounts={one}",
        "admissionPolicy.deniedGroups={a*b}",
        "admissionPolicy.deniedAccessPolicies={arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy}",
        "admissionPolicy.validUntilRequiredFor=*",
        r#"delegates=[{"name": "team-a"}]"#,
        r#"delegates=[{"name": "a", "subjects": [{"kind": "ServiceAccount", "name": "ci"}], "mappings": ["a"], "usernames": ["a"]}]"#,
        "eks.cluster=main",
        "repair=lastgood",
        "configMap.name=",
        "configMap.nam=aws-auth",
        "resync=often",
        "bindAddress=localhost:8080",
        "certificateAuthorities=/etc/ssl/ca.pem",
        "image.pullPolicy=Sometimes",
    ] {
        let output = helm_template(&[value]);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{value} is taken");
        assert!(
            message.contains("schema"),
            "{value} is refused for another reason: {message}"
        );
    }
}

/// What the chart takes and the operator refuses would end in a Pod that restarts for ever.
#[test]
fn the_chart_takes_only_durations_that_the_operator_takes() {
    let day = ["1h30m", "90m", "1440m", "86400s", "24h", "23h59m59s"];
    let no_day = ["0s", "86401s", "1441m", "24h1s", "25h", "30m1h", "1d", "90"];
    let year = ["1h30m", "90m30s", "48h", "8760h", "8759h59m59s"];
    let no_year = ["0s", "8760h1m", "8761h", "30s1m", "365d", "a day"];
    for (key, flag, taken, refused) in [
        (
            "eks.listingPeriod",
            "--listing-period",
            [&day[..], &["10s"]],
            [&no_day[..], &["5s", "9s"]],
        ),
        (
            "eks.ssoSweep",
            "--sso-sweep",
            [&day[..], &["5s"]],
            [&no_day[..], &["4s"]],
        ),
        (
            "eks.refreshPeriod",
            "--refresh-period",
            [&year[..], &["10s"]],
            [&no_year[..], &["9s"]],
        ),
        (
            "eks.soak",
            "--soak",
            [&year[..], &["60s", "1m"]],
            [&no_year[..], &["59s", "9s"]],
        ),
        (
            "resync",
            "--resync",
            [&year[..], &["1s"]],
            [&no_year[..], &["0h"]],
        ),
        (
            "eks.propagation",
            "--propagation",
            [&["1s", "99s", "600s", "9m59s", "10m"], &[]],
            [&["0s", "601s", "10m1s", "11m", "1h"], &[]],
        ),
    ] {
        for (value, fine) in (taken.concat().into_iter().map(|value| (value, true)))
            .chain(refused.concat().into_iter().map(|value| (value, false)))
        {
            let output = chart::template(&["eks.clusterName=main", &format!("{key}={value}")]);
            let words = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.success(), fine, "{key}={value}: {words}");
            let output = Command::new(operator_binary())
                .args(["run", "--cluster-name=main", "--kubeconfig=/nowhere"])
                .arg(format!("{flag}={value}"))
                .output()
                .unwrap();
            let words = String::from_utf8_lossy(&output.stderr);
            assert_eq!(
                words.contains("kubeconfig can't be read"),
                fine,
                "{flag}={value}: {words}"
            );
        }
    }
}
