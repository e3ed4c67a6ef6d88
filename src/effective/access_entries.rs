//! The existing access entries by key, and whether they grant access.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use jiff::SignedDuration;

use crate::access_entry::{AccessEntry, EntryState, PRINCIPAL_ID_TAG};
use crate::aws_auth::fold_arn;
use crate::observed::{AwsView, Iam, IamPrincipal, IamProblem, Listing};
use crate::ownership::KeyHash;
use crate::principal::{Key, Principal, PrincipalKind, SSO_PATH, is_of_sso};
use crate::time::Timestamp;

/// A minute: a listing of IAM may lack what was created so long before it, and hold what was deleted (IAM user guide, *Changes that I make
/// are not always immediately visible*).
pub(crate) const IAM_LAG: SignedDuration = SignedDuration::from_mins(1);
/// A minute: times of IAM and EKS that are closer may be of clocks that differ.
const CLOCKS: SignedDuration = SignedDuration::from_mins(1);

/// Whether an entry lets its principal in. EKS knows a principal by its unique id, so an entry outlives a deleted principal
/// without letting in the one that is made anew under its name (EKS user guide, *Create access entries*).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    /// By IAM's listing it does.
    Alive,
    /// IAM was not read, or before the entry was made.
    Unknown,
    /// The principal was deleted and made again.
    Recreated {
        /// The id for which the entry was made, where its tag tells.
        before: Option<String>,
        /// The id now.
        now: String,
        /// Its times show it too. A tag alone shows nothing for certain: others than those who can change entries may write it.
        certain: bool,
    },
    /// IAM has no principal of this ARN.
    Missing {
        /// The ARN under which IAM has the name now.
        elsewhere: Option<String>,
    },
}

impl Life {
    /// Whether the entry grants no access, by all that is known.
    #[must_use]
    pub const fn is_dead(&self) -> bool {
        matches!(self, Self::Recreated { .. } | Self::Missing { .. })
    }

    /// Whether that is certain, so that its removal revokes no access.
    #[must_use]
    pub const fn is_certainly_dead(&self) -> bool {
        matches!(
            self,
            Self::Recreated { certain: true, .. } | Self::Missing { .. }
        )
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recreated { before, now, .. } => {
                f.write_str("its principal was deleted and recreated, so its id changed")?;
                if let Some(before) = before {
                    write!(f, " from {before}")?;
                }
                write!(f, " to {now}, and EKS identifies principals by their ID")
            }
            Self::Missing { elsewhere: None } => f.write_str("IAM no longer has such a principal"),
            Self::Missing {
                elsewhere: Some(arn),
            } => write!(f, "IAM now has the principal as {arn}"),
            Self::Alive | Self::Unknown => f.write_str("its principal exists"),
        }
    }
}

/// An entry that exists.
#[derive(Clone, Debug)]
pub struct Standing<'a> {
    /// The principal's ARN.
    pub principal_arn: &'a str,
    /// Its key.
    pub key: Key,
    /// What is known of the entry.
    pub state: &'a EntryState,
    /// Whether it lets its principal in.
    pub life: Life,
}

impl<'a> Standing<'a> {
    /// The principal's ARN as aws-auth matches it.
    #[must_use]
    pub fn aws_auth_arn(&self) -> Option<String> {
        let principal = Principal::parse(self.principal_arn).ok()?;
        Some(fold_arn(&principal.aws_auth_arn()))
    }

    /// The entry, where it can be relied upon.
    #[must_use]
    pub fn known(&self) -> Option<&'a AccessEntry> {
        self.state.known()
    }
}

/// All entries that stand for a role or user, by key. A clone shares them.
#[derive(Clone, Debug, Default)]
pub struct StandingEntries<'a> {
    by_key: Arc<HashMap<KeyHash, Vec<Standing<'a>>>>,
}

impl<'a> StandingEntries<'a> {
    /// Those that EKS lists, each with what IAM says of its principal.
    #[must_use]
    pub fn new(view: &'a AwsView) -> Self {
        let mut by_key: HashMap<KeyHash, Vec<Standing<'a>>> = HashMap::new();
        for (principal_arn, state) in &view.entries.by_principal {
            let Some(key) = Key::parse_arn(principal_arn) else {
                continue;
            };
            let standing = Standing {
                life: state
                    .known()
                    .map_or(Life::Unknown, |entry| life(entry, &key, &view.iam)),
                principal_arn,
                state,
                key,
            };
            by_key
                .entry(KeyHash::of(&standing.key))
                .or_default()
                .push(standing);
        }
        Self {
            by_key: Arc::new(by_key),
        }
    }

    /// The entries of one key: more than one where the path of a principal changed and the old entry still exists.
    pub(crate) fn of(&self, hash: &KeyHash) -> &[Standing<'a>] {
        self.by_key.get(hash).map(Vec::as_slice).unwrap_or_default()
    }

    /// The entries of one key.
    #[must_use]
    pub fn of_key(&self, key: &Key) -> &[Standing<'a>] {
        if self.by_key.is_empty() {
            return &[];
        }
        self.of(&KeyHash::of(key))
    }

    /// The entry that grants access to a principal: the first of its key that is not known to be dead.
    #[must_use]
    pub fn in_force(&self, key: &Key) -> Option<&Standing<'a>> {
        in_force(self.of_key(key))
    }

    /// All of them, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Standing<'a>> {
        self.iter().map(|(_, standing)| standing)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&KeyHash, &Standing<'a>)> {
        self.by_key
            .iter()
            .flat_map(|(hash, entries)| entries.iter().map(move |entry| (hash, entry)))
    }
}

/// The first of the entries of a key that is not known to be dead.
pub(super) fn in_force<'s, 'a>(of_key: &'s [Standing<'a>]) -> Option<&'s Standing<'a>> {
    of_key.iter().find(|standing| !standing.life.is_dead())
}

fn life(entry: &AccessEntry, key: &Key, iam: &Iam) -> Life {
    let Some(listing) = listing_of(key, is_under_sso(&entry.principal_arn), iam) else {
        return Life::Unknown;
    };
    if listing.read < entry.created {
        return Life::Unknown;
    }
    let principal = listing.principals.get(key.name());
    let Some(principal) = principal.filter(|found| found.arn == entry.principal_arn) else {
        // EKS looks up the principal of an entry that is created.
        if listing.read < entry.created.plus(IAM_LAG) {
            return Life::Unknown;
        }
        return Life::Missing {
            elsewhere: principal.map(|found| found.arn.clone()),
        };
    };
    let before = entry.tags.get(PRINCIPAL_ID_TAG);
    let by_tag = before.is_some_and(|id| *id != principal.id);
    let by_times = principal.created.and_then(|created| {
        let clear = created.duration_since(entry.created).abs() >= CLOCKS;
        // Without a tag the times decide, however close they are.
        (clear || before.is_none()).then_some(created > entry.created)
    });
    if by_times.unwrap_or(by_tag) {
        Life::Recreated {
            before: before.cloned(),
            now: principal.id.clone(),
            certain: by_times.is_some(),
        }
    } else {
        Life::Alive
    }
}

/// When IAM was read without a principal that could sign in by this ARN, as aws-auth has it: a role without its path, a user with it.
pub(crate) fn missing_since(key: &Key, arn: &str, iam: &Iam) -> Option<Timestamp> {
    let listing = listing_of(key, is_of_sso(key), iam)?;
    let found = listing.principals.get(key.name());
    let matches = |found: &IamPrincipal| match key.kind() {
        PrincipalKind::Role => true,
        PrincipalKind::User => fold_arn(&found.arn) == fold_arn(arn),
    };
    (!found.is_some_and(matches)).then_some(listing.read)
}

/// Whether an ARN with its path is of a role that IAM Identity Center made.
fn is_under_sso(arn: &str) -> bool {
    arn.contains(&format!(":role{SSO_PATH}"))
}

/// Whether a listing that began at `time` or later is to be had, and has not been read.
pub(crate) fn awaits_iam(key: &Key, arn: &str, iam: &Iam, time: Timestamp) -> bool {
    let Some(account) = iam.accounts.get(key.account()) else {
        return false;
    };
    let problems = &account.problems;
    let listings = match key.kind() {
        PrincipalKind::User => vec![(&account.users, &problems.users)],
        PrincipalKind::Role if is_under_sso(arn) => vec![
            (&account.sso, &problems.sso),
            (&account.roles, &problems.roles),
        ],
        PrincipalKind::Role => vec![(&account.roles, &problems.roles)],
    };
    let reads = |listing: &Option<Listing>| listing.as_ref().map(|listing| listing.read);
    let told = listings
        .iter()
        .any(|(listing, _)| reads(listing) >= Some(time));
    let readable = |(listing, problem): &(&Option<Listing>, &Option<IamProblem>)| {
        listing.is_some() && problem.is_none()
    };
    !told && listings.iter().any(readable)
}

/// The youngest listing that must hold the principal if it exists.
fn listing_of<'a>(key: &Key, of_sso: bool, iam: &'a Iam) -> Option<&'a Listing> {
    let account = iam.accounts.get(key.account())?;
    match key.kind() {
        PrincipalKind::User => account.users.as_ref(),
        PrincipalKind::Role => {
            let sso = account.sso.as_ref().filter(|_| of_sso);
            [sso, account.roles.as_ref()]
                .into_iter()
                .flatten()
                .max_by_key(|listing| listing.read)
        }
    }
}

/// A principal as IAM has it now, by its name.
#[must_use]
pub fn in_iam<'a>(principal: &Principal, iam: &'a Iam) -> Option<&'a IamPrincipal> {
    let key = principal.key();
    let account = iam.accounts.get(key.account())?;
    let listings: [Option<&Listing>; 2] = match key.kind() {
        PrincipalKind::User => [account.users.as_ref(), None],
        PrincipalKind::Role => [account.sso.as_ref(), account.roles.as_ref()],
    };
    let named = |listing: &'a Listing| {
        let principals: &'a BTreeMap<String, IamPrincipal> = &listing.principals;
        principals
            .get(key.name())
            .map(|principal| (listing.read, principal))
    };
    listings
        .into_iter()
        .flatten()
        .filter_map(named)
        .max_by_key(|(read, _)| *read)
        .map(|(_, principal)| principal)
}
