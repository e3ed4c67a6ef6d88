//! The steps of the second half: from aws-auth to access entries. Each does one thing and fails where something else comes of
//! it than it should.

use anyhow::{Context as _, Result, ensure};
use futures::FutureExt as _;
use identity_mapper::api::condition::{ConditionType, Reason};
use serde_json::json;

use crate::amazon::{ACCOUNT, Entries, SSO, words};
use crate::screen::{self, spoken};
use crate::stage::Stage;
use crate::steps::{ROLES, Step, holds};
use crate::support::eks::Mark;

/// All of the second half.
pub(crate) const STEPS: &[Step] = &[
    Step {
        title: "The operator connects to EKS",
        what: "A stand-in answers as EKS, IAM and SQS do. The operator verifies by the certificate authority that this API server is the EKS cluster. In mode CONFIG_MAP only aws-auth counts.",
        act: |stage| operator_meets_aws(stage).boxed_local(),
    },
    Step {
        title: "A permission set is declared",
        what: "IAM Identity Center adds a random suffix to the role of a permission set. The operator finds the role in IAM, and does not confuse DataTeam with DataTeam_Leads.",
        act: |stage| permission_set_is_resolved(stage).boxed_local(),
    },
    Step {
        title: "An existing entry is adopted",
        what: "The mapping declares exactly what the unmanaged entry grants. The operator manages the entry from now on, without changing its text.",
        act: |stage| unmanaged_entry_is_adopted(stage).boxed_local(),
    },
    Step {
        title: "The authentication mode changes",
        what: "From now on access entries take precedence over aws-auth. EKS creates two of its own. The change moves no mapping.",
        act: |stage| mode_is_switched(stage).boxed_local(),
    },
    Step {
        title: "A new role goes straight to an access entry",
        what: "It gets its access policies too. aws-auth does not change.",
        act: |stage| new_role_is_an_entry(stage).boxed_local(),
    },
    Step {
        title: "The handover",
        what: "One setting hands over all mappings that can be: the operator creates their access entries and keeps the aws-auth copies as a fallback for the soak (60 s here, 24 h by default).",
        act: |stage| mappings_are_handed_over(stage).boxed_local(),
    },
    Step {
        title: "Handing over an administrator",
        what: "CreateAccessEntry takes no policies, so an administrator would briefly lose all permissions. A temporary ClusterRoleBinding of the bridge group prevents that.",
        act: |stage| administrator_is_handed_over(stage).boxed_local(),
    },
    Step {
        title: "Someone edits an access entry in the console",
        what: "The edit makes the platform admins administrators of the whole cluster. The queue reports the change and who made it.",
        act: |stage| console_edit_is_put_right(stage).boxed_local(),
    },
    Step {
        title: "A role is deleted and recreated",
        what: "Its access entry looks right but grants no access, because EKS identifies principals by their ID. A person has to confirm that the new role may have the access.",
        act: |stage| recreated_role_is_reported(stage).boxed_local(),
    },
    Step {
        title: "A mapping with an access entry is deleted",
        what: "alice now logs in through the access entry of the platform admins. The operator removes the entry and its aws-auth copy.",
        act: |stage| mapping_with_an_entry_is_deleted(stage).boxed_local(),
    },
    Step {
        title: "Result",
        what: "The state of all mappings, and the calls that the operator needed.",
        act: |stage| in_the_end(stage).boxed_local(),
    },
];

const BREAK_GLASS: &str = "arn:aws:iam::111122223333:role/BreakGlass";
const AUDITOR: &str = "arn:aws:iam::111122223333:role/compliance/Auditor";
const BRIDGE: &str = "identity-mapper:bridge";

fn sso_role(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role{SSO}{name}")
}

fn platform_admins() -> String {
    sso_role("AWSReservedSSO_PlatformAdmins_0123456789abcdef")
}

fn data_team() -> String {
    sso_role("AWSReservedSSO_DataTeam_2222222222222222")
}

async fn operator_meets_aws(stage: &mut Stage) -> Result<()> {
    let before = stage.aws_auth().await?;
    let mark = stage.audit.mark().await;
    stage.restart_with_eks().await?;
    stage.mode_is("CONFIG_MAP").await?;
    ensure!(
        stage.writes().since(mark).count().await == 0 && stage.aws_auth().await? == before,
        "the operator wrote aws-auth"
    );
    let changed = stage.changes(Mark::START);
    ensure!(changed.is_empty(), "the operator made {}", words(&changed));
    screen::done("ready: the mode is read and the cluster verified; nothing was written");
    Ok(())
}

async fn permission_set_is_resolved(stage: &mut Stage) -> Result<()> {
    let before = stage.aws_auth().await?;
    stage.apply("data-team")?;
    let role = "role/AWSReservedSSO_DataTeam_2222222222222222\"";
    let after = stage
        .written(&before, "the set's role is in aws-auth", |data| {
            holds(data, ROLES, role)
        })
        .await?;
    ensure!(!holds(&after, ROLES, "Leads"), "{}", after[ROLES]);
    stage
        .condition("data-team", ConditionType::Ready, "True", Reason::InEffect)
        .await?;
    stage.kubectl(&[
        "get",
        "identitymapping",
        "data-team",
        "-o",
        "jsonpath={.status.principalArn}",
    ])?;
    screen::done("resolved, and written without the path, as the authenticator sees it");
    Ok(())
}

async fn unmanaged_entry_is_adopted(stage: &mut Stage) -> Result<()> {
    let before = stage.aws_auth().await?;
    stage.apply("break-glass-unchanged")?;
    stage
        .condition("break-glass", ConditionType::Synced, "True", Reason::Synced)
        .await?;
    ensure!(stage.aws_auth().await? == before, "aws-auth changed");
    screen::done("marked as managed in an annotation; the text of aws-auth is unchanged");
    Ok(())
}

async fn mode_is_switched(stage: &mut Stage) -> Result<()> {
    let text = stage.aws_auth().await?;
    let before = stage.entries();
    let mark = stage.calls();
    stage.aws(
        "update-cluster-config --name demo --access-config authenticationMode=API_AND_CONFIG_MAP",
        "UpdateClusterConfig",
        json!({"name": "demo", "accessConfig": {"authenticationMode": "API_AND_CONFIG_MAP"}}),
    )?;
    let entries = stage
        .entries_become(&before, "EKS has created its own entries", |entries| {
            entries.len() == 2
        })
        .await?;
    stage.mode_is("API_AND_CONFIG_MAP").await?;
    // From here on nobody may lose anything, not for a moment.
    for (name, role) in [
        ("platform-admins", platform_admins()),
        ("data-team", data_team()),
        ("break-glass", BREAK_GLASS.to_owned()),
    ] {
        stage.keep(name, &role, "someone").await?;
    }
    stage.kubectl(&["wait", "identitymappings", "--all", "--for=condition=Ready"])?;
    let changed = stage.changes(mark);
    ensure!(
        changed.is_empty() && stage.entries() == entries && stage.aws_auth().await? == text,
        "the operator made {}",
        words(&changed)
    );
    screen::done("the operator read the new mode and moved no mapping");
    Ok(())
}

async fn new_role_is_an_entry(stage: &mut Stage) -> Result<()> {
    let (text, before) = (stage.aws_auth().await?, stage.entries());
    let mark = stage.calls();
    stage.apply("auditor")?;
    stage
        .entries_become(&before, "the auditor has both policies", |entries| {
            entries
                .get(AUDITOR)
                .is_some_and(|entry| entry.policies.len() == 2)
        })
        .await?;
    stage
        .condition("auditor", ConditionType::Ready, "True", Reason::InEffect)
        .await?;
    ensure!(stage.aws_auth().await? == text, "aws-auth changed");
    let made = words(&stage.changes(mark));
    ensure!(
        made == "CreateAccessEntry, AssociateAccessPolicy, AssociateAccessPolicy",
        "the calls were {made}"
    );
    screen::done(&format!("three calls: {made}"));
    Ok(())
}

async fn mappings_are_handed_over(stage: &mut Stage) -> Result<()> {
    let (text, before) = (stage.aws_auth().await?, stage.entries());
    let handed = [platform_admins(), data_team()];
    stage.kubectl(&[
        "annotate",
        "configmap",
        "aws-auth-history",
        "-n",
        "kube-system",
        "identity-mapper.dev/handover=Auto",
        "--overwrite",
    ])?;
    let after = stage
        .entries_become(&before, "both SSO roles have entries", |entries| {
            handed.iter().all(|arn| entries.contains_key(arn))
        })
        .await?;
    for name in ["platform-admins", "data-team"] {
        stage
            .condition(name, ConditionType::Ready, "True", Reason::InEffect)
            .await?;
    }
    let soaks = stage
        .message_holds("platform-admins", ConditionType::Synced, "aws-auth")
        .await?;
    screen::says("platform-admins: Synced=True", &soaks);
    ensure!(
        stage.aws_auth().await? == text,
        "the aws-auth copies changed"
    );
    let waits = stage
        .condition(
            "break-glass",
            ConditionType::Synced,
            "False",
            Reason::HandoverBlocked,
        )
        .await?;
    ensure!(
        waits.contains(BRIDGE) && !after.contains_key(BREAK_GLASS),
        "the administrator does not wait for the bridge: {waits}"
    );
    screen::done(
        "two are handed over; the administrator stays in aws-auth, and its status says what is missing",
    );
    Ok(())
}

async fn administrator_is_handed_over(stage: &mut Stage) -> Result<()> {
    let before = stage.entries();
    let mark = stage.calls();
    stage.apply("bridge")?;
    let bridged = stage
        .entries_become(&before, "the administrator has the policy", |entries| {
            entries
                .get(BREAK_GLASS)
                .is_some_and(|entry| !entry.policies.is_empty())
        })
        .await?;
    let groups = &bridged[BREAK_GLASS].groups;
    ensure!(*groups == [BRIDGE], "the entry's groups are {groups:?}");
    screen::done(
        "the policy is associated while the temporary binding grants access; the operator waits for its propagation (2 s here, 30 s by default)",
    );
    stage
        .entries_become(
            &bridged,
            "the bridge group is removed from the entry",
            |entries| {
                entries
                    .get(BREAK_GLASS)
                    .is_some_and(|entry| entry.groups.is_empty())
            },
        )
        .await?;
    stage
        .condition(
            "break-glass",
            ConditionType::Ready,
            "True",
            Reason::InEffect,
        )
        .await?;
    let made = words(&stage.changes(mark));
    ensure!(
        made == "CreateAccessEntry, AssociateAccessPolicy, UpdateAccessEntry",
        "the calls were {made}"
    );
    stage.kubectl(&["delete", "clusterrolebinding", "identity-mapper-bridge"])?;
    let looks = stage.nobody_lost().await?;
    screen::done(&format!(
        "three calls: {made}. No one lost permissions at any moment: they were checked at each change, {looks} times so far"
    ));
    Ok(())
}

async fn console_edit_is_put_right(stage: &mut Stage) -> Result<()> {
    let before = stage.entries();
    let mark = stage.calls();
    let arn = platform_admins();
    let policy = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy";
    stage.aws(
        "associate-access-policy --cluster-name demo --principal-arn … --policy-arn …/AmazonEKSClusterAdminPolicy --access-scope type=cluster",
        "AssociateAccessPolicy",
        json!({"principalArn": arn, "policyArn": policy, "accessScope": {"type": "cluster"}}),
    )?;
    let right = |entries: &Entries| entries.get(&arn) == before.get(&arn);
    let what = "the entry is as declared";
    let edited = stage.entries();
    stage.entries_become(&edited, what, right).await?;
    let note = stage
        .event("platform-admins", Reason::DriftRepaired)
        .await?;
    ensure!(
        note.contains("assumed-role/Console/alice"),
        "the event does not name the caller: {note}"
    );
    let took = stage.answered(mark)?;
    screen::done(&format!("repaired {} after the edit", spoken(took)));
    Ok(())
}

async fn recreated_role_is_reported(stage: &mut Stage) -> Result<()> {
    let old = stage.principal(AUDITOR)?;
    screen::command("aws iam delete-role --role-name Auditor");
    screen::command("aws iam create-role --role-name Auditor --path /compliance/ …");
    stage.recreate(AUDITOR);
    let new = stage.principal(AUDITOR)?;
    let message = stage
        .condition(
            "auditor",
            ConditionType::Ready,
            "False",
            Reason::PrincipalRecreated,
        )
        .await?;
    ensure!(
        message.contains(&old) && message.contains(&new),
        "the message does not name both ids, {old} and {new}: {message}"
    );
    let before = stage.entries();
    stage.kubectl(&[
        "annotate",
        "identitymapping",
        "auditor",
        "identity-mapper.dev/confirm=recreated-principal",
    ])?;
    stage
        .condition("auditor", ConditionType::Ready, "True", Reason::InEffect)
        .await?;
    let entry = stage.entries().remove(AUDITOR);
    let entry = entry.context("the entry exists")?;
    ensure!(
        entry.principal_id.as_deref() == Some(new.as_str())
            && entry.policies.keys().eq(before[AUDITOR].policies.keys()),
        "the entry is not the new role's: {entry:#?}"
    );
    screen::done("recreated for the new role, with the same policies");
    Ok(())
}

async fn mapping_with_an_entry_is_deleted(stage: &mut Stage) -> Result<()> {
    let before = stage.entries();
    let alice = stage.amazon.alice();
    stage.gets_in("alice", &alice, "admin:alice").await?;
    stage.amazon.allow_loss("platform-admins");
    stage.kubectl(&["delete", "identitymapping", "platform-admins"])?;
    stage.gone("platform-admins").await?;
    let arn = platform_admins();
    let gone = |entries: &Entries| !entries.contains_key(&arn);
    let what = "the access entry is gone";
    stage.entries_become(&before, what, gone).await?;
    let text = stage.aws_auth().await?;
    ensure!(!holds(&text, ROLES, "PlatformAdmins"), "{}", text[ROLES]);
    stage.is_kept_out("alice", &alice).await?;
    screen::done("a new login is refused, and no entry grants her access any more");
    Ok(())
}

async fn in_the_end(stage: &mut Stage) -> Result<()> {
    stage.kubectl(&[
        "get",
        "identitymappings",
        "-o",
        "custom-columns=NAME:.metadata.name,USERNAME:.status.username,BACKEND:.status.backend",
    ])?;
    let waiting = ["wait", "identitymappings", "--all", "--for=condition=Ready"];
    stage.quietly(&waiting, "")?;
    let looks = stage.nobody_lost().await?;
    screen::done(&format!(
        "every mapping is active, and in {looks} checks no one ever lost permissions"
    ));
    let counts = stage.counts();
    screen::done(&format!("all calls of the operator to EKS: {counts}"));
    Ok(())
}
