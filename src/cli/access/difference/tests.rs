//! Two reports, and what differs.

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::print::{page, page_of_many, text, text_of_many};
use super::*;

fn report(made: &str, principals: &Value) -> SavedReport {
    let report = json!({
        "made": made, "cluster": {"configMap": "kube-system/aws-auth", "arn": "arn:aws:eks:eu-west-1:111122223333:cluster/main"},
        "principals": principals, "withoutAccess": [], "notes": [],
    });
    serde_json::from_value(report).expect("a report")
}

fn principal(name: &str, groups: &[&str], administrator: Option<&str>) -> Value {
    json!({
        "kind": "Role", "principal": format!("arn:aws:iam::111122223333:role/{name}"), "username": name, "groups": groups,
        "accessPolicies": [], "administrator": administrator,
    })
}

#[test]
fn who_came_who_went_and_who_rose() {
    let masters = Some("group system:masters");
    let old = report(
        "2026-01-01T00:00:00Z",
        &json!([
            principal("gone", &["g"], None),
            principal("risen", &["g"], None),
            principal("fallen", &["system:masters"], masters),
            principal("same", &["g"], None),
            principal("moved", &["g"], None),
        ]),
    );
    let new = report(
        "2026-02-01T00:00:00Z",
        &json!([
            principal("same", &["g"], None),
            principal("moved", &["h"], None),
            principal("risen", &["system:masters"], masters),
            principal("fallen", &["g"], None),
            principal("come\u{202e}", &["system:masters"], masters),
        ]),
    );
    let difference = AccessDifference::new(&old, &new);
    assert_snapshot!(anstream::adapter::strip_str(&text(&difference)).to_string(), @r#"
    Access to arn:aws:eks:eu-west-1:111122223333:cluster/main from 2026-01-01T00:00:00Z to 2026-02-01T00:00:00Z

    Gained access (1):
      arn:aws:iam::111122223333:role/come\u{202e}
        + username "come\u{202e}", groups system:masters, administrator

    Became administrators (2):
      arn:aws:iam::111122223333:role/come\u{202e}
        + username "come\u{202e}", groups system:masters, administrator
      arn:aws:iam::111122223333:role/risen
        - username "risen", groups g
        + username "risen", groups system:masters, administrator

    Lost access (1):
      arn:aws:iam::111122223333:role/gone
        - username "gone", groups g

    No longer administrators (1):
      arn:aws:iam::111122223333:role/fallen
        - username "fallen", groups system:masters, administrator
        + username "fallen", groups g

    Changed (1):
      arn:aws:iam::111122223333:role/moved
        - username "moved", groups g
        + username "moved", groups h
    "#);
    assert!(AccessDifference::new(&old, &old).is_empty());
    assert!(page(&difference).contains("Became administrators (2)"));
}

/// Each principal with what it was and is, by the list that it is in.
#[test]
fn administrators_are_compared_by_what_they_are_at_most() {
    let state = |name: &str, administrator: &str| {
        let mut principal = principal(name, &["g"], None);
        match administrator {
            "yes" => principal["administrator"] = json!("group g"),
            "possibly" => principal["possibleAdministrator"] = json!("group g"),
            _ => {}
        }
        principal
    };
    let cases = [
        (None, "no", &["gainedAccess"][..]),
        (
            None,
            "possibly",
            &["gainedAccess", "mayHaveBecomeAdministrator"],
        ),
        (None, "yes", &["gainedAccess", "becameAdministrator"]),
        (Some("no"), "possibly", &["mayHaveBecomeAdministrator"]),
        (Some("no"), "yes", &["becameAdministrator"]),
        (Some("possibly"), "yes", &["becameAdministrator"]),
        (Some("yes"), "possibly", &["changed"]),
        (Some("yes"), "no", &["noLongerAdministrator"]),
        (Some("possibly"), "no", &["noLongerAdministrator"]),
        (
            Some("yes"),
            "gone",
            &["lostAccess", "noLongerAdministrator"],
        ),
        (Some("no"), "gone", &["lostAccess"]),
    ];
    for (before, after, expected) in cases {
        let one = |administrator: Option<&str>| {
            let all = administrator.filter(|it| *it != "gone").into_iter();
            let all: Vec<Value> = all.map(|it| state("a", it)).collect();
            report("2026-01-01T00:00:00Z", &json!(all))
        };
        let difference = AccessDifference::new(&one(before), &one(Some(after)));
        let document = serde_json::to_value(&difference).expect("JSON");
        let lists = document.as_object().expect("an object").iter();
        let found: Vec<&str> = lists
            .filter(|(_, list)| list.as_array().is_some_and(|list| !list.is_empty()))
            .map(|(name, _)| name.as_str())
            .collect();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        let mut sorted = found.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected, "{before:?} to {after}");
    }
}

#[test]
fn a_cluster_is_recognized_by_its_arn_or_url() {
    let cluster = |arn: Option<&str>, url: Option<&str>| SavedCluster {
        arn: arn.map(str::to_owned),
        url: url.map(str::to_owned),
    };
    let (a, b) = (Some("arn:a"), Some("arn:b"));
    let (one, two) = (Some("https://one"), Some("https://two"));
    for (old, new, expected) in [
        (cluster(a, one), cluster(None, one), true),
        (cluster(None, one), cluster(a, one), true),
        (cluster(a, one), cluster(a, two), true),
        (cluster(a, one), cluster(b, one), false),
        (cluster(None, one), cluster(None, two), false),
        (cluster(a, one), cluster(None, two), false),
        (cluster(None, None), cluster(None, None), true),
        (cluster(None, None), cluster(a, None), false),
    ] {
        assert_eq!(old.is(&new), expected, "{old:?} {new:?}");
    }
}

#[test]
fn many_clusters_are_compared_each_with_itself() {
    let of = |cluster: &str, report: Option<SavedReport>| SavedClusterReport {
        cluster: cluster.to_owned(),
        error: report.is_none().then(|| "no answer".to_owned()),
        report,
    };
    let empty = || Some(report("2026-01-01T00:00:00Z", &json!([])));
    let one = || {
        Some(report(
            "2026-02-01T00:00:00Z",
            &json!([principal("new", &[], None)]),
        ))
    };
    let differences = differences(
        vec![
            of("a", empty()),
            of("b", empty()),
            of("c", empty()),
            of("gone", empty()),
        ],
        vec![
            of("b", empty()),
            of("a", one()),
            of("c", None),
            of("d", one()),
        ],
    );
    assert_snapshot!(anstream::adapter::strip_str(&text_of_many(&differences)).to_string(), @r#"
    Cluster a
    Access to arn:aws:eks:eu-west-1:111122223333:cluster/main from 2026-01-01T00:00:00Z to 2026-02-01T00:00:00Z

    Gained access (1):
      arn:aws:iam::111122223333:role/new
        + username "new"

    Cluster b
    Access to arn:aws:eks:eu-west-1:111122223333:cluster/main from 2026-01-01T00:00:00Z to 2026-01-01T00:00:00Z

    No difference.

    Cluster c
    Not compared: the later report could not read it: no answer

    Cluster gone
    Not compared: it is not in the later report

    Cluster d
    Not compared: it is not in the earlier report
    "#);
    let page = page_of_many(&differences);
    assert!(
        page.contains("<h2>Cluster a</h2>") && page.contains("Gained access (1)"),
        "{page}"
    );
}
