//! Whose an access entry is: tags, adoption, deletion, orphans, expiry, and what aws-auth says beside it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::stage::{ACCOUNT, NO_TIMER, PATIENT, Stage};
use crate::support::eks::{Eks, Entry, Mark, Mode};
use crate::support::eventually;
use crate::support::mappings::{FOREIGN, SOON, role};

const NONE: [&str; 0] = [];
const INSTALLATION: &str = "identity-mapper.dev/installation";
const TAGS: [&str; 3] = [
    INSTALLATION,
    "identity-mapper.dev/mapping",
    "identity-mapper.dev/principal-id",
];

/// Makes a role and its entry as a person does, with username `theirs`.
fn theirs(eks: &Eks, name: &str, group: &str, tags: &Value) -> String {
    let arn = eks.world().role(ACCOUNT, "/", name).arn;
    let input = json!({
        "principalArn": arn, "username": "theirs", "kubernetesGroups": [group], "tags": tags,
    });
    eks.by_hand("CreateAccessEntry", input).unwrap();
    arn
}

/// An entry of nodes as EKS makes it for a node group.
fn made_by_aws(eks: &Eks, name: &str) -> String {
    let mut world = eks.world();
    let nodes = world.role(ACCOUNT, "/", name);
    let id = Some(nodes.id.clone());
    let entry = Entry::new(&world.cluster, &nodes.arn, "EC2_LINUX", id, world.now).unwrap();
    world.standing_entry(entry);
    nodes.arn
}

/// Adoption, the group that stands, Ready, Synced, the calls, whether the entry outlives the mapping.
type Adopted = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
    bool,
);

const ADOPTION: [Adopted; 6] = [
    (
        "IfIdentical",
        "team",
        "True InEffect",
        "True Synced",
        &["TagResource"],
        false,
    ),
    (
        "IfIdentical",
        "x",
        "False UnmanagedEntry",
        "False UnmanagedEntry",
        &[],
        true,
    ),
    (
        "Always",
        "team",
        "True InEffect",
        "True Synced",
        &["TagResource"],
        false,
    ),
    (
        "Always",
        "x",
        "True InEffect",
        "True Synced",
        &["TagResource", "UpdateAccessEntry"],
        false,
    ),
    (
        "Never",
        "team",
        "True InEffect",
        "False NotManaged",
        &[],
        true,
    ),
    (
        "Never",
        "x",
        "False UnmanagedEntry",
        "False UnmanagedEntry",
        &[],
        true,
    ),
];

/// An entry that somebody made is taken over as `spec.adoption` says.
#[tokio::test]
async fn unmanaged_entries_are_adopted_as_declared() {
    let name = |number: usize| format!("adopted-{number}");
    let stage = Stage::prepared(Mode::Api, &NO_TIMER, |eks| {
        for (number, (_, group, ..)) in ADOPTION.into_iter().enumerate() {
            theirs(eks, &name(number), group, &json!({ "team": "blue" }));
        }
        theirs(
            eks,
            "elsewhere",
            "x",
            &json!({ INSTALLATION: "arn:aws:eks:eu-west-1:111122223333:cluster/other" }),
        );
    })
    .await;
    for (number, (adoption, ..)) in ADOPTION.into_iter().enumerate() {
        let spec = json!({ "username": "theirs", "adoption": adoption });
        stage.declare(&name(number), spec).await;
    }
    stage
        .declare("elsewhere", json!({ "username": "theirs" }))
        .await;
    for (number, (adoption, group, ready, synced, calls, _)) in ADOPTION.into_iter().enumerate() {
        let case = format!("{adoption} {group}");
        stage.until(&name(number), "Synced", synced).await;
        stage.until(&name(number), "Ready", ready).await;
        let arn = role(&name(number));
        // The tags of an entry that is right already come after the word that it is in effect. Where IAM is read later than that, the
        // principal's id follows as a tag of its own.
        let later = [calls, &["TagResource"]].concat();
        eventually(&format!("{case}: {calls:?}"), PATIENT, async || {
            let writes = stage.writes_about(&arn, Mark::START);
            let as_expected = writes == calls || (!calls.is_empty() && writes == later);
            if as_expected { Ok(()) } else { Err(writes) }
        })
        .await;
        let entry = stage.entry(&arn).unwrap();
        assert_eq!(
            entry.tags.get("team").map(String::as_str),
            Some("blue"),
            "{case}"
        );
        // The principal's id follows once IAM was read.
        let ours = TAGS[..2].iter().all(|tag| entry.tags.contains_key(*tag));
        assert_eq!(ours, !calls.is_empty(), "{case}: {:?}", entry.tags);
    }
    let seen = stage
        .until("elsewhere", "Ready", "False UnmanagedEntry")
        .await;
    assert!(
        seen.message.contains(
            "the installation that manages arn:aws:eks:eu-west-1:111122223333:cluster/other"
        ),
        "{seen:?}"
    );
    for (number, (adoption, group, .., stays)) in ADOPTION.into_iter().enumerate() {
        // All three that are ours go.
        stage.cluster.confirm(&name(number), "mass-removal").await;
        stage.delete(&[&name(number)]);
        let stands = stage.entry(&role(&name(number))).is_some();
        assert_eq!(stands, stays, "{adoption} {group}");
    }
}

/// What EKS made for nodes is taken over only by the word `Always`, and only as the same kind.
#[tokio::test]
async fn entries_that_aws_made_for_nodes() {
    let stage = Stage::prepared(Mode::Api, &NO_TIMER, |eks| {
        for name in ["identical", "always", "other-kind", "person"] {
            made_by_aws(eks, name);
        }
    })
    .await;
    let nodes =
        |type_: &str, adoption: &str| json!({ "type": type_, "groups": [], "adoption": adoption });
    let mark = stage.mark();
    let identical = stage
        .declare("identical", nodes("EC2Linux", "IfIdentical"))
        .await;
    let always = stage.declare("always", nodes("EC2Linux", "Always")).await;
    let other = stage
        .declare("other-kind", nodes("FargateLinux", "Always"))
        .await;
    let person = stage
        .declare("person", json!({ "adoption": "Always" }))
        .await;
    let seen = stage.until("identical", "Synced", "False NotManaged").await;
    assert!(seen.message.contains("adoption: Always"), "{seen:?}");
    stage
        .cluster
        .until("identical", "Ready", "True InEffect")
        .await;
    stage.cluster.ready("always").await;
    for name in ["other-kind", "person"] {
        let seen = stage.until(name, "Ready", "False UnmanagedEntry").await;
        assert!(seen.message.contains("EC2_LINUX"), "{seen:?}");
    }
    stage.fence("after-nodes").await;
    // Its principal's id is tagged once IAM was read, which may be later.
    let mut writes = stage.writes_about(&always, mark);
    writes.dedup();
    assert_eq!(writes, ["TagResource"]);
    for arn in [&identical, &other, &person] {
        assert_eq!(stage.writes_about(arn, mark), NONE);
    }
}

#[tokio::test]
async fn ownership() {
    let mut stage = Stage::new(Mode::Api, &NO_TIMER).await;
    // Beside these, what goes below within ten minutes is never all that was owned at once.
    for name in ["stays-1", "stays-2", "stays-3"] {
        stage.establish(name, json!({})).await;
    }
    deletion_revokes_or_retains(&stage).await;
    an_entry_expires(&stage).await;
    a_changed_principal_moves_the_entry(&stage).await;
    lost_tags_are_not_lost_ownership(&mut stage).await;
    orphans_stay_until_a_person_confirms(&mut stage).await;
}

/// Deletion returns when the entry is gone; a retained one loses our tags and nothing else.
async fn deletion_revokes_or_retains(stage: &Stage) {
    let revoked = stage.establish("revoked", json!({})).await;
    let retained = stage
        .establish("retained", json!({ "deletion": "Retain" }))
        .await;
    let before = stage.entry(&retained).unwrap();
    let mark = stage.mark();
    stage.delete(&["revoked"]);
    assert!(stage.entry(&revoked).is_none());
    assert_eq!(stage.writes_about(&revoked, mark), ["DeleteAccessEntry"]);
    stage.delete(&["retained"]);
    assert_eq!(stage.writes_about(&retained, mark), ["UntagResource"]);
    let after = stage.entry(&retained).unwrap();
    assert!(
        !TAGS.iter().any(|tag| after.tags.contains_key(*tag)),
        "{after:?}"
    );
    assert_eq!(
        (&after.username, &after.groups),
        (&before.username, &before.groups)
    );
}

/// An entry is removed within two seconds of `validUntil`, and one call.
async fn an_entry_expires(stage: &Stage) {
    let until = Timestamp::now() + jiff::SignedDuration::from_secs(5);
    let until = Timestamp::from_second(until.as_second()).unwrap();
    let arn = stage
        .establish("visitor", json!({ "validUntil": until.to_string() }))
        .await;
    stage.until("visitor", "Ready", "True Expired").await;
    assert!(stage.entry(&arn).is_none());
    let log = stage.eks.log();
    let mut calls = log.all().iter();
    let deleted = calls.find(|call| {
        call.operation == "DeleteAccessEntry" && call.principal.as_deref() == Some(arn.as_str())
    });
    let late = deleted.unwrap().time.duration_since(until);
    let late = Duration::try_from(late).expect("not before its time");
    assert!(late < Duration::from_secs(2), "{late:?}");
}

/// An entry's principal can't be changed: a new entry stands before the old one goes.
async fn a_changed_principal_moves_the_entry(stage: &Stage) {
    let before = stage.establish("moving", json!({})).await;
    let after = stage.role("moved");
    let mark = stage.mark();
    stage
        .cluster
        .change(
            "moving",
            json!({ "spec": { "principal": { "arn": after } } }),
        )
        .await;
    stage.cluster.ready("moving").await;
    stage
        .entry_until("the old entry is gone", &before, |entry| entry.is_none())
        .await;
    assert_eq!(
        stage.writes(mark),
        ["CreateAccessEntry", "DeleteAccessEntry"]
    );
    assert!(stage.entry(&after).is_some());
}

/// An entry that lost its tags is known by what the mapping's status says.
async fn lost_tags_are_not_lost_ownership(stage: &mut Stage) {
    let same = stage.establish("same", json!({})).await;
    let deleted = stage.establish("deleted", json!({})).await;
    let changed = stage.establish("changed", json!({})).await;
    stage.stop().await;
    for arn in [&same, &deleted, &changed] {
        stage.untag_by_hand(arn);
    }
    stage.by_hand(
        "UpdateAccessEntry",
        json!({ "principalArn": changed, "username": "mallory", "kubernetesGroups": ["x"] }),
    );
    stage.cluster.delete("deleted").await;
    let mark = stage.mark();
    stage.start(&NO_TIMER).await;
    stage.cluster.gone("deleted").await;
    assert!(stage.entry(&deleted).is_none());
    eventually("the tags are back", PATIENT, async || {
        let writes = stage.writes_about(&same, mark);
        if writes == ["TagResource"] {
            Ok(())
        } else {
            Err(writes)
        }
    })
    .await;
    stage.cluster.ready("same").await;
    // What differs from what was written is somebody's, whoever's.
    let seen = stage
        .until("changed", "Ready", "False UnmanagedEntry")
        .await;
    assert!(seen.message.contains("mallory"), "{seen:?}");
    stage.delete(&["changed"]);
    assert_eq!(stage.entry(&changed).unwrap().username, "mallory");
    let note = stage.cluster.note("EntryKept", "changed").await;
    assert!(note.contains(&changed), "{note}");
    assert_eq!(stage.writes_about(&changed, mark), NONE);
}

/// An entry of ours that no mapping names stays until the history says otherwise.
async fn orphans_stay_until_a_person_confirms(stage: &mut Stage) {
    let arn = stage.establish("orphan", json!({})).await;
    stage.stop().await;
    stage
        .cluster
        .change("orphan", json!({ "metadata": { "finalizers": null } }))
        .await;
    stage.cluster.delete("orphan").await;
    stage.cluster.gone("orphan").await;
    let mark = stage.mark();
    stage.start(&NO_TIMER).await;
    let note = stage.cluster.note("OrphanedEntries", "aws-auth").await;
    assert!(note.contains("role/orphan"), "{note}");
    stage.fence("after-orphan").await;
    assert_eq!(stage.writes_about(&arn, mark), NONE);
    // The command that the event gives, as it stands.
    let (_, command) = note.split_once("kubectl ").expect("a command");
    let (command, _) = command.split_once(". ").expect("the end of a sentence");
    let command: Vec<&str> = command.split(' ').collect();
    stage.cluster.kubectl_ok(&command, None);
    stage
        .entry_until("the orphan is gone", &arn, |entry| entry.is_none())
        .await;
}

#[tokio::test]
async fn beside_aws_auth() {
    let stage = Stage::new(Mode::ApiAndConfigMap, &NO_TIMER).await;
    an_unmanaged_entry_of_aws_auth_is_adopted_or_a_conflict(&stage).await;
    nodes_of_aws_auth_get_no_standard_entry(&stage).await;
    a_removal_reports_what_aws_auth_still_grants(&stage).await;
}

/// An access entry would win over what aws-auth says, so what stands there is adopted there or refused.
async fn an_unmanaged_entry_of_aws_auth_is_adopted_or_a_conflict(stage: &Stage) {
    let text = format!(
        "{FOREIGN}- {{rolearn: '{}', username: x, groups: [team]}}\n- {{rolearn: '{}', username: x, groups: [ops]}}\n",
        role("identical"),
        role("different")
    );
    stage.cluster.write_text("eksctl", "mapRoles", &text).await;
    let mark = stage.mark();
    let identical = stage
        .establish("identical", json!({ "username": "x" }))
        .await;
    let different = stage.declare("different", json!({ "username": "x" })).await;
    let seen = stage
        .cluster
        .until("different", "Ready", "False UnmanagedEntry")
        .await;
    assert!(seen.message.contains("mapRoles line"), "{seen:?}");
    stage.fence("after-foreign").await;
    for arn in [identical, different] {
        assert_eq!(stage.writes_about(&arn, mark), NONE);
    }
    assert_eq!(stage.cluster.roles().await, text);
    stage.delete(&["different", "identical"]);
}

/// An entry of type Standard would take running nodes out of the cluster.
async fn nodes_of_aws_auth_get_no_standard_entry(stage: &Stage) {
    let mark = stage.mark();
    for backend in ["Auto", "AccessEntry"] {
        let spec = json!({ "backend": backend, "adoption": "Always" });
        let arn = stage.declare("nodes", spec).await;
        eventually("it is not ready", SOON, async || {
            let object = stage.object("nodes").await;
            let seen = crate::support::mappings::condition(&object, "Ready");
            match seen {
                Some(seen) if seen.status == "False" && seen.reason != "FinalizerPending" => {
                    Ok(seen)
                }
                _ => Err(object.status),
            }
        })
        .await;
        stage
            .fence(&format!("after-nodes-{}", backend.to_lowercase()))
            .await;
        assert_eq!(stage.writes_about(&arn, mark), NONE, "{backend}");
        assert!(
            stage
                .cluster
                .roles()
                .await
                .contains("system:node:{{EC2PrivateDNSName}}")
        );
        stage.delete(&["nodes"]);
    }
}

/// Deleting an entry uncovers aws-auth, and nothing says then that the access has ended.
async fn a_removal_reports_what_aws_auth_still_grants(stage: &Stage) {
    let arn = stage.establish("covered", json!({})).await;
    let text = stage.cluster.roles().await;
    let text = format!("{text}- {{rolearn: '{arn}', username: back, groups: [door]}}\n");
    stage.cluster.write_text("eksctl", "mapRoles", &text).await;
    stage.fence("after-covered").await;
    stage.cluster.ready("covered").await;
    stage.delete(&["covered"]);
    assert!(stage.entry(&arn).is_none());
    let note = stage.cluster.note("StillGranted", "covered").await;
    assert!(note.contains("still grants the principal access"), "{note}");
}
