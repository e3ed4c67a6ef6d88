//! The entries of aws-auth.

use std::collections::{BTreeMap, BTreeSet};

use crate::access_entry::{NodeTwin, node_twin};
use crate::api::v1alpha1::{BackendChoice, EntryType};
use crate::aws_auth::{Document, Entry, Lookup, ProblemKind, Section, fold_arn};
use crate::desired::node_identity;
use crate::effective::{NoEffect, Unmatchable, in_iam};
use crate::import::imported::{Origin, SkipReason};
use crate::import::importer::{CopyDecision, Importer, is_node, marked};
use crate::import::object::{Draft, parsed, spec};
use crate::observed::AwsView;
use crate::ownership::MeaningHash;
use crate::principal::{Key, Principal, PrincipalKind};

/// An entry with its comments and problems.
pub(super) struct FoundEntry<'a> {
    pub(super) entry: &'a Entry,
    pub(super) comments: Vec<String>,
    /// What the authenticator drops of it.
    pub(super) notes: Vec<String>,
}

/// Users that stand with more than one path, of which IAM has one at most.
pub(super) fn contested_users(document: &Document) -> BTreeSet<Key> {
    let mut paths: BTreeMap<Key, BTreeSet<String>> = BTreeMap::new();
    for entry in document.entries() {
        if let Some(key) = entry.key().filter(|key| key.kind() == PrincipalKind::User) {
            paths.entry(key).or_default().insert(entry.matched_arn());
        }
    }
    let contested = paths.into_iter().filter(|(_, arns)| arns.len() > 1);
    contested.map(|(key, _)| key).collect()
}

fn origin(entry: &Entry) -> Origin {
    Origin::Text {
        section: entry.section,
        line: Some(entry.line),
    }
}

impl Importer<'_> {
    /// One entry that the authenticator keeps.
    pub(super) fn text(&mut self, found: &FoundEntry<'_>, contested: &BTreeSet<Key>) {
        let entry = found.entry;
        let origin = origin(entry);
        let principal = match self.admitted(found) {
            Ok(principal) => principal,
            Err((why, message)) => {
                let what = if entry.sso { "sso" } else { &entry.arn };
                return self.leave(what, origin, why, message);
            }
        };
        let key = principal.key();
        if let Some((why, message)) = self.beaten(entry, &principal, contested) {
            return self.leave(&entry.arn, origin, why, message);
        }
        if let Some(name) = self.declared.by(&principal, &key) {
            return self.result.declared.push((origin, name.clone()));
        }
        let node = is_node(self.effective, entry);
        if node && !self.options.nodes {
            let message = "nodes sign in with it, and EKS maintains those of node groups and Fargate profiles; --include nodes \
                imports it";
            return self.leave(&entry.arn, origin, SkipReason::Node, message);
        }
        let backend = match self.fates.get(&key) {
            None => BackendChoice::Auto,
            Some(CopyDecision::Counts) => BackendChoice::ConfigMap,
            Some(CopyDecision::Shadowed) => {
                let message = "an access entry of the same principal wins over it. It has no effect while that one exists and \
                    grants access again when that one is removed; remove it when you no longer need it as a fallback";
                return self.leave(&entry.arn, origin, SkipReason::Shadowed, message);
            }
            Some(CopyDecision::Blocked(message)) => {
                let message = *message;
                return self.leave(&entry.arn, origin, SkipReason::Inexpressible, message);
            }
        };
        let type_ = match node.then(|| node_type(entry)) {
            None => EntryType::Standard,
            Some(Ok(type_)) => type_,
            Some(Err((why, message))) => return self.leave(&entry.arn, origin, why, message),
        };
        let draft = self.draft(found, &principal, type_, backend);
        self.keep(&entry.arn, draft, &origin);
    }

    /// The principal that an entry grants access to, or why no mapping can name one.
    fn admitted(&self, found: &FoundEntry<'_>) -> Result<Principal, (SkipReason, String)> {
        let entry = found.entry;
        let principal =
            Principal::parse(&entry.arn).or_else(|_| Principal::parse(&regular(&entry.arn)));
        if let Some(why) = self.effective.never_matches(entry) {
            let message = match (why, principal) {
                (Unmatchable::Sso, _) => {
                    "EKS does not support `sso`; write rolearn with the role that IAM Identity Center created for the permission \
                        set, without its path"
                        .to_owned()
                }
                (Unmatchable::Path, Ok(principal)) => format!(
                    "it never matches, because aws-iam-authenticator sees roles without their path; write {:?}",
                    principal.aws_auth_arn()
                ),
                (Unmatchable::OtherPartition { .. }, _) => format!("{why}; remove it"),
                (_, Err(error)) => error.to_string(),
                (Unmatchable::Session | Unmatchable::NotAnIdentity, Ok(_)) => {
                    "no caller has this ARN; write the ARN of a role or user".to_owned()
                }
            };
            return Err((SkipReason::LetsNobodyIn, message));
        }
        let principal = principal.map_err(|error| {
            let message = format!("{error}; until then the entry stays in aws-auth unchanged");
            (SkipReason::Inexpressible, message)
        })?;
        Ok(self.completed(principal))
    }

    /// A role with the path and spelling that IAM has; aws-auth keeps it without.
    fn completed(&self, principal: Principal) -> Principal {
        if principal.kind == PrincipalKind::User {
            return principal;
        }
        let in_iam = |view: &AwsView| {
            let found = Principal::parse(&in_iam(&principal, &view.iam)?.arn).ok()?;
            (found.key() == principal.key()).then_some(found)
        };
        self.view.and_then(in_iam).unwrap_or(principal)
    }

    /// What keeps an entry from being the one that counts in aws-auth.
    fn beaten(
        &self,
        entry: &Entry,
        principal: &Principal,
        contested: &BTreeSet<Key>,
    ) -> Option<(SkipReason, String)> {
        let key = principal.key();
        match self.effective.index().lookup(&fold_arn(&entry.arn)) {
            Lookup::Role(winner) | Lookup::User(winner) if !std::ptr::eq(winner, entry) => {
                let same = if winner.meaning() == entry.meaning() {
                    "is identical"
                } else {
                    "differs"
                };
                return Some((
                    SkipReason::Shadowed,
                    format!(
                        "{} line {} wins over it and {same}. It has no effect while that one exists and grants access again when \
                            that one is removed; remove it by hand",
                        winner.section, winner.line
                    ),
                ));
            }
            Lookup::AmbiguousUser(variants) => {
                let lines: Vec<String> = variants.iter().map(|it| it.line.to_string()).collect();
                return Some((
                    SkipReason::Ambiguous,
                    format!(
                        "mapUsers has this ARN in lines {} in spellings that differ in case, of which the authenticator uses one \
                            at random at each login; remove all but one by hand",
                        lines.join(", ")
                    ),
                ));
            }
            Lookup::Role(_) | Lookup::User(_) | Lookup::Account | Lookup::None => {}
        }
        if contested.contains(&key) {
            return Some((
                SkipReason::Ambiguous,
                format!(
                    "aws-auth has user {} with more than one path, but IAM has at most one user of that name; remove the other \
                        entries by hand",
                    principal.name
                ),
            ));
        }
        // Ours is then another entry of the same principal, and a mapping would rewrite that one.
        let ours = marked(&self.mark, &key)?;
        let is_ours = |entry: &Entry| MeaningHash::of(&entry.meaning()) == *ours;
        let mut same_key = self
            .document
            .entries()
            .filter(|other| other.key().as_ref() == Some(&key));
        (!is_ours(entry) && same_key.any(is_ours)).then(|| {
            (
                SkipReason::Ambiguous,
                "identity-mapper created another entry for this principal, but this one wins over it; remove one of them by hand"
                    .to_owned(),
            )
        })
    }

    fn draft(
        &self,
        found: &FoundEntry<'_>,
        principal: &Principal,
        type_: EntryType,
        backend: BackendChoice,
    ) -> Result<Draft, String> {
        let entry = found.entry;
        let mut spec = spec(principal, type_);
        spec.backend = backend;
        if type_ == EntryType::Standard && entry.username.is_empty() {
            return Err(nameless(found));
        }
        if type_ == EntryType::Standard {
            let default = principal.default_username();
            spec.username = Some(entry.username.clone()).filter(|username| *username != default);
            for group in &entry.groups {
                if !spec.groups.contains(group) {
                    spec.groups.push(group.clone());
                }
            }
        }
        let parsed = parsed(&spec)?;
        let form = parsed.form.map(|form| form.meaning);
        if form.as_ref() != Some(&entry.meaning()) {
            return Err(
                "no mapping can declare exactly this entry; write it in its plain form".to_owned(),
            );
        }
        let mut notes = found.notes.clone();
        if marked(&self.mark, &principal.key()).is_some() {
            notes.push(
                "marked as managed, but no mapping declares it: this one manages it again"
                    .to_owned(),
            );
        }
        Ok(Draft {
            principal: principal.clone(),
            name: None,
            spec,
            comments: found.comments.clone(),
            origin: origin(entry),
            notes,
        })
    }

    /// What the authenticator drops.
    pub(super) fn dropped(&mut self, document: &Document) {
        for section in [Section::Roles, Section::Users] {
            for problem in &document.section(section).problems {
                if problem.kind == ProblemKind::EntryDropped {
                    let origin = Origin::Text {
                        section,
                        line: Some(problem.line),
                    };
                    self.leave(
                        &problem.offending,
                        origin,
                        SkipReason::LetsNobodyIn,
                        &problem.message,
                    );
                }
            }
        }
    }

    /// What names whole accounts.
    pub(super) fn accounts(&mut self, document: &Document) {
        for account in &document.section(Section::Accounts).accounts {
            let origin = Origin::Text {
                section: Section::Accounts,
                line: None,
            };
            if let Some(why @ NoEffect::NotAnAccount) = self.effective.no_effect_of_account(account)
            {
                self.leave(account, origin, SkipReason::LetsNobodyIn, why.to_string());
                continue;
            }
            self.leave(
                account,
                origin,
                SkipReason::Inexpressible,
                "it grants access to every role and user of the account, as its ARN and without groups, but a mapping declares \
                    one principal; map those that need access and remove the account, or leave it unchanged",
            );
        }
    }
}

/// Why an entry without a username is no mapping, and what changes by giving it one.
fn nameless(found: &FoundEntry<'_>) -> String {
    let why = found
        .notes
        .first()
        .map_or_else(String::new, |note| format!(" ({note})"));
    let example = match found.entry.section {
        Section::Users => "jane",
        Section::Roles | Section::Accounts => "team:{{SessionName}}",
    };
    format!(
        "its logins have no username{why}, but a mapping and an access entry always set one; write one into the entry, such as \
            username: {example:?}, and import again. Its groups stay, and audit logs then show who it is"
    )
}

/// The ARN as it would be written plainly, where the authenticator takes it for the same: its comparison knows no case, and a name
/// keeps its own.
fn regular(arn: &str) -> String {
    let plain: String = arn
        .chars()
        .map(|c| {
            if c.is_ascii() {
                c.to_string()
            } else {
                fold_arn(c.encode_utf8(&mut [0; 4]))
            }
        })
        .collect();
    match plain.split_once('/') {
        Some((head, name)) => format!("{}/{name}", head.to_ascii_lowercase()),
        None => plain.to_ascii_lowercase(),
    }
}

/// The type of an entry of nodes that says exactly what EKS writes for it.
fn node_type(entry: &Entry) -> Result<EntryType, (SkipReason, String)> {
    let meaning = entry.meaning();
    let stays = "; or leave it in aws-auth, where no mapping changes it";
    match node_twin(&meaning.username, &meaning.groups) {
        NodeTwin::Type(type_) => {
            let (_, groups) = node_identity(type_).unwrap_or_default();
            let missing: Vec<&str> = groups
                .iter()
                .copied()
                .filter(|group| !meaning.groups.contains(*group))
                .collect();
            if missing.is_empty() {
                return Ok(type_);
            }
            Err((
                SkipReason::Inexpressible,
                format!(
                    "in aws-auth, type {type_:?} needs {}, which this entry lacks; add it there and import again{stays}",
                    missing.join(" and ")
                ),
            ))
        }
        NodeTwin::MoreGroups(EntryType::EC2Linux, more)
            if more.iter().eq(["system:node-proxier"]) =>
        {
            Err((
                SkipReason::Ambiguous,
                format!(
                    "system:node-proxier is a group of Fargate, and the username is that of EC2 nodes: if the role is for Fargate, write \
                        username: \"system:node:{{{{SessionName}}}}\" there and import again; if it is for EC2 nodes, remove the \
                        group and import again{stays}"
                ),
            ))
        }
        NodeTwin::MoreGroups(type_, more) => {
            let more: Vec<&str> = more.iter().map(String::as_str).collect();
            Err((
                SkipReason::Inexpressible,
                format!(
                    "it looks like type {type_:?}, whose groups EKS sets, but also has {}; remove that and import again{stays}",
                    more.join(" and ")
                ),
            ))
        }
        NodeTwin::Ambiguous => Err((
            SkipReason::Ambiguous,
            format!(
                "several types of nodes have this username; write a mapping with the right spec.type (FargateLinux needs the \
                    group system:node-proxier; HybridLinux, EC2 and HyperPodLinux exist only as access entries){stays}"
            ),
        )),
        NodeTwin::None => Err((
            SkipReason::Inexpressible,
            format!(
                "no type of nodes in EKS has the username {:?}, and a mapping gives node groups only by type; write \
                    system:node:{{{{EC2PrivateDNSName}}}} if the nodes are EC2 instances{stays}",
                meaning.username
            ),
        )),
    }
}
