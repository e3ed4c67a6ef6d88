//! The steps of a migration, each with its notes and commands.

use jiff::SignedDuration;
use serde::Serialize;

use super::difference::Becomes;
use super::migration::Migration;
use super::mode::modes_between;
use crate::access_entry::BRIDGE_GROUP;
use crate::observed::Mode;

/// One step of the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Instruction {
    pub(crate) title: String,
    /// What there is to know of it.
    pub(crate) notes: Vec<String>,
    pub(crate) commands: Vec<String>,
}

impl Instruction {
    fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            notes: Vec::new(),
            commands: Vec::new(),
        }
    }

    fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    fn command(mut self, command: impl Into<String>) -> Self {
        self.commands.push(command.into());
        self
    }
}

/// How the steps are made.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    /// The flags with which the commands reach the cluster; each after a space.
    pub(crate) flags: String,
    /// The command that shows what is wrong with aws-auth.
    pub(crate) lint: String,
    /// How long an entry of aws-auth stays beside the access entry.
    pub(crate) soak: SignedDuration,
    /// Whether an operator is there, which hands over what mappings declare; else each entry of aws-auth is handed over as it is.
    pub(crate) operator: bool,
}

/// The steps from where the cluster is to a mode.
#[must_use]
pub(crate) fn instructions(migration: &Migration, to: Mode, manner: &Manner) -> Vec<Instruction> {
    let mut steps = Vec::new();
    if !migration.unreadable.is_empty() && migration.from != Mode::Api {
        steps.push(
            Instruction::new("Fix aws-auth")
                .note(
                    "invalid YAML grants no access, and it is unknown who should have access by it",
                )
                .command(manner.lint.clone()),
        );
    }
    if migration.unknown_lines().next().is_some() {
        steps.push(
            Instruction::new("Fix the lines that are not read as they are written")
                .note("an access entry made from them would grant what the authenticator reads, not what was intended")
                .command(manner.lint.clone()),
        );
    }
    let broken = migration.broken_nodes().count();
    if broken > 0 {
        steps.push(
            Instruction::new(format!(
                "Replace the access entries of {} whose nodes can't work",
                many(broken, "role")
            ))
            .note("the commands are listed above with each role"),
        );
    }
    let modes = modes_between(migration.from, to);
    let flags = &manner.flags;
    if modes.contains(&Mode::ApiAndConfigMap) {
        steps.push(to_both(migration, flags));
    }
    let reads_both = migration.from != Mode::Api;
    if migration.moving().next().is_some() {
        steps.push(hand_over(migration, manner));
    }
    let blocked = migration.blocked().count();
    if reads_both && to == Mode::Api && blocked > 0 {
        steps.push(
            Instruction::new(format!(
                "Resolve what keeps {} in aws-auth",
                many(blocked, "principal")
            ))
            .note(
                "each is listed above with a fix; `migrate plan --to API` shows when none is left",
            ),
        );
    }
    if modes.contains(&Mode::Api) {
        let name = &migration.cluster.name;
        steps.push(
            Instruction::new("Change the mode to API, which can't be undone")
                .note("the cluster then no longer reads aws-auth: principals that are only there lose access")
                .command(format!("identity-mapper migrate plan --to API{flags}"))
                .command(format!("identity-mapper migrate apply --to API --confirm {name}{flags}")),
        );
    }
    steps
}

fn to_both(migration: &Migration, flags: &str) -> Instruction {
    let name = &migration.cluster.name;
    let continues = migration.moving().next().is_some();
    let step = Instruction::new("Change the mode to API_AND_CONFIG_MAP")
        .note("takes some minutes and removes no access: aws-auth is read as before, access entries take precedence")
        .note(
            "EKS creates an access entry for the cluster's creator, with AmazonEKSClusterAdminPolicy, and one for each role of \
                its managed node groups and Fargate profiles; none for self-managed nodes",
        )
        .note("the change back to CONFIG_MAP is not possible")
        .note(
            "`migrate plan --to API_AND_CONFIG_MAP` shows how to change it with Terraform, eksctl and CloudFormation; `migrate \
                apply --await-mode` then waits for the change",
        )
        .command(format!("identity-mapper migrate apply --confirm {name}{flags}"));
    if continues {
        step.note("the command then continues with the next step")
    } else {
        step
    }
}

fn hand_over(migration: &Migration, manner: &Manner) -> Instruction {
    let Manner {
        flags,
        lint: _,
        soak,
        operator,
    } = manner;
    let moving = migration.moving().count();
    let undeclared = migration.undeclared().count();
    let nodes = migration
        .moving()
        .filter(|verdict| verdict.becomes.as_ref().is_some_and(Becomes::is_node))
        .count();
    let new = migration.newcomers().count();
    let mut step = Instruction::new(format!("Move {} to access entries", many(moving, "principal")))
        .note("backs up aws-auth, then for each principal: creates and verifies the access entry, then removes the entry in \
            aws-auth");
    let imports = *operator && undeclared > 0;
    if imports {
        step = step.note(format!(
            "{undeclared} of them {} no mapping yet: --import creates {}",
            if undeclared == 1 { "has" } else { "have" },
            if undeclared == 1 { "it" } else { "them" }
        ));
    } else if undeclared > 0 {
        step = step.note(
            "no operator is installed, so the command moves them itself, with the entries of aws-auth as they are",
        );
    }
    if new > 0 {
        step = step.note(format!(
            "{new} more declared {} no entry yet, and will get {}",
            if new == 1 {
                "principal has"
            } else {
                "principals have"
            },
            if new == 1 {
                "an access entry"
            } else {
                "access entries"
            }
        ));
    }
    if migration.needs_bridge() {
        let administrators = migration.moving().filter(|verdict| verdict.bridge).count();
        step = step.note(format!(
            "{} administrator rights by system:masters, and a new access entry has no policies yet but already wins. To avoid an \
                access gap, a temporary ClusterRoleBinding binds group {BRIDGE_GROUP} to cluster-admin and is deleted at the end",
            have_power(administrators)
        ));
    }
    step = step.note(format!(
        "entries of aws-auth stay beside their access entries for {soak:#} as a fallback (--soak); until then `migrate revert` \
            can move principals back"
    ));
    if nodes > 0 {
        step = step.note(
            "entries of nodes stay in aws-auth permanently: running nodes must never lose both",
        );
    }
    let import = if imports { " --import" } else { "" };
    step.command(format!("identity-mapper migrate apply{import}{flags}"))
        .command(format!("identity-mapper migrate status{flags}"))
}

fn have_power(count: usize) -> String {
    match count {
        1 => "1 principal has".to_owned(),
        count => format!("{count} principals have"),
    }
}

/// A number and what is counted.
pub(crate) fn many(count: usize, what: &str) -> String {
    if count == 1 {
        format!("1 {what}")
    } else {
        format!("{count} {what}s")
    }
}

/// How many principals come to what, in the order in which they are listed.
#[must_use]
pub(crate) fn tally(migration: &Migration) -> Vec<(&'static str, usize)> {
    let mut counted: Vec<(&'static str, usize)> = Vec::new();
    for verdict in &migration.verdicts {
        let word = verdict.word();
        match counted.iter_mut().find(|(known, _)| *known == word) {
            Some((_, count)) => *count += 1,
            None => counted.push((word, 1)),
        }
    }
    counted
}
