//! The way in steps, each with what it takes.

use jiff::SignedDuration;
use serde::Serialize;

use super::{Becomes, Migration, modes_between};
use crate::access_entry::BRIDGE_GROUP;
use crate::observed::Mode;

/// One step of the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Instruction {
    /// What is done.
    pub title: String,
    /// What there is to know of it.
    pub notes: Vec<String>,
    /// Commands that do it.
    pub commands: Vec<String>,
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
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// How long an entry of aws-auth stays beside the access entry.
    pub soak: SignedDuration,
    /// Whether an operator is there, which hands over what mappings declare; else each entry of aws-auth is handed over as it is.
    pub operator: bool,
}

/// The steps from where the cluster stands to a mode.
#[must_use]
pub fn instructions(migration: &Migration, to: Mode, manner: Manner) -> Vec<Instruction> {
    let mut steps = Vec::new();
    if !migration.unreadable.is_empty() && migration.from != Mode::Api {
        steps.push(
            Instruction::new("Mend aws-auth")
                .note("what does not parse lets nobody in, and nobody can tell who is meant to be in there")
                .command("identity-mapper lint"),
        );
    }
    let modes = modes_between(migration.from, to);
    if modes.contains(&Mode::ApiAndConfigMap) {
        steps.push(to_both(migration));
    }
    let reads_both = migration.from != Mode::Api;
    if migration.moving().next().is_some() {
        steps.push(hand_over(migration, manner));
    }
    let blocked = migration.blocked().count();
    if reads_both && to == Mode::Api && blocked > 0 {
        steps.push(
            Instruction::new(format!("Clear what keeps {} in aws-auth", many(blocked, "principal")))
                .note("each is named above with what can be done; `migrate plan --to API` says when nobody is left"),
        );
    }
    if modes.contains(&Mode::Api) {
        let name = &migration.cluster.name;
        steps.push(
            Instruction::new("Change the mode to API, for good")
                .note("aws-auth is not read any more: whoever stands there alone is out, and EKS never goes back")
                .command("identity-mapper migrate plan --to API")
                .command(format!("identity-mapper migrate apply --to API --confirm {name}")),
        );
    }
    steps
}

fn to_both(migration: &Migration) -> Instruction {
    let name = &migration.cluster.name;
    Instruction::new("Change the mode to API_AND_CONFIG_MAP")
        .note("takes some minutes, and nothing from anyone: aws-auth is read as before, access entries come first")
        .note(
            "EKS makes an access entry for the cluster's creator, with AmazonEKSClusterAdminPolicy, and one for each role of its managed node \
             groups and Fargate profiles; self-managed nodes get none",
        )
        .note("there is no way back to CONFIG_MAP")
        .note(
            "`migrate plan --to API_AND_CONFIG_MAP` shows how Terraform, eksctl and CloudFormation change it; `migrate apply --await-mode` then \
             waits for them",
        )
        .command(format!("identity-mapper migrate apply --confirm {name}"))
}

fn hand_over(migration: &Migration, manner: Manner) -> Instruction {
    let Manner { soak, operator } = manner;
    let moving = migration.moving().count();
    let undeclared = migration.undeclared().count();
    let nodes = migration
        .moving()
        .filter(|verdict| verdict.becomes.as_ref().is_some_and(Becomes::is_node))
        .count();
    let new = migration.newcomers().count();
    let mut step = Instruction::new(format!("Hand over {}", many(moving, "principal")))
        .note("aws-auth is backed up first; each access entry is made, verified, and only then its entry of aws-auth goes");
    let imports = operator && undeclared > 0;
    if imports {
        step = step.note(format!(
            "{undeclared} of them {} declared by no mapping: --import makes mappings of them",
            if undeclared == 1 { "is" } else { "are" }
        ));
    } else if undeclared > 0 {
        step = step.note(
            "no operator is installed, so the command hands over by itself, and takes each entry of aws-auth as it stands",
        );
    }
    if new > 0 {
        step = step.note(format!(
            "{new} more {} declared and in no backend yet: nothing has to be handed over for an access entry of {}",
            if new == 1 { "is" } else { "are" },
            if new == 1 { "it" } else { "theirs" }
        ));
    }
    if migration.needs_bridge() {
        let administrators = migration.moving().filter(|verdict| verdict.bridge).count();
        step = step.note(format!(
            "{} from system:masters: an access entry is made without policies and wins at once, so group {BRIDGE_GROUP} is bound to \
             cluster-admin meanwhile, and the binding is taken away at the end",
            have_power(administrators)
        ));
    }
    step = step.note(format!(
        "entries of aws-auth stay beside their access entries for {soak:#} as the way back (--soak); `migrate revert` goes back until \
         then"
    ));
    if nodes > 0 {
        step = step
            .note("entries of nodes stay in aws-auth for good: running nodes must never lose both");
    }
    let import = if imports { " --import" } else { "" };
    step.command(format!("identity-mapper migrate apply{import}"))
        .command("identity-mapper migrate status")
}

fn have_power(count: usize) -> String {
    match count {
        1 => "one has its power".to_owned(),
        count => format!("{count} have their power"),
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
pub fn tally(migration: &Migration) -> Vec<(&'static str, usize)> {
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
