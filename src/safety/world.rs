//! Effective access before and after, principal by principal: everything that may be, as pairs of what was and what would be.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::possibility::{Access, Possibility, Transition, accesses, after, changes, remains};
use super::{Before, Proposal};
use crate::access_entry::{AccessEntry, Call};
use crate::aws_auth::{Document, Entry as TextEntry, Index, Lookup, Meaning, fold_arn};
use crate::desired::{Mapping, State};
use crate::effective::{EffectiveEntry, IAM_LAG, Standing, can_match, missing_since, unmatchable};
use crate::observed::{AwsView, Mode};
use crate::ownership::aws_managed::keeper;
use crate::ownership::{KeyHash, MeaningHash, is_as_written};
use crate::principal::{Key, Partition};

/// A principal that a proposal touches.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    pub(super) hash: KeyHash,
    pub(super) key: Key,
    pub(super) calls: &'a [Call],
    pub(super) transitions: Vec<Transition>,
    /// What aws-auth gives it now, and by the last text that was seen in force: neither is granted anew.
    pub(super) had_by_text: Vec<Access>,
    /// What aws-auth gives it then.
    pub(super) by_text: Vec<Access>,
    /// Whether it may have a managed entry now, in either backend.
    pub(super) managed: bool,
    /// Whether an entry of its key exists in either backend once all is done.
    pub(super) remains: bool,
    /// Whether the proposal only brings back what mark or status say that we wrote, over an edit of somebody else.
    pub(super) restores: bool,
}

/// Entries of a text by key.
pub(super) type ByKey<'a> = HashMap<KeyHash, (Key, Vec<&'a TextEntry>)>;

fn of_key<'t, 'a>(texts: &'t ByKey<'a>, hash: &KeyHash) -> &'t [&'a TextEntry] {
    let found = texts.get(hash);
    found
        .map(|(_, entries)| entries.as_slice())
        .unwrap_or_default()
}

/// Everything that the rules ask about.
pub(super) struct World<'a> {
    pub(super) before: &'a Before<'a>,
    pub(super) proposal: &'a Proposal<'a>,
    pub(super) subjects: Vec<Subject<'a>>,
    now: Index<'a>,
    then: Option<Index<'a>>,
    /// The last text that was seen in force, where that is not the one that is.
    good: Option<Index<'a>>,
    /// The entries of the text as it is, and as it would be, by key.
    pub(super) entries_now: ByKey<'a>,
    pub(super) entries_then: Option<ByKey<'a>>,
    entries_good: Option<ByKey<'a>>,
    pub(super) named: HashMap<KeyHash, Vec<usize>>,
    specs: HashMap<KeyHash, Vec<usize>>,
}

impl<'a> World<'a> {
    pub(super) fn new(before: &'a Before<'a>, proposal: &'a Proposal<'a>) -> Self {
        let mut named: HashMap<KeyHash, Vec<usize>> = HashMap::new();
        let mut specs: HashMap<KeyHash, Vec<usize>> = HashMap::new();
        for (position, mapping) in before.mappings.iter().enumerate() {
            let spec = mapping.key();
            let mut keys: BTreeSet<Key> = mapping.written(before.config_map).into_keys().collect();
            if let Some(cluster) = before.cluster() {
                keys.extend(mapping.written_entries(&cluster.arn).into_keys());
            }
            if let Some(key) = spec {
                specs.entry(KeyHash::of(&key)).or_default().push(position);
                keys.insert(key);
            }
            for key in keys {
                named.entry(KeyHash::of(&key)).or_default().push(position);
            }
        }
        let good = (!std::ptr::eq(before.text, before.last_good)).then_some(before.last_good);
        let mut world = Self {
            before,
            proposal,
            subjects: Vec::new(),
            now: Index::new(before.text),
            then: proposal.text.map(|text| Index::new(text.document)),
            good: good.map(Index::new),
            entries_good: good.map(by_key),
            entries_now: by_key(before.text),
            entries_then: proposal.text.map(|text| by_key(text.document)),
            named,
            specs,
        };
        world.subjects = world.find_subjects();
        world
    }

    /// The mappings that name the principal in spec or status.
    pub(super) fn naming(&self, hash: &KeyHash) -> impl Iterator<Item = (&'a Mapping, State)> {
        self.of(self.named.get(hash))
    }

    /// The mappings whose spec names the principal.
    pub(super) fn declaring(&self, hash: &KeyHash) -> impl Iterator<Item = (&'a Mapping, State)> {
        self.of(self.specs.get(hash))
    }

    /// The entries of a key in the text as it is.
    pub(super) fn now(&self, hash: &KeyHash) -> &[&'a TextEntry] {
        of_key(&self.entries_now, hash)
    }

    /// The entries of a key in the text as it would be.
    pub(super) fn then(&self, hash: &KeyHash) -> &[&'a TextEntry] {
        of_key(
            self.entries_then.as_ref().unwrap_or(&self.entries_now),
            hash,
        )
    }

    /// The entries of a key in the last text that was seen in force.
    pub(super) fn last_good(&self, hash: &KeyHash) -> &[&'a TextEntry] {
        of_key(
            self.entries_good.as_ref().unwrap_or(&self.entries_now),
            hash,
        )
    }

    fn of(&self, positions: Option<&Vec<usize>>) -> impl Iterator<Item = (&'a Mapping, State)> {
        let (mappings, states) = (self.before.mappings, self.before.states);
        let positions: Vec<usize> = positions.cloned().unwrap_or_default();
        positions
            .into_iter()
            .map(move |position| (&*mappings[position], states[position]))
    }

    /// The keys that the proposal does something about.
    fn find_subjects(&self) -> Vec<Subject<'a>> {
        let mut keys: BTreeMap<KeyHash, Key> = BTreeMap::new();
        let mut texts: BTreeSet<KeyHash> = BTreeSet::new();
        if let Some(then) = &self.entries_then {
            let now = &self.entries_now;
            for (hash, (key, _)) in now.iter().chain(then) {
                let meanings = |texts: &ByKey<'_>| -> Vec<Meaning> {
                    let of_key = texts.get(hash);
                    of_key.map_or_else(Vec::new, |(_, entries)| {
                        entries.iter().map(|entry| entry.meaning()).collect()
                    })
                };
                if meanings(now) != meanings(then) {
                    keys.insert(hash.clone(), key.clone());
                    texts.insert(hash.clone());
                }
            }
        }
        for (hash, calls) in &self.proposal.calls {
            let key = calls
                .first()
                .and_then(|call| Key::parse_arn(call.principal_arn()));
            keys.extend(key.map(|key| ((*hash).clone(), key)));
        }
        keys.into_iter()
            .map(|(hash, key)| {
                let changes = texts.contains(&hash);
                self.subject(hash, key, changes)
            })
            .collect()
    }

    fn subject(&self, hash: KeyHash, key: Key, text_changes: bool) -> Subject<'a> {
        let calls = self.proposal.calls.get(&hash).copied().unwrap_or_default();
        let arns = self.entry_arns(&hash, &key, calls);
        let (mut transitions, mut by_text, mut had_by_text) = (Vec::new(), Vec::new(), Vec::new());
        for arn in &self.text_arns(&hash, &key) {
            had_by_text.extend(self.by_text(&self.now, arn));
            had_by_text.extend(self.good.iter().flat_map(|good| self.by_text(good, arn)));
            by_text.extend(self.then.iter().flat_map(|then| self.by_text(then, arn)));
            transitions.extend(self.transitions(arn, &arns, calls));
        }
        let managed_text = self.before.managed.contains_key(&hash);
        let managed_entry = arns
            .iter()
            .any(|arn| self.before.managed_entries.contains(arn));
        // An entry that never matches is as good as none, and so is one in a text that EKS does not read.
        let text_remains = self.before.mode != Some(Mode::Api)
            && self.then(&hash).iter().any(|entry| can_match(entry));
        let takes = text_changes || calls.iter().any(changes);
        let entry_remains = arns
            .iter()
            .any(|arn| remains(self.possibilities(arn), arn, calls, takes));
        Subject {
            restores: self.restores(&hash, &key, calls, text_changes),
            managed: managed_text || managed_entry,
            remains: text_remains || entry_remains,
            hash,
            key,
            calls,
            transitions,
            by_text,
            had_by_text,
        }
    }

    /// The ARNs under which aws-auth may match the principal: a role's without its path; a user's as written.
    fn text_arns(&self, hash: &KeyHash, key: &Key) -> BTreeSet<String> {
        let mut arns: BTreeSet<String> = self
            .now(hash)
            .iter()
            .chain(self.then(hash))
            .filter(|entry| can_match(entry))
            .map(|entry| entry.matched_arn())
            .collect();
        let declared = self
            .declaring(hash)
            .filter_map(|(mapping, _)| Some(mapping.principal.as_ref()?.aws_auth_arn()));
        arns.extend(declared.map(|arn| fold_arn(&arn)));
        if arns.is_empty() {
            arns.insert(fold_arn(&key.arn()));
        }
        arns
    }

    /// The ARNs under which an access entry of the principal may exist.
    fn entry_arns(&self, hash: &KeyHash, key: &Key, calls: &[Call]) -> BTreeSet<String> {
        let Some(view) = self.before.view else {
            return BTreeSet::new();
        };
        let standing = self.before.entries.of(hash).iter();
        let mut arns: BTreeSet<String> = standing
            .map(|standing| standing.principal_arn.to_owned())
            .collect();
        arns.extend(calls.iter().map(|call| call.principal_arn().to_owned()));
        for (mapping, _) in self.naming(hash) {
            let written = mapping.written_entries(&view.cluster.arn);
            arns.extend(written.get(key).map(|written| written.arn.clone()));
        }
        arns
    }

    fn possibilities(&self, arn: &str) -> Vec<Possibility> {
        let Some(view) = self.before.view else {
            return vec![Possibility::Powerless(None)];
        };
        let key = Key::parse_arn(arn);
        let possible = if key.as_ref().is_some_and(|key| self.is_written(arn, key)) {
            view.possible_where_named(arn)
        } else {
            view.possible(arn)
        };
        let standing = key.as_ref().and_then(|key| {
            let mut of_key = self.before.entries.of_key(key).iter();
            of_key.find(|standing| standing.principal_arn == arn)
        });
        let lives = !standing.is_some_and(|standing| standing.life.is_certainly_dead());
        let may_be_dead = standing.is_some_and(|standing| standing.life.is_dead());
        let mut all: Vec<Possibility> = Vec::new();
        if possible.absent {
            all.push(Possibility::Powerless(None));
        }
        for entry in possible.entries {
            if may_be_dead {
                all.push(Possibility::Powerless(Some(entry.clone())));
            }
            if lives {
                all.push(Possibility::Entry(entry));
            }
        }
        if possible.unseen {
            all.push(Possibility::Unseen);
        }
        all
    }

    /// Whether a status says that we wrote this access entry: a listing that lacks it may be behind.
    fn is_written(&self, arn: &str, key: &Key) -> bool {
        let cluster = self.before.cluster().map(|cluster| cluster.arn.as_str());
        cluster.is_some_and(|cluster| {
            self.naming(&KeyHash::of(key)).any(|(mapping, _)| {
                let written = mapping.written_entries(cluster);
                written.get(key).is_some_and(|written| written.arn == arn)
            })
        })
    }

    /// What the principal of this ARN in aws-auth gets now, against what it gets after each subset of the proposal.
    fn transitions(
        &self,
        text_arn: &str,
        arns: &BTreeSet<String>,
        calls: &[Call],
    ) -> Vec<Transition> {
        let now = self.by_text(&self.now, text_arn);
        let then: Vec<Access> = match &self.then {
            Some(then) => self.by_text(then, text_arn),
            None => now.clone(),
        };
        let steps: BTreeSet<usize> = (0..=calls.len()).collect();
        let mut all = Vec::new();
        // Without an entry aws-auth decides; it is read only then.
        let mut pair = |before: &Possibility, after: &Possibility| {
            for old in &accesses(before, &now) {
                for new in accesses(after, &now).iter().chain(&accesses(after, &then)) {
                    let transition = Transition {
                        before: old.clone(),
                        after: new.clone(),
                    };
                    all.push(transition);
                }
            }
        };
        if arns.is_empty() {
            pair(&Possibility::Powerless(None), &Possibility::Powerless(None));
        }
        for arn in arns {
            for before in self.possibilities(arn) {
                for made in &steps {
                    pair(&before, &after(before.clone(), arn, &calls[..*made]));
                }
            }
        }
        if self.unlisted() {
            pair(&Possibility::Unseen, &Possibility::Unseen);
        }
        all
    }

    /// Whether any principal may have an access entry that nobody has listed yet.
    fn unlisted(&self) -> bool {
        self.before
            .view
            .is_some_and(|view| view.entries.listed.is_none())
    }

    /// The entries of aws-auth that win for the subject now: under each of its ARNs one, or several where that is chance.
    pub(super) fn winners_now(&self, subject: &Subject<'_>) -> Vec<&'a TextEntry> {
        let arns = self.text_arns(&subject.hash, &subject.key).into_iter();
        let winners = arns.flat_map(|arn| match self.now.lookup(&arn) {
            Lookup::Role(entry) | Lookup::User(entry) => vec![entry],
            Lookup::AmbiguousUser(entries) => entries,
            Lookup::Account | Lookup::None => Vec::new(),
        });
        winners.filter(|entry| can_match(entry)).collect()
    }

    fn by_text(&self, index: &Index<'_>, arn: &str) -> Vec<Access> {
        if self.before.mode == Some(Mode::Api) {
            return vec![Access::None];
        }
        match index.lookup(arn) {
            Lookup::Role(entry) | Lookup::User(entry)
                if unmatchable(entry, self.partition()).is_none() =>
            {
                vec![Access::Is(EffectiveEntry::of_aws_auth(entry))]
            }
            Lookup::AmbiguousUser(entries) => entries
                .into_iter()
                .map(|entry| Access::Is(EffectiveEntry::of_aws_auth(entry)))
                .collect(),
            // The username is the caller's own ARN; nothing is bound to it by a group.
            Lookup::Account => vec![Access::Is(EffectiveEntry::of_meaning(&Meaning {
                arn: arn.to_owned(),
                username: arn.to_owned(),
                groups: BTreeSet::new(),
            }))],
            Lookup::Role(_) | Lookup::User(_) | Lookup::None => vec![Access::None],
        }
    }

    /// What every principal may get, whatever of the proposal happens: the ARN as aws-auth matches it, and all possibilities.
    pub(super) fn everyone(&self) -> impl Iterator<Item = (String, Option<Key>, Vec<Access>)> {
        let by_text = self
            .now
            .winners()
            .map(|entry| (entry.matched_arn(), entry.key()));
        let by_entry = self.before.entries.all().filter_map(|standing| {
            let arn = standing.aws_auth_arn()?;
            Some((arn, Some(standing.key.clone())))
        });
        let all: BTreeMap<String, Option<Key>> = by_text.chain(by_entry).collect();
        all.into_iter().map(|(arn, key)| {
            let (arns, calls) = match &key {
                Some(key) => {
                    let hash = KeyHash::of(key);
                    let calls = self.proposal.calls.get(&hash).copied().unwrap_or_default();
                    (self.entry_arns(&hash, key, calls), calls)
                }
                None => (BTreeSet::new(), [].as_slice()),
            };
            let pairs = self.transitions(&arn, &arns, calls);
            let mut ways: Vec<Access> = pairs.into_iter().map(|pair| pair.after).collect();
            // Of an access entry EKS says whether its principal exists.
            let lives = || {
                let mut all = arns.iter().flat_map(|arn| self.possibilities(arn));
                all.any(|it| !matches!(it, Possibility::Powerless(_)))
            };
            let gone = key
                .as_ref()
                .is_some_and(|key| self.is_gone(key, &arn) && !lives());
            ways.extend(gone.then_some(Access::None));
            (arn, key, ways)
        })
    }

    /// Whether a managed entry of the key is not as mark or status say that we wrote it: somebody edited it, and its repair takes back
    /// what that gave.
    pub(super) fn is_edited(&self, key: &Key) -> bool {
        let hash = KeyHash::of(key);
        let marked = self.before.mark.0.get(&hash);
        let found = self.before.managed.get(&hash).map(MeaningHash::of);
        if marked.is_some() && found.is_some() && found.as_ref() != marked {
            return true;
        }
        let Some(view) = self.before.view else {
            return false;
        };
        let entries = self.before.entries.of(&hash).iter();
        let managed = entries.filter(|it| self.before.managed_entries.contains(it.principal_arn));
        let known: Vec<&AccessEntry> = managed.filter_map(Standing::known).collect();
        self.declaring(&hash).any(|(mapping, _)| {
            let written = mapping.written_entries(&view.cluster.arn);
            written
                .get(key)
                .is_some_and(|written| known.iter().any(|entry| !is_as_written(entry, written)))
        })
    }

    /// Whether IAM, read successfully, has no such principal: nobody can sign in as one that does not exist. One that a mapping has
    /// declared since may be as new as the mapping.
    fn is_gone(&self, key: &Key, arn: &str) -> bool {
        let Some(read) = self.before.iam.and_then(|iam| missing_since(key, arn, iam)) else {
            return false;
        };
        let hash = KeyHash::of(key);
        !self.declaring(&hash).any(|(mapping, _)| {
            mapping
                .created
                .is_some_and(|created| created.plus(IAM_LAG) >= read)
        })
    }

    /// Whether all that changes brings back what mark or status say that we wrote last. A status alone could name less than that to take
    /// the power of an administrator for an edit, so this process must have seen the entry so.
    fn restores(&self, hash: &KeyHash, key: &Key, calls: &[Call], text_changes: bool) -> bool {
        let text = || {
            let marked = self.before.mark.0.get(hash);
            let found = self.before.managed.get(hash).map(MeaningHash::of);
            let last = self.then(hash).last();
            let then = last.map(|entry| MeaningHash::of(&entry.meaning()));
            marked.is_some() && found.as_ref() != marked && then.as_ref() == marked
        };
        let entry = || {
            let Some(view) = self.before.view else {
                return false;
            };
            let only_changes = calls
                .iter()
                .all(|call| !matches!(call, Call::Delete { .. } | Call::Create { .. }));
            let arn = calls.first().map(Call::principal_arn).unwrap_or_default();
            let possible = view.possible(arn);
            let Some(now) = possible.certain().filter(|_| only_changes) else {
                return false;
            };
            let Possibility::Entry(then) = after(Possibility::Entry(now.clone()), arn, calls)
            else {
                return false;
            };
            let state = view.entries.by_principal.get(arn);
            let untouched = state.and_then(|state| state.untouched.as_ref());
            let gives = EffectiveEntry::of_access_entry;
            if untouched.map(gives) != Some(gives(&then)) {
                return false;
            }
            self.declaring(hash).any(|(mapping, _)| {
                let written = mapping.written_entries(&view.cluster.arn);
                written.get(key).is_some_and(|written| {
                    is_as_written(&then, written) && !is_as_written(now, written)
                })
            })
        };
        match (text_changes, calls.is_empty()) {
            (true, true) => text(),
            (false, false) => entry(),
            (true, false) => text() && entry(),
            (false, true) => false,
        }
    }
}

impl World<'_> {
    /// The principals of the subject's access entries that AWS keeps itself.
    pub(super) fn kept_by_aws(&self, subject: &Subject<'_>) -> impl Iterator<Item = &str> {
        let standing = self.before.entries.of(&subject.hash).iter();
        let managed = self.before.view.map(|view| &view.managed);
        let kept = standing.filter(move |standing| {
            let entry = standing.known().zip(managed);
            entry.is_some_and(|(entry, managed)| keeper(entry, managed, self.before.now).is_aws())
        });
        kept.map(|standing| standing.principal_arn)
    }

    /// Whether it is a node's.
    pub(super) fn is_node(&self, access: &Access) -> bool {
        match access {
            Access::Is(entry) => entry.is_node(self.before.bindings, &self.admin_policy()),
            Access::None | Access::Unseen => false,
        }
    }

    /// Whether it certainly is an administrator's.
    pub(super) fn is_administrator(&self, access: &Access) -> bool {
        match access {
            Access::Is(entry) => {
                let bindings = self.before.bindings;
                entry
                    .administrator(bindings, &self.admin_policy())
                    .is_some()
            }
            Access::None | Access::Unseen => false,
        }
    }

    /// Whether it may be an administrator's.
    pub(super) fn may_be_administrator(&self, access: &Access) -> bool {
        match access {
            Access::Is(entry) => {
                let bindings = self.before.bindings;
                entry
                    .possible_administrator(bindings, &self.admin_policy())
                    .is_some()
            }
            Access::Unseen => true,
            Access::None => false,
        }
    }

    fn partition(&self) -> Option<Partition> {
        self.before.view?.cluster.partition()
    }

    fn admin_policy(&self) -> String {
        self.before
            .view
            .map_or_else(String::new, AwsView::admin_policy)
    }
}

impl Subject<'_> {
    /// Whether a managed entry goes, and nothing of its key remains in either backend.
    pub(super) fn vanishes(&self) -> bool {
        self.managed && !self.remains
    }
}

/// The entries of a text by key, in the order in which they are read.
fn by_key(text: &Document) -> ByKey<'_> {
    let mut all: HashMap<Key, Vec<&TextEntry>> = HashMap::new();
    for entry in text.entries() {
        if let Some(key) = entry.key() {
            all.entry(key).or_default().push(entry);
        }
    }
    all.into_iter()
        .map(|(key, entries)| (KeyHash::of(&key), (key, entries)))
        .collect()
}
