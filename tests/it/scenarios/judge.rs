//! The real authenticator watches aws-auth while the operator works: who gets in, and as whom?

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::NO_TIMER;
use crate::support::mappings::{FOREIGN, SOON};
use crate::support::{Cluster, Judge, Operator, eventually};

/// A principal, how its caller appears, and as whom it is to get in.
struct Case {
    name: &'static str,
    arn: &'static str,
    caller: &'static str,
    spec: fn() -> Value,
    username: &'static str,
    groups: &'static [&'static str],
}

const NODE: &str = "system:node:{{EC2PrivateDNSName}}";

fn plain() -> Value {
    json!({ "username": "person", "groups": ["team", "a:b/c d"] })
}

fn by_default() -> Value {
    json!({ "groups": [] })
}

/// Every kind of principal.
const CASES: [Case; 15] = [
    Case {
        name: "role",
        arn: "arn:aws:iam::111122223333:role/Admin",
        caller: "arn:aws:sts::111122223333:assumed-role/Admin/alice",
        spec: plain,
        username: "person",
        groups: &["team", "a:b/c d"],
    },
    Case {
        name: "role-by-default",
        arn: "arn:aws:iam::111122223333:role/Plain",
        caller: "arn:aws:sts::111122223333:assumed-role/Plain/alice",
        spec: by_default,
        username: "arn:aws:sts::111122223333:assumed-role/Plain/{{SessionName}}",
        groups: &[],
    },
    Case {
        name: "role-with-path",
        arn: "arn:aws:iam::111122223333:role/division/team/Pathed",
        caller: "arn:aws:sts::111122223333:assumed-role/Pathed/alice",
        spec: plain,
        username: "person",
        groups: &["team", "a:b/c d"],
    },
    Case {
        name: "sso-with-region",
        arn: "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Admin_0123456789abcdef",
        caller: "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Admin_0123456789abcdef/alice@example.com",
        spec: || json!({ "username": "{{SessionName}}", "groups": ["team"] }),
        username: "{{SessionName}}",
        groups: &["team"],
    },
    Case {
        name: "sso-without-region",
        arn: "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_View_0123456789abcdef",
        caller: "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_View_0123456789abcdef/bob",
        spec: || json!({ "username": "view:{{SessionNameRaw}}", "groups": ["view-{{AccountID}}"] }),
        username: "view:{{SessionNameRaw}}",
        groups: &["view-{{AccountID}}"],
    },
    Case {
        name: "user",
        arn: "arn:aws:iam::111122223333:user/bob",
        caller: "arn:aws:iam::111122223333:user/bob",
        spec: by_default,
        username: "arn:aws:iam::111122223333:user/bob",
        groups: &[],
    },
    Case {
        name: "user-with-path",
        arn: "arn:aws:iam::111122223333:user/division/Carol",
        caller: "arn:aws:iam::111122223333:user/division/Carol",
        spec: plain,
        username: "person",
        groups: &["team", "a:b/c d"],
    },
    Case {
        name: "govcloud",
        arn: "arn:aws-us-gov:iam::111122223333:role/Gov",
        caller: "arn:aws-us-gov:sts::111122223333:assumed-role/Gov/alice",
        spec: by_default,
        username: "arn:aws-us-gov:sts::111122223333:assumed-role/Gov/{{SessionName}}",
        groups: &[],
    },
    Case {
        name: "china",
        arn: "arn:aws-cn:iam::111122223333:user/china",
        caller: "arn:aws-cn:iam::111122223333:user/china",
        spec: plain,
        username: "person",
        groups: &["team", "a:b/c d"],
    },
    Case {
        name: "linux-nodes",
        arn: "arn:aws:iam::111122223333:role/linux",
        caller: "arn:aws:sts::111122223333:assumed-role/linux/i-0123456789abcdef0",
        spec: || json!({ "type": "EC2Linux", "groups": [] }),
        username: NODE,
        groups: &["system:bootstrappers", "system:nodes"],
    },
    Case {
        name: "windows-nodes",
        arn: "arn:aws:iam::111122223333:role/windows",
        caller: "arn:aws:sts::111122223333:assumed-role/windows/i-0123456789abcdef0",
        spec: || json!({ "type": "EC2Windows", "groups": [] }),
        username: NODE,
        groups: &[
            "eks:kube-proxy-windows",
            "system:bootstrappers",
            "system:nodes",
        ],
    },
    Case {
        name: "fargate",
        arn: "arn:aws:iam::111122223333:role/fargate",
        caller: "arn:aws:sts::111122223333:assumed-role/fargate/session",
        spec: || json!({ "type": "FargateLinux", "groups": [] }),
        username: "system:node:{{SessionName}}",
        groups: &[
            "system:bootstrappers",
            "system:node-proxier",
            "system:nodes",
        ],
    },
    Case {
        name: "service-linked",
        arn: "arn:aws:iam::111122223333:role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch",
        caller: "arn:aws:sts::111122223333:assumed-role/AWSServiceRoleForBatch/batch",
        spec: || json!({ "username": "aws-batch", "groups": [] }),
        username: "aws-batch",
        groups: &[],
    },
    Case {
        name: "cross-account",
        arn: "arn:aws:iam::444455556666:role/Admin",
        caller: "arn:aws:sts::444455556666:assumed-role/Admin/alice",
        spec: || json!({ "username": "yes", "groups": ["on", "12345", "- x", "# y", "*z"] }),
        username: "yes",
        groups: &["on", "12345", "- x", "# y", "*z"],
    },
    Case {
        name: "signs",
        arn: "arn:aws:iam::111122223333:role/a+b=c,d.e@f-g_h",
        caller: "arn:aws:sts::111122223333:assumed-role/a+b=c,d.e@f-g_h/alice",
        spec: plain,
        username: "person",
        groups: &["team", "a:b/c d"],
    },
];

/// Others who ask: neighbours in name, path, account and partition.
const STRANGERS: [&str; 7] = [
    "arn:aws:sts::111122223333:assumed-role/Admin2/alice",
    "arn:aws:sts::444455556666:assumed-role/Plain/alice",
    "arn:aws-cn:sts::111122223333:assumed-role/Admin/alice",
    "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_View_0123456789abcde0/bob",
    "arn:aws:iam::111122223333:user/Carol",
    "arn:aws:iam::111122223333:user/division/bob",
    "arn:aws:sts::111122223333:assumed-role/axb=c,d.e@f-g_h/alice",
];

const NODES: &str = "arn:aws:sts::111122223333:assumed-role/nodes/i-0123456789abcdef0";
const BY_HAND: &str = "arn:aws:iam::444455556666:user/by/hand";

/// A username and its groups, sorted.
type Identity = (String, Vec<String>);

/// As whom a caller gets in.
fn admitted(judge: &mut Judge, caller: &str) -> Option<Identity> {
    let answer = judge.map(caller);
    let mut groups: Vec<String> = serde_json::from_value(answer["groups"].clone()).unwrap();
    groups.sort();
    (answer["mapped"] == true).then(|| (answer["username"].as_str().unwrap().to_owned(), groups))
}

fn identity(username: &str, groups: &[&str]) -> Identity {
    let mut groups: Vec<String> = groups.iter().map(|&group| group.to_owned()).collect();
    groups.sort();
    (username.to_owned(), groups)
}

/// Waits until exactly those for whom `expected` says so get in, as declared.
async fn judged(judge: &mut Judge, expected: impl Fn(&Case) -> Option<Identity>) {
    eventually("those who are declared get in", SOON, async || {
        let nodes = identity(NODE, &["system:bootstrappers", "system:nodes"]);
        let unmanaged = [
            (NODES, Some(nodes)),
            (BY_HAND, Some(identity("hand", &["ops"]))),
        ];
        let declared = CASES.iter().map(|case| (case.caller, expected(case)));
        for (caller, expected) in declared.chain(unmanaged) {
            let found = admitted(judge, caller);
            if found != expected {
                return Err((caller, found, expected));
            }
        }
        Ok(())
    })
    .await;
    for stranger in STRANGERS {
        assert_eq!(admitted(judge, stranger), None, "{stranger}");
    }
}

fn declared(case: &Case) -> Identity {
    identity(case.username, case.groups)
}

#[tokio::test]
async fn exactly_those_who_are_declared_get_in() {
    let cluster = Cluster::with_operator_rights().await;
    let users = format!("- userarn: {BY_HAND}\n  username: hand\n  groups: [ops]\n");
    cluster
        .seed(json!({ "mapRoles": FOREIGN, "mapUsers": users }))
        .await;
    let operator = Operator::start(&cluster, &NO_TIMER).await;
    let mut judge = Judge::watch(cluster.admin_kubeconfig());
    judged(&mut judge, |_| None).await;

    for case in &CASES {
        let mut spec = (case.spec)();
        spec["principal"] = json!({ "arn": case.arn });
        cluster.declare(case.name, spec).await;
    }
    for case in &CASES {
        cluster.ready(case.name).await;
    }
    judged(&mut judge, |case| Some(declared(case))).await;

    // A change of identity, and drift that would have let others in.
    cluster
        .change(
            "user",
            json!({ "spec": { "username": "robert", "groups": ["new"] } }),
        )
        .await;
    let robert = |case: &Case| match case.name {
        "user" => Some(identity("robert", &["new"])),
        _ => Some(declared(case)),
    };
    judged(&mut judge, robert).await;
    let vandalised = cluster
        .roles()
        .await
        .replace("role/Admin\"", "role/Admin2\"");
    cluster
        .write_text("kubectl-edit", "mapRoles", &vandalised)
        .await;
    let admin2 = "arn:aws:sts::111122223333:assumed-role/Admin2/alice";
    cluster.ready("role").await;
    eventually("Admin is back", SOON, async || {
        admitted(&mut judge, CASES[0].caller).is_some()
    })
    .await;
    // An entry under another name is nobody's, so nobody takes it away: as with any entry made by hand.
    assert!(admitted(&mut judge, admin2).is_some());
    let text = cluster.roles().await;
    cluster
        .write_text("kubectl-edit", "mapRoles", &without(&text, "role/Admin2\""))
        .await;
    // The judge sees the removal a moment later, and everyone else has access before and after.
    eventually("Admin2 is out", SOON, async || {
        admitted(&mut judge, admin2).is_none()
    })
    .await;
    judged(&mut judge, robert).await;

    // Those who go, by deletion and by time, get in no more; all others as before.
    for name in ["role-with-path", "sso-with-region", "china"] {
        cluster.kubectl_ok(&["delete", "idmap", name], None);
    }
    let end = Timestamp::now() + SignedDuration::from_secs(2);
    cluster.change("signs", json!({ "spec": { "validUntil": Timestamp::from_second(end.as_second()).unwrap().to_string() } })).await;
    let left = |case: &Case| match case.name {
        "role-with-path" | "sso-with-region" | "china" | "signs" => None,
        _ => robert(case),
    };
    judged(&mut judge, left).await;
    cluster.until("signs", "Ready", "True Expired").await;

    // A lock-out, lived through.
    let text = cluster.roles().await;
    cluster
        .write_text("kubectl-edit", "mapRoles", &format!("{text}\t\n- {{{{"))
        .await;
    cluster.text_until("mapRoles", |found| found == text).await;
    judged(&mut judge, left).await;
    cluster.kubectl_ok(
        &["-n", "kube-system", "delete", "configmap", "aws-auth"],
        None,
    );
    cluster.text_until("mapRoles", |found| found == text).await;
    judged(&mut judge, left).await;
    assert!(operator.stop().await.0.success());
    judged(&mut judge, left).await;
}

/// The text without the entry whose first line holds this.
fn without(text: &str, what: &str) -> String {
    let at = text.find(what).unwrap();
    let start = text[..at].rfind("- ").unwrap();
    let end = text[at..]
        .find("\n- ")
        .map_or(text.len(), |end| at + end + 1);
    format!("{}{}", &text[..start], &text[end..])
}
