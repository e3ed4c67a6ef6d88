//! People log in while the operator works: who gets in, and as whom?

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::*;
use crate::scenarios::NO_TIMER;
use crate::support::Operator;
use crate::support::mappings::FOREIGN;

/// A principal, how its caller appears, and as whom it is to get in.
struct Case {
    name: &'static str,
    arn: &'static str,
    caller: &'static str,
    spec: fn() -> Value,
    username: &'static str,
    groups: &'static [&'static str],
}

const NODE: &str = "system:node:ip-10-0-0-1.eu-west-1.compute.internal";
const INSTANCE: &str = "i-0123456789abcdef0";

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
        username: "arn:aws:sts::111122223333:assumed-role/Plain/alice",
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
        username: "alice-example.com",
        groups: &["team"],
    },
    Case {
        name: "sso-without-region",
        arn: "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_View_0123456789abcdef",
        caller: "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_View_0123456789abcdef/bob",
        spec: || json!({ "username": "view:{{SessionNameRaw}}", "groups": ["view-{{AccountID}}"] }),
        username: "view:bob",
        groups: &["view-111122223333"],
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
        username: "arn:aws-us-gov:sts::111122223333:assumed-role/Gov/alice",
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
        username: "system:node:session",
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

fn expected(username: &str, groups: &[&str]) -> Identity {
    let mut groups: Vec<String> = groups.iter().map(|&group| group.to_owned()).collect();
    groups.sort();
    (username.to_owned(), groups)
}

/// Those who come, and the door that they come to.
struct Door {
    eks: Eks,
    logins: Logins,
}

impl Door {
    /// As whom the caller of this ARN gets in.
    async fn admits(&self, arn: &str) -> Option<Identity> {
        let session = arn.rsplit('/').next().unwrap_or_default();
        let id = if arn.contains(":assumed-role/") {
            format!("AROAEXAMPLE:{session}")
        } else {
            "AIDAEXAMPLE".to_owned()
        };
        enters(&self.logins, &self.eks, &caller(arn, &id)).await
    }

    /// Waits until exactly those for whom `wanted` says so get in, as declared, and besides them those of entries made by hand.
    async fn judge(&self, wanted: impl Fn(&Case) -> Option<Identity>) {
        let nodes = expected(NODE, &["system:bootstrappers", "system:nodes"]);
        self.until(Some(&nodes), wanted).await;
        for stranger in STRANGERS {
            assert_eq!(self.admits(stranger).await, None, "{stranger}");
        }
    }

    /// Waits until those for whom `wanted` says so get in, and the nodes of mapRoles as this.
    async fn until(&self, nodes: Option<&Identity>, wanted: impl Fn(&Case) -> Option<Identity>) {
        eventually("those who are declared get in", SOON, async || {
            let by_hand = expected("hand", &["ops"]);
            let unmanaged = [(NODES, nodes.cloned()), (BY_HAND, Some(by_hand))];
            let declared = CASES.iter().map(|case| (case.caller, wanted(case)));
            for (caller, wanted) in declared.chain(unmanaged) {
                let found = self.admits(caller).await;
                if found != wanted {
                    return Err((caller, found, wanted));
                }
            }
            Ok(())
        })
        .await;
    }
}

fn declared(case: &Case) -> Identity {
    expected(case.username, case.groups)
}

#[tokio::test]
async fn exactly_those_who_are_declared_get_in() {
    let cluster = Cluster::with_logins().await;
    let users = format!("- userarn: {BY_HAND}\n  username: hand\n  groups: [ops]\n");
    cluster
        .seed(json!({ "mapRoles": FOREIGN, "mapUsers": users }))
        .await;
    let mut operator = Operator::start(&cluster, &NO_TIMER).await;
    let mut world = World::new(ARN).mode(Mode::ConfigMap);
    let name = NODE.replace("system:node:", "");
    world.instances.insert(INSTANCE.to_owned(), name);
    let eks = Eks::start(world).await;
    let logins = Logins::start(&cluster, &eks).await;
    let door = Door { eks, logins };
    door.judge(|_| None).await;

    for case in &CASES {
        let mut spec = (case.spec)();
        spec["principal"] = json!({ "arn": case.arn });
        cluster.declare(case.name, spec).await;
    }
    for case in &CASES {
        cluster.ready(case.name).await;
    }
    door.judge(|case| Some(declared(case))).await;

    // A change of identity, and drift that would have let others in.
    cluster
        .change(
            "user",
            json!({ "spec": { "username": "robert", "groups": ["new"] } }),
        )
        .await;
    let robert = |case: &Case| match case.name {
        "user" => Some(expected("robert", &["new"])),
        _ => Some(declared(case)),
    };
    door.judge(robert).await;
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
        door.admits(CASES[0].caller).await.is_some()
    })
    .await;
    // An entry under another name is nobody's, so nobody takes it away: as with any entry made by hand.
    assert!(door.admits(admin2).await.is_some());
    let text = cluster.roles().await;
    cluster
        .write_text("kubectl-edit", "mapRoles", &without(&text, "role/Admin2\""))
        .await;
    // The authenticator sees the removal a moment later, and everyone else has access before and after.
    eventually("Admin2 is out", SOON, async || {
        door.admits(admin2).await.is_none()
    })
    .await;
    door.judge(robert).await;

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
    door.judge(left).await;
    cluster.until("signs", "Ready", "True Expired").await;

    // A lock-out: all of mapRoles is dropped, nodes too, until the operator is back.
    let text = cluster.roles().await;
    operator.signal("STOP");
    cluster
        .write_text("kubectl-edit", "mapRoles", &format!("{text}\t\n- {{{{"))
        .await;
    let users = |case: &Case| left(case).filter(|_| case.arn.contains(":user/"));
    door.until(None, users).await;
    operator.signal("CONT");
    cluster.text_until("mapRoles", |found| found == text).await;
    door.judge(left).await;
    cluster.kubectl_ok(
        &["-n", "kube-system", "delete", "configmap", "aws-auth"],
        None,
    );
    cluster.text_until("mapRoles", |found| found == text).await;
    door.judge(left).await;
    assert!(operator.stop().await.0.success());
    door.judge(left).await;
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
