//! What a process is at when it dies.

use identity_mapper::plan::PING_ANNOTATION;
use serde_json::{Value, json};

use super::site::{PACE, Stage, VERY_QUIET, with_entry};
use crate::scenarios::time::ahead;
use crate::support::eks::Mode;
use crate::support::mappings::{FOREIGN, role};

/// The command that gives up ownership.
const RELEASE: [&str; 3] = ["release", "--yes", "--cluster-name=test"];

/// Who dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// The operator, which runs while people do something.
    Operator,
    /// The operator, which starts after people did something.
    Start,
    /// A command, which is run again.
    Command,
}

/// One of the things that a process may be at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scenario {
    // In aws-auth.
    Started,
    Granted,
    Created,
    Changed,
    Revoked,
    Repaired,
    MarkLost,
    Adopted,
    Suspended,
    Retained,
    Expired,
    Many,
    Pinged,
    // In the Lease.
    Elected,
    // In access entries.
    EntryGranted,
    EntryChanged,
    EntryTypeChanged,
    EntryRevoked,
    EntryRepaired,
    EntryAdopted,
    EntryRetained,
    EntryMoved,
    EntryRecreated,
    // Between the two.
    Made,
    MadeForAdministrators,
    Broken,
    WentBack,
    Reverted,
    BothDeleted,
    ModeChanged,
    // Commands.
    RolledBack,
    RolledBackToNothing,
    Fixed,
    Released,
    Resumed,
    MigratedThere,
    MigratedOn,
    MigratedBack,
    Imported,
}

impl Scenario {
    pub(super) const IN_AWS_AUTH: [Self; 13] = [
        Self::Started,
        Self::Granted,
        Self::Created,
        Self::Changed,
        Self::Revoked,
        Self::Repaired,
        Self::MarkLost,
        Self::Adopted,
        Self::Suspended,
        Self::Retained,
        Self::Expired,
        Self::Many,
        Self::Pinged,
    ];
    pub(super) const IN_THE_LEASE: [Self; 1] = [Self::Elected];
    pub(super) const IN_ACCESS_ENTRIES: [Self; 9] = [
        Self::EntryGranted,
        Self::EntryChanged,
        Self::EntryRevoked,
        Self::EntryTypeChanged,
        Self::EntryRepaired,
        Self::EntryAdopted,
        Self::EntryRetained,
        Self::EntryMoved,
        Self::EntryRecreated,
    ];
    pub(super) const FORTH: [Self; 4] = [
        Self::Made,
        Self::MadeForAdministrators,
        Self::Broken,
        Self::ModeChanged,
    ];
    pub(super) const BACK: [Self; 3] = [Self::WentBack, Self::Reverted, Self::BothDeleted];
    pub(super) const OF_COMMANDS: [Self; 5] = [
        Self::RolledBack,
        Self::RolledBackToNothing,
        Self::Fixed,
        Self::Released,
        Self::Resumed,
    ];
    /// Where no operator is installed: the command does all.
    pub(super) const OF_MIGRATIONS: [Self; 3] =
        [Self::MigratedThere, Self::MigratedOn, Self::MigratedBack];
    /// Where one runs beside the command: both die.
    pub(super) const OF_BOTH: [Self; 1] = [Self::Imported];

    /// All of them.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let operator = Self::IN_AWS_AUTH.into_iter().chain(Self::IN_THE_LEASE);
        let operator = operator.chain(Self::IN_ACCESS_ENTRIES);
        let operator = operator.chain(Self::FORTH).chain(Self::BACK);
        let operator = operator.chain(Self::OF_COMMANDS);
        operator.chain(Self::OF_MIGRATIONS).chain(Self::OF_BOTH)
    }

    pub(super) fn subject(self) -> Subject {
        match self {
            Self::Started | Self::Elected | Self::Broken | Self::Resumed => Subject::Start,
            Self::Imported => Subject::Command,
            it if Self::OF_COMMANDS.contains(&it) || Self::OF_MIGRATIONS.contains(&it) => {
                Subject::Command
            }
            _ => Subject::Operator,
        }
    }

    /// Whether the operator runs before.
    pub(super) fn is_operated(self) -> bool {
        !matches!(self, Self::Started | Self::Elected | Self::Fixed)
            && !Self::OF_MIGRATIONS.contains(&self)
    }

    pub(super) fn mode(self) -> Mode {
        match self {
            Self::MigratedThere
            | Self::RolledBack
            | Self::RolledBackToNothing
            | Self::Fixed
            | Self::Imported
            | Self::ModeChanged
            | Self::Elected => Mode::ConfigMap,
            it if Self::IN_AWS_AUTH.contains(&it) => Mode::ConfigMap,
            it if Self::IN_ACCESS_ENTRIES.contains(&it) => Mode::Api,
            _ => Mode::ApiAndConfigMap,
        }
    }

    /// What stands in `mapRoles` before.
    pub(super) fn roles(self) -> Option<String> {
        match self {
            Self::Created => None,
            Self::Adopted => Some(with_entry("ben", &json!(["team"]))),
            // Of a role with a path nobody gets in by this.
            Self::Fixed => Some(with_entry("teams/cat", &json!(["team"]))),
            Self::MigratedThere | Self::MigratedOn | Self::MigratedBack | Self::Imported => {
                let root = json!({"rolearn": role("root"), "username": "root", "groups": ["system:masters"]});
                let text = with_entry("ben", &json!(["team"]));
                Some(format!("{text}- {root}\n"))
            }
            it if it.mode() == Mode::Api => None,
            _ => Some(FOREIGN.to_owned()),
        }
    }

    /// Who is declared from before until after, and is to lose nothing at any time. Of an access entry's type the mode API has no change
    /// without a gap.
    pub(super) fn keeps(self) -> &'static [&'static str] {
        match self {
            Self::Created | Self::EntryGranted | Self::RolledBackToNothing => &[],
            Self::Started | Self::Granted | Self::Repaired | Self::Elected | Self::Fixed => {
                &["nodes"]
            }
            Self::Many | Self::Revoked | Self::Expired | Self::Pinged | Self::BothDeleted => {
                &["nodes", "ann"]
            }
            Self::Changed
            | Self::MarkLost
            | Self::Suspended
            | Self::Adopted
            | Self::Retained
            | Self::Made
            | Self::Broken
            | Self::WentBack
            | Self::ModeChanged
            | Self::Released
            | Self::Resumed => &["nodes", "ann", "ben"],
            Self::EntryTypeChanged
            | Self::EntryRevoked
            | Self::EntryRepaired
            | Self::EntryMoved
            | Self::EntryRecreated
            | Self::RolledBack => &["ann"],
            Self::EntryChanged | Self::EntryAdopted | Self::EntryRetained => &["ann", "ben"],
            Self::MadeForAdministrators | Self::Reverted => &["nodes", "ann", "root"],
            Self::MigratedThere | Self::MigratedOn | Self::MigratedBack | Self::Imported => {
                &["nodes", "ben", "root"]
            }
        }
    }

    /// Brings about what was before. The operator runs, unless a command does all.
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub(super) async fn prepare(self, stage: &Stage<'_>) {
        let in_aws_auth = json!({"username": "ben", "backend": "ConfigMap"});
        let ann = ("ann", json!({"username": "ann"}));
        let ben = |spec: &Value| ("ben", spec.clone());
        let masters =
            json!({"username": "root", "groups": ["system:masters"], "backend": "ConfigMap"});
        match self {
            Self::Granted
            | Self::Created
            | Self::Elected
            | Self::EntryGranted
            | Self::Fixed
            | Self::Imported
            | Self::MigratedThere => {}
            Self::Started => {
                let cluster = stage.cluster();
                cluster.declare("ann", ann.1).await;
                cluster.declare("ben", json!({"username": "ben"})).await;
            }
            Self::Repaired => {
                stage
                    .established(&[ann, ben(&json!({"username": "ben"}))])
                    .await;
                // The event of the second time is counted on that of the first.
                self.act(stage).await;
                stage.quiet(VERY_QUIET).await;
            }
            Self::Changed
            | Self::Revoked
            | Self::MarkLost
            | Self::Suspended
            | Self::EntryMoved
            | Self::EntryTypeChanged => {
                stage
                    .established(&[ann, ben(&json!({"username": "ben"}))])
                    .await;
            }
            Self::Many => {
                let cat = ("cat", json!({"username": "cat"}));
                stage
                    .established(&[ann, ben(&json!({"username": "ben"})), cat])
                    .await;
            }
            Self::Adopted | Self::Expired | Self::Pinged => stage.established(&[ann]).await,
            Self::Retained | Self::EntryRetained => {
                let retained = json!({"username": "ben", "deletion": "Retain"});
                stage.established(&[ann, ben(&retained)]).await;
            }
            Self::EntryChanged | Self::EntryRevoked | Self::EntryRepaired => {
                let policies = json!([{"policy": "AmazonEKSViewPolicy"}]);
                let spec = json!({"username": "ben", "accessPolicies": policies});
                stage.established(&[ann, ben(&spec)]).await;
            }
            Self::EntryAdopted => {
                stage.established(&[ann]).await;
                let entry = json!({"principalArn": role("ben"), "username": "ben", "kubernetesGroups": ["team"]});
                stage.eks.by_hand("CreateAccessEntry", entry).unwrap();
            }
            Self::EntryRecreated => {
                stage
                    .established(&[ann, ben(&json!({"username": "ben"}))])
                    .await;
                stage.recreate("ben").await;
            }
            Self::Made => stage.established(&[ann, ben(&in_aws_auth)]).await,
            Self::ModeChanged => {
                stage
                    .established(&[ann, ben(&json!({"username": "ben"}))])
                    .await;
                stage.hand_over("Auto").await;
                stage.quiet(VERY_QUIET).await;
            }
            Self::Broken | Self::BothDeleted => {
                stage.established(&[ann, ben(&in_aws_auth)]).await;
                to_entry(stage).await;
                if self == Self::Broken {
                    stage.stop().await;
                    stage.age();
                }
            }
            Self::MadeForAdministrators | Self::Reverted => {
                stage.established(&[ann, ("root", masters)]).await;
                stage.bridge();
                if self == Self::Reverted {
                    let backend = json!({"spec": {"backend": "Auto"}});
                    stage.cluster().change("root", backend).await;
                    stage.hand_over("Auto").await;
                    root_is_there(stage).await;
                }
            }
            Self::WentBack => {
                let entry = json!({"username": "ben", "backend": "AccessEntry"});
                stage.established(&[ann, ben(&entry)]).await;
            }
            Self::Released | Self::Resumed => {
                stage.established(&[ann, ben(&in_aws_auth)]).await;
                stage.stop().await;
                if self == Self::Resumed {
                    stage.command(&RELEASE).await;
                }
            }
            Self::RolledBack | Self::RolledBackToNothing => {
                stage.established(&[ann]).await;
                stage
                    .cluster()
                    .write_text("kubectl-edit", "mapUsers", "# nobody\n")
                    .await;
                stage
                    .established(&[("cat", json!({"username": "cat"}))])
                    .await;
                stage.stop().await;
                if self == Self::RolledBackToNothing {
                    let args = ["delete", "configmap", "--namespace=kube-system", "aws-auth"];
                    stage.cluster().kubectl_ok(&args, None);
                }
            }
            Self::MigratedOn | Self::MigratedBack => {
                stage.command(&apply(&["--no-wait"])).await;
                stage.age();
            }
        }
    }

    /// What people do, and what they wait for.
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub(super) async fn act(self, stage: &Stage<'_>) {
        let cluster = stage.cluster();
        match self {
            Self::Started | Self::Resumed => {
                stage.until_ready("ann").await;
                stage.until_ready("ben").await;
            }
            Self::Pinged => {
                let now = jiff::Timestamp::now().to_string();
                stage.annotate(PING_ANNOTATION, &now).await;
                stage.answered().await;
            }
            Self::Granted | Self::Created | Self::EntryGranted => {
                let policies = json!([{"policy": "AmazonEKSViewPolicy"}]);
                let ben = match self {
                    Self::EntryGranted => json!({"username": "ben", "accessPolicies": policies}),
                    _ => json!({"username": "ben"}),
                };
                cluster.declare("ann", json!({"username": "ann"})).await;
                cluster.declare("ben", ben).await;
                stage.until_ready("ann").await;
                stage.until_ready("ben").await;
            }
            Self::Elected => {
                cluster.declare("ann", json!({"username": "ann"})).await;
                stage.until_ready("ann").await;
                stage.renew().await;
                cluster.declare("ben", json!({"username": "ben"})).await;
                stage.until_ready("ben").await;
            }
            Self::Changed => {
                let groups = json!({"spec": {"groups": ["team", "more"]}});
                cluster.change("ben", groups).await;
                stage.until_ready("ben").await;
            }
            Self::Many => {
                cluster.delete("cat").await;
                let groups = json!({"spec": {"groups": ["team", "more"]}});
                cluster.change("ben", groups).await;
                cluster.declare("root", json!({"username": "root"})).await;
                stage.until_gone("cat").await;
                stage.until_ready("ben").await;
                stage.until_ready("root").await;
            }
            Self::Revoked
            | Self::Retained
            | Self::EntryRevoked
            | Self::EntryRetained
            | Self::BothDeleted => {
                cluster.delete("ben").await;
                stage.until_gone("ben").await;
            }
            Self::Repaired => {
                cluster
                    .write_text("kubectl-edit", "mapRoles", FOREIGN)
                    .await;
                stage.text_with("ann", true).await;
                stage.until_ready("ben").await;
            }
            Self::MarkLost => {
                let marks =
                    json!({"metadata": {"annotations": {"identity-mapper.dev/managed": null}}});
                cluster.patch_aws_auth("kubectl-replace", marks).await;
                stage.until_ready("ben").await;
            }
            Self::Adopted | Self::EntryAdopted => {
                cluster.declare("ben", json!({"username": "ben"})).await;
                stage.until_ready("ben").await;
            }
            Self::Suspended => {
                let spec = json!({"spec": {"suspend": true, "groups": ["other"]}});
                cluster.change("ben", spec).await;
                stage.until("ben", "Synced", "False Suspended").await;
            }
            Self::Expired => {
                let until = json!({"username": "ben", "validUntil": ahead(5).to_string()});
                cluster.declare("ben", until).await;
                stage.until("ben", "Ready", "True Expired").await;
            }
            Self::EntryChanged => {
                let policies = json!([{"policy": "AmazonEKSEditPolicy"}]);
                let spec =
                    json!({"spec": {"groups": ["team", "more"], "accessPolicies": policies}});
                // Nothing but the exchange of a policy is a loss.
                cluster.change("ben", spec).await;
                stage.until_ready("ben").await;
            }
            Self::EntryTypeChanged => {
                let spec = json!({"spec": {"type": "EC2Linux", "username": null, "groups": []}});
                cluster.change("ben", spec).await;
                stage.until_ready("ben").await;
            }
            Self::EntryMoved => {
                let spec = json!({"spec": {"principal": {"arn": role("cat")}}});
                cluster.change("ben", spec).await;
                stage.entry("ben", |entry| entry.is_none()).await;
                stage.until_ready("ben").await;
            }
            Self::EntryRepaired => {
                let ben = json!({"principalArn": role("ben")});
                stage.eks.by_hand("DeleteAccessEntry", ben).unwrap();
                stage
                    .entry("ben", |entry| {
                        entry.is_some_and(|entry| entry.policies.len() == 1)
                    })
                    .await;
            }
            Self::EntryRecreated => {
                let id = stage.id("ben");
                cluster.confirm("ben", "recreated-principal").await;
                stage
                    .entry("ben", |entry| {
                        entry.is_some_and(|entry| entry.principal_id.as_ref() == Some(&id))
                    })
                    .await;
                stage.until_ready("ben").await;
            }
            Self::Made => {
                let backend = json!({"spec": {"backend": "AccessEntry"}});
                cluster.change("ben", backend).await;
                stage.entry("ben", |entry| entry.is_some()).await;
                stage.until_ready("ben").await;
            }
            Self::ModeChanged => {
                let mode = json!({"accessConfig": {"authenticationMode": "API_AND_CONFIG_MAP"}});
                stage.eks.by_hand("UpdateClusterConfig", mode).unwrap();
                for name in ["ann", "ben"] {
                    stage.entry(name, |entry| entry.is_some()).await;
                    stage.until_ready(name).await;
                }
            }
            Self::MadeForAdministrators => {
                let backend = json!({"spec": {"backend": "Auto"}});
                cluster.change("root", backend).await;
                stage.hand_over("Auto").await;
                root_is_there(stage).await;
            }
            Self::Broken => {
                stage.text_with("ben", false).await;
                stage.until_ready("ben").await;
            }
            Self::WentBack => {
                let backend = json!({"spec": {"backend": "ConfigMap"}});
                cluster.change("ben", backend).await;
                stage.entry("ben", |entry| entry.is_none()).await;
                stage.until_ready("ben").await;
            }
            Self::Reverted => {
                stage.hand_over("Revert").await;
                stage.entry("root", |entry| entry.is_none()).await;
                stage.until_ready("root").await;
            }
            Self::RolledBack | Self::RolledBackToNothing => {
                // By its name: a run that dies may have kept a copy more, and numbers are counted from the newest.
                let copies = cluster.history().await;
                let first = copies
                    .iter()
                    .find(|(_, copy)| copy["data"]["mapRoles"] == FOREIGN);
                let (name, _) = first.expect("a copy of what was before");
                let restore = ["rollback", "restore", name, "--yes", "--mode=CONFIG_MAP"];
                stage.command(&restore).await;
            }
            Self::Fixed => {
                let fix = ["lint", "--fix", "--yes", "--mode=CONFIG_MAP"];
                stage.command(&fix).await;
            }
            Self::Imported => {
                let all = ["migrate", "apply", "--import", "--yes", "--no-wait"];
                let cluster = ["--cluster-name=test", "--confirm=test"];
                stage.command(&[&all[..], &cluster].concat()).await;
                stage.quiet(VERY_QUIET).await;
            }
            Self::Released => stage.command(&RELEASE).await,
            Self::MigratedThere => stage.command(&apply(&["--no-wait"])).await,
            Self::MigratedOn => stage.command(&apply(&[])).await,
            Self::MigratedBack => {
                let pace = ["--yes", "--cluster-name=test"];
                stage
                    .command(&[&["migrate", "revert"], &pace[..], &PACE[..]].concat())
                    .await;
            }
        }
    }
}

async fn to_entry(stage: &Stage<'_>) {
    let backend = json!({"spec": {"backend": "AccessEntry"}});
    stage.cluster().change("ben", backend).await;
    stage.entry("ben", |entry| entry.is_some()).await;
    stage.cluster().until("ben", "Ready", "True InEffect").await;
    stage.quiet(VERY_QUIET).await;
}

async fn root_is_there(stage: &Stage<'_>) {
    stage
        .entry("root", |entry| {
            entry.is_some_and(|entry| entry.groups.is_empty() && entry.policies.len() == 1)
        })
        .await;
    stage
        .cluster()
        .until("root", "Ready", "True InEffect")
        .await;
    stage.quiet(VERY_QUIET).await;
}

/// The command that migrates to the mode with both.
fn apply<'a>(further: &[&'a str]) -> Vec<&'a str> {
    let args = [
        "migrate",
        "apply",
        "--yes",
        "--cluster-name=test",
        "--confirm=test",
        "--soak=60s",
    ];
    [&args, &PACE[..], further].concat()
}
