//! The effects of a plan for each principal, in words, for commands that show a plan.

use std::borrow::Cow;

use crate::access_entry::{BRIDGE_GROUP, Call, Target};
use crate::api::condition::Reason;
use crate::api::v1alpha1::Backend;
use crate::desired::Mapping;
use crate::desired::State;
use crate::effective::{Standing, in_iam};
use crate::observed::IamProblem;
use crate::plan::claim::{Block, Claim, EntryStep};
use crate::plan::planned::Plan;
use crate::principal::{Key, Principal, PrincipalKind};
use crate::time::Timestamp;

/// What a plan means for one key.
#[allow(
    clippy::struct_excessive_bools,
    reason = "findings that are independent of each other"
)]
#[derive(Clone, Debug)]
pub struct Prospect<'a> {
    /// The key.
    pub key: &'a Key,
    /// The mapping that holds it, its principal resolved.
    pub mapping: Option<&'a Mapping>,
    /// The other mappings that name it in spec or status.
    pub others: Vec<&'a Mapping>,
    /// Where the mapping is put into effect; `None` where no mapping is in force.
    pub backend: Option<Backend>,
    /// What the mapping asks for as an access entry; `None` where there can't be one, or no mapping is in force.
    pub target: Option<&'a Target>,
    /// What comes next for the access entry.
    pub next: Next,
    /// Why it is and stays in aws-auth, where that is not for a person to clear.
    pub stays: Option<&'a str>,
    /// Why it does not get to where the mapping asks for.
    pub obstacle: Option<Obstacle<'a>>,
    /// The access entry that exists for the key: the one that grants access, if there is one.
    pub standing: Option<&'a Standing<'a>>,
    /// Whether that one is ours.
    pub ours: bool,
    /// Whether it gives what the mapping declares.
    pub as_declared: bool,
    /// Until when its copy in aws-auth stays beside the access entry.
    pub soaks_until: Option<Timestamp>,
    /// Whether the entry is made with the group of the bridge.
    pub bridge: bool,
    /// Whether aws-auth has an entry of this key that can match, managed or not.
    pub in_aws_auth: bool,
}

/// What comes next for an access entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing is done about it.
    Nothing,
    /// It exists as declared.
    Kept,
    /// It is described before anything is decided by it.
    Described,
    /// It is made.
    Made,
    /// It is changed in place.
    Changed,
    /// It is deleted and made again.
    Remade,
    /// It goes, or is released.
    Gone,
}

/// Why something does not get to where a mapping asks for: as in the mapping's conditions, with the fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle<'a> {
    /// The reason, as troubleshooting has it.
    pub reason: Reason,
    /// The sentence.
    pub message: Cow<'a, str>,
    /// It passes by itself.
    pub transient: bool,
}

/// What IAM says of a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InIam<'a> {
    /// It has one of this name, under this ARN.
    Found(&'a str),
    /// It was read, and has none of this name.
    Absent,
    /// It was not read, and why, where that is known.
    Unread(Option<&'a IamProblem>),
}

impl Plan<'_> {
    /// What this plan means for each key that it decides about.
    pub fn prospects(&self) -> impl Iterator<Item = Prospect<'_>> {
        self.claims.iter().filter_map(|claim| self.prospect(claim))
    }

    /// The access entry that exists for a principal, whether or not a mapping names it: the one that grants access, if there is one.
    #[must_use]
    pub fn standing_entry(&self, key: &Key) -> Option<&Standing<'_>> {
        let entries = &self.eks.as_ref()?.standing;
        entries.in_force(key).or(entries.of_key(key).first())
    }

    /// The principal as IAM has it by its name, as far as IAM was read.
    #[must_use]
    pub fn in_iam(&self, principal: &Principal) -> InIam<'_> {
        let Some(iam) = self.observed.aws.view().map(|view| &view.iam) else {
            return InIam::Unread(None);
        };
        if let Some(found) = in_iam(principal, iam) {
            return InIam::Found(&found.arn);
        }
        let Some(account) = iam.accounts.get(&principal.account) else {
            return InIam::Unread(None);
        };
        let listing = match principal.kind {
            PrincipalKind::Role => account.roles.as_ref(),
            PrincipalKind::User => account.users.as_ref(),
        };
        match listing {
            Some(_) => InIam::Absent,
            None => InIam::Unread(account.problems.of(principal.kind)),
        }
    }

    fn prospect<'a>(&'a self, claim: &'a Claim) -> Option<Prospect<'a>> {
        let key = claim.key.as_ref()?;
        let mapping = claim.holder.map(|holder| &*self.mappings[holder]);
        let others = claim.others.iter().map(|other| &*self.mappings[*other]);
        let side = &claim.entry;
        let place = claim.place.as_ref();
        let live = claim
            .holder
            .is_some_and(|holder| self.states[holder] == State::Live);
        let bridge = side.calls.iter().any(
            |call| matches!(call, Call::Create { groups, .. } if groups.contains(BRIDGE_GROUP)),
        );
        Some(Prospect {
            key,
            mapping,
            others: others.collect(),
            backend: place.map(|place| place.backend),
            target: side.target.as_ref().filter(|_| live),
            next: match side.step {
                EntryStep::Leave => Next::Nothing,
                EntryStep::Keep => Next::Kept,
                EntryStep::Describe => Next::Described,
                EntryStep::Create => Next::Made,
                EntryStep::Change | EntryStep::GiveBack => Next::Changed,
                EntryStep::Recreate => Next::Remade,
                EntryStep::Delete | EntryStep::Release => Next::Gone,
            },
            stays: place.and_then(|place| place.note.as_deref()),
            obstacle: self.obstacle(claim),
            standing: self.standing_entry(key),
            ours: side.ours,
            as_declared: side.as_declared,
            soaks_until: place.and_then(|place| place.soaks_until),
            bridge,
            in_aws_auth: claim.found.is_some() || claim.beside,
        })
    }

    /// The first of what keeps a claim from being in effect where its mapping asks for: what a person can act upon first.
    fn obstacle<'a>(&'a self, claim: &'a Claim) -> Option<Obstacle<'a>> {
        let holder = claim.holder.map(|holder| &self.mappings[holder]);
        let of_block = |block: &'a Block| Obstacle {
            reason: block.reason,
            message: holder.map_or(Cow::Borrowed(&block.message), |holder| {
                Cow::Owned(block.sentence(&holder.name))
            }),
            transient: block.transient,
        };
        let refusal = holder.and_then(|mapping| mapping.spec.as_ref().err());
        let place = claim.place.as_ref();
        let refused = refusal.or(place.and_then(|place| place.refusal.as_ref()));
        let refused = refused.map(|refusal| Obstacle {
            reason: refusal.reason,
            message: Cow::Borrowed(&refusal.message),
            transient: refusal.transient,
        });
        refused
            .or_else(|| claim.block.as_ref().map(of_block))
            .or_else(|| place?.handover.as_ref().map(of_block))
            .or_else(|| claim.entry.block.as_ref().map(of_block))
    }
}
