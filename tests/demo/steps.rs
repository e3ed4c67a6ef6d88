//! The steps, in order. Each does one thing and fails where something else comes of it than it should.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::FutureExt as _;
use futures::future::{LocalBoxFuture, ready};
use identity_mapper::api::condition::{ConditionType, Reason};
use jiff::{SignedDuration, Timestamp};

use crate::screen::{self, spoken};
use crate::stage::{Data, Stage, compare, manifest, read};
use crate::support::audit::Requests;

/// One step.
pub(crate) struct Step {
    pub(crate) title: &'static str,
    /// What happens, in one sentence.
    pub(crate) what: &'static str,
    pub(crate) act: for<'a> fn(&'a mut Stage) -> LocalBoxFuture<'a, Result<()>>,
}

/// Those of the first half, on aws-auth.
pub(crate) const STEPS: &[Step] = &[
    Step {
        title: "aws-auth today",
        what: "It has a node role, an entry that someone added by hand, and comments.",
        act: |stage| ready(aws_auth_today(stage)).boxed_local(),
    },
    Step {
        title: "The operator starts",
        what: "It runs as its own ServiceAccount. Nothing is declared yet, so it writes nothing.",
        act: |stage| operator_starts(stage).boxed_local(),
    },
    Step {
        title: "A role is declared",
        what: "The mapping names an SSO role by the ARN that IAM shows, with path and region. The authenticator sees roles without their path, so the operator writes the ARN to aws-auth without it. Then alice logs in with the role.",
        act: |stage| role_is_declared(stage).boxed_local(),
    },
    Step {
        title: "A user is declared",
        what: "The authenticator matches users with their path, so the path stays. The mapping declares no username, so the user gets the default username of EKS.",
        act: |stage| user_is_declared(stage).boxed_local(),
    },
    Step {
        title: "A mistake that the API server refuses",
        what: "The ARN of a session, as `aws sts get-caller-identity` prints it, never matches a login.",
        act: |stage| ready(mistake_is_refused(stage)).boxed_local(),
    },
    Step {
        title: "A conflict with an existing entry",
        what: "aws-auth already has an entry for the role, added by hand with other groups. The operator leaves it unchanged, and the mapping's status says why.",
        act: |stage| conflict_is_reported(stage).boxed_local(),
    },
    Step {
        title: "A script changes aws-auth",
        what: "The script gives the admins system:masters, removes the deployer, and adds an entry. The operator repairs the two managed entries; the unmanaged entry stays.",
        act: |stage| vandalism_is_repaired(stage).boxed_local(),
    },
    Step {
        title: "A mapping is deleted",
        what: "kubectl returns once the entry is removed. New logins of this role are refused; other roles keep their access.",
        act: |stage| mapping_is_deleted(stage).boxed_local(),
    },
    Step {
        title: "Someone breaks the YAML",
        what: "With one unquoted {{SessionName}} the authenticator drops all of mapRoles, including the nodes. The operator restores the last valid text.",
        act: |stage| broken_text_is_restored(stage).boxed_local(),
    },
    Step {
        title: "Someone deletes aws-auth",
        what: "Everyone is locked out. The operator restores it byte for byte, with unmanaged entries and comments.",
        act: |stage| deleted_config_map_is_restored(stage).boxed_local(),
    },
    Step {
        title: "Access with an end",
        what: "The mapping has a validUntil a few seconds ahead. The operator then removes the entry; the mapping stays, with state Expired.",
        act: |stage| access_ends_by_itself(stage).boxed_local(),
    },
    Step {
        title: "Half-time",
        what: "The state of all mappings so far, and the writes that the operator needed.",
        act: |stage| half_time(stage).boxed_local(),
    },
];

pub(crate) const ROLES: &str = "mapRoles";
const USERS: &str = "mapUsers";
const SSO_ROLE: &str =
    "\"arn:aws:iam::111122223333:role/AWSReservedSSO_PlatformAdmins_0123456789abcdef\"";
const USER: &str = "\"arn:aws:iam::111122223333:user/ci/deployer\"";
const ON_CALL: &str = "\"arn:aws:iam::444455556666:role/OnCall\"";
/// The commands ask no AWS here.
const WITHOUT_AWS: &str = "--mode=CONFIG_MAP";
const ACCESS_PAGE: &str = "target/access.html";
/// Who kubectl is in the audit log.
const ADMIN: &str = "admin";

fn aws_auth_today(stage: &Stage) -> Result<()> {
    stage.apply("aws-auth")?;
    // So that the group of the first mapping is bound, and that of the second is not.
    stage.quietly(
        &[
            "create",
            "clusterrolebinding",
            "platform-admins",
            "--clusterrole=view",
            "--group=platform-admins",
        ],
        "",
    )?;
    stage.identity_mapper(&["lint", WITHOUT_AWS], 0)
}

async fn operator_starts(stage: &mut Stage) -> Result<()> {
    let before = stage.aws_auth().await?;
    stage.start_operator().await?;
    let writes = stage.writes().count().await;
    ensure!(
        writes == 0 && stage.aws_auth().await? == before,
        "the operator wrote aws-auth {writes} times at its start"
    );
    screen::done("ready, with no write of aws-auth");
    Ok(())
}

async fn role_is_declared(stage: &mut Stage) -> Result<()> {
    let before = stage.aws_auth().await?;
    let file = manifest("platform-admins");
    stage.identity_mapper(&["plan", "-f", &file, WITHOUT_AWS], 0)?;
    let mark = stage.audit.mark().await;
    stage.apply("platform-admins")?;
    let after = stage
        .written(&before, "the role is in aws-auth", |data| {
            holds(data, ROLES, SSO_ROLE)
        })
        .await?;
    ensure!(
        after[ROLES].starts_with(&before[ROLES]),
        "unmanaged bytes changed:\n{}",
        after[ROLES]
    );
    stage
        .condition(
            "platform-admins",
            ConditionType::Ready,
            "True",
            Reason::InEffect,
        )
        .await?;
    let took = stage
        .reaction(mark, mapping(stage, "platform-admins"))
        .await?;
    screen::done(&format!(
        "written {} after kubectl's request, and no unmanaged byte changed",
        spoken(took)
    ));
    let alice = stage.amazon.alice();
    stage.gets_in("alice", &alice, "admin:alice").await?;
    screen::done("the real aws-iam-authenticator accepts alice's STS token");
    Ok(())
}

async fn user_is_declared(stage: &mut Stage) -> Result<()> {
    let before = stage.aws_auth().await?;
    let file = manifest("deployer");
    stage.identity_mapper(&["plan", "-f", &file, WITHOUT_AWS], 0)?;
    let mark = stage.audit.mark().await;
    stage.apply("deployer")?;
    stage
        .written(&before, "the user is in aws-auth", |data| {
            holds(data, USERS, USER)
        })
        .await?;
    stage
        .condition("deployer", ConditionType::Ready, "True", Reason::InEffect)
        .await?;
    let warning = stage
        .condition(
            "deployer",
            ConditionType::GroupsBound,
            "False",
            Reason::GroupsUnbound,
        )
        .await?;
    ensure!(
        warning.contains("deployers"),
        "the warning does not name the group: {warning}"
    );
    let took = stage.reaction(mark, mapping(stage, "deployer")).await?;
    screen::done(&format!("written {} after kubectl's request", spoken(took)));
    let deployer = stage.amazon.deployer()?;
    stage.gets_in("deployer", &deployer, &deployer.arn).await
}

fn mistake_is_refused(stage: &Stage) -> Result<()> {
    let words = stage.kubectl_refused(&["apply", "-f", &manifest("developers")])?;
    let mend = "write arn:aws:iam::111122223333:role/Developers";
    ensure!(
        words.contains(mend),
        "the refusal does not say {mend:?}: {words}"
    );
    screen::done("refused, with the ARN to write instead");
    Ok(())
}

async fn conflict_is_reported(stage: &mut Stage) -> Result<()> {
    let before = stage.aws_auth().await?;
    let file = manifest("break-glass");
    stage.identity_mapper(&["plan", "-f", &file, WITHOUT_AWS], 1)?;
    let mark = stage.audit.mark().await;
    stage.apply("break-glass")?;
    stage
        .condition(
            "break-glass",
            ConditionType::Ready,
            "False",
            Reason::UnmanagedEntry,
        )
        .await?;
    ensure!(stage.aws_auth().await? == before, "aws-auth changed");
    ensure!(
        stage.writes().since(mark).count().await == 0,
        "the operator wrote aws-auth"
    );
    screen::done("aws-auth was not written");
    stage.identity_mapper(
        &[
            "explain",
            "arn:aws:iam::111122223333:role/BreakGlass",
            WITHOUT_AWS,
        ],
        0,
    )?;
    stage.quietly(&["delete", "identitymapping", "break-glass"], "")?;
    Ok(())
}

async fn vandalism_is_repaired(stage: &mut Stage) -> Result<()> {
    let before = stage.aws_auth().await?;
    let visitor = "- rolearn: arn:aws:iam::444455556666:role/Visitor\n  username: visitor\n";
    let roles = format!(
        "{}{visitor}",
        before[ROLES].replace("\"platform-admins\"", "system:masters")
    );
    let mark = stage.audit.mark().await;
    stage
        .overwrite("nightly-script", &[(ROLES, roles), (USERS, String::new())])
        .await?;
    let repaired = |data: &Data| {
        data[ROLES] == format!("{}{visitor}", before[ROLES]) && holds(data, USERS, USER)
    };
    stage
        .put_right(&before, "both entries are as declared", repaired)
        .await?;
    for name in ["platform-admins", "deployer"] {
        let note = stage.event(name, Reason::DriftRepaired).await?;
        ensure!(
            note.contains("nightly-script"),
            "the event does not name the field manager: {note}"
        );
    }
    let took = stage.reaction(mark, others(stage)).await?;
    screen::done(&format!(
        "repaired {} after the script's request",
        spoken(took)
    ));
    Ok(())
}

async fn mapping_is_deleted(stage: &mut Stage) -> Result<()> {
    let before = stage.aws_auth().await?;
    let mark = stage.audit.mark().await;
    stage.kubectl(&["delete", "identitymapping", "deployer"])?;
    stage.gone("deployer").await?;
    let after = stage.aws_auth().await?;
    ensure!(
        !holds(&after, USERS, USER),
        "the entry still exists:\n{}",
        after[USERS]
    );
    compare("in aws-auth,", &before, &after);
    let took = stage
        .reaction(mark, mapping(stage, "deployer").verbs(&["delete"]))
        .await?;
    screen::done(&format!("removed {} after kubectl's request", spoken(took)));
    let (alice, deployer) = (stage.amazon.alice(), stage.amazon.deployer()?);
    stage.is_kept_out("deployer", &deployer).await?;
    stage.gets_in("alice", &alice, "admin:alice").await?;
    Ok(())
}

async fn broken_text_is_restored(stage: &mut Stage) -> Result<()> {
    let before = stage.aws_auth().await?;
    let entry =
        "- rolearn: arn:aws:iam::111122223333:role/Developers\n  username: {{SessionName}}\n";
    let mark = stage.audit.mark().await;
    stage
        .overwrite(
            "kubectl-edit",
            &[(ROLES, format!("{}{entry}", before[ROLES]))],
        )
        .await?;
    stage
        .put_right(&before, "the last good text is restored", |data| {
            *data == before
        })
        .await?;
    let note = stage.event("aws-auth", Reason::InvalidYAMLRepaired).await?;
    ensure!(
        note.contains("line 16") && note.contains("{SessionName}}"),
        "the event does not name the place: {note}"
    );
    let took = stage.reaction(mark, others(stage)).await?;
    screen::done(&format!("restored {} after the edit", spoken(took)));
    Ok(())
}

async fn deleted_config_map_is_restored(stage: &mut Stage) -> Result<()> {
    let before = stage.aws_auth().await?;
    let mark = stage.audit.mark().await;
    stage.kubectl(&["delete", "configmap", "aws-auth", "-n", "kube-system"])?;
    stage
        .put_right(&before, "aws-auth is as before", |data| *data == before)
        .await?;
    stage.event("aws-auth", Reason::ConfigMapRestored).await?;
    let took = stage.reaction(mark, others(stage)).await?;
    screen::done(&format!(
        "restored {} after the deletion, byte for byte",
        spoken(took)
    ));
    Ok(())
}

async fn access_ends_by_itself(stage: &mut Stage) -> Result<()> {
    let before = stage.aws_auth().await?;
    // Whole seconds, as the API has them.
    let until = Timestamp::from_second(Timestamp::now().as_second() + 6)?;
    let text = read("on-call")?.replace("@IN_A_MOMENT@", &until.to_string());
    screen::file("on-call.yaml", &text);
    screen::command("kubectl apply -f on-call.yaml");
    let printed = stage.quietly(&["apply", "-f", "-"], &text)?;
    screen::output(&printed);
    let during = stage
        .written(&before, "the role is in aws-auth", |data| {
            holds(data, ROLES, ON_CALL)
        })
        .await?;
    stage
        .condition("on-call", ConditionType::Ready, "True", Reason::InEffect)
        .await?;
    let mark = stage.audit.mark().await;
    stage
        .written(&during, "the entry is gone", |data| *data == before)
        .await?;
    stage
        .condition("on-call", ConditionType::Ready, "True", Reason::Expired)
        .await?;
    let records = stage.writes().since(mark).records().await;
    let written: Timestamp = records
        .first()
        .context("the operator did not write")?
        .stage_timestamp
        .parse()?;
    let late = written.duration_since(until);
    ensure!(
        !late.is_negative() && late < SignedDuration::from_secs(2),
        "removed at {written}, valid until {until}"
    );
    screen::done(&format!(
        "removed {} after validUntil",
        spoken(Duration::try_from(late)?)
    ));
    Ok(())
}

async fn half_time(stage: &mut Stage) -> Result<()> {
    stage.kubectl(&["wait", "identitymappings", "--all", "--for=condition=Ready"])?;
    stage.kubectl(&["get", "idmap"])?;
    stage.kubectl(&["get", "configmap", "aws-auth-history", "-n", "kube-system"])?;
    stage.identity_mapper(&["access", WITHOUT_AWS], 0)?;
    stage.identity_mapper_to(&["access", WITHOUT_AWS, "-o", "html"], ACCESS_PAGE)?;
    screen::done("the same as a page for auditors: open it in a browser");
    screen::done(
        "every mapping is active, and aws-auth-history has a copy of aws-auth from before each write",
    );
    let made = stage.writes().count().await;
    ensure!(
        made == 8,
        "8 writes of aws-auth were expected, {made} were made"
    );
    screen::done(
        "8 writes of aws-auth: one for each added or removed mapping, one for each repair",
    );
    Ok(())
}

pub(crate) fn holds(data: &Data, key: &str, text: &str) -> bool {
    data.get(key).is_some_and(|found| found.contains(text))
}

/// What the administrator did to this mapping.
fn mapping(stage: &Stage, name: &str) -> Requests {
    stage.audit.writes("identitymappings").of(name).by(ADMIN)
}

/// What the administrator did to aws-auth.
fn others(stage: &Stage) -> Requests {
    stage.audit.writes("configmaps").of("aws-auth").by(ADMIN)
}
