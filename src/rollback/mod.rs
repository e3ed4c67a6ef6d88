//! Back to a copy from the history: unmanaged text and layout as they were, managed entries as they are now.
//!
//! What restoring never does: it brings no entry back that was managed and that no mapping declares now, it changes no entry that
//! exists and is managed, and it fixes or takes away nothing else that the copy has. The plan of the moment is applied in the same
//! write, so that nothing revoked or expired comes back.

use std::collections::{BTreeMap, BTreeSet};

use crate::aws_auth::{
    Document, EditError, Entry, EntryEdit, Index, Lookup, NewEntry, Problem, Section, edit,
    fold_arn,
};
use crate::desired::Desired;
use crate::desired::State;
use crate::effective::{Standing, can_match, is_node};
use crate::observed::{ConfigMapView, KeptCopy, Mode, Observed, Settings};
use crate::ownership::{
    Evidence, KeyHash, KnownUnmanaged, MARK_ANNOTATION, Mark, MeaningHash, Unmanaged, recognise,
};
use crate::plan::claim::Claim;
use crate::plan::decide::is_node_entry;
use crate::plan::write::rewrite::{self, Rewrite};
use crate::plan::{Memory, Plan, plan};

/// What restoring a copy comes to.
#[derive(Clone, Debug)]
pub(crate) struct Restoration {
    /// The texts as they will stand.
    pub(crate) data: BTreeMap<String, String>,
    /// What to write, what exists now being kept first; `None`: it is so already.
    pub(crate) rewrite: Option<Rewrite>,
    /// Entries of the copy that were managed then, and that no mapping declares now: they do not come back.
    pub(crate) left_out: Vec<Entry>,
    /// ARNs of entries that are managed now and differ from the copy's: they stay as they are, or as declared.
    pub(crate) kept: Vec<String>,
    /// What goes that a person has to agree to.
    pub(crate) losses: Vec<Loss>,
    standing: Document,
    restored: Document,
    /// Whom an access entry admits, by ARN as aws-auth matches it: aws-auth does not count for them.
    admitted: BTreeSet<String>,
}

/// What goes that a person has to agree to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// A node entry: without it nodes can't join or stay in the cluster.
    NodeEntry {
        arn: String,
        line: (Section, usize),
    },
    LastAdministrator,
}

/// Why a copy can't be restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unrestorable {
    /// Nobody would have access or kept out by it.
    #[error("the cluster does not read aws-auth in API mode: restoring it would grant no access")]
    NotRead,
    /// The cluster is not known well enough to write to it.
    #[error("{0}")]
    Halted(String),
    /// The copy itself is one of a broken text.
    #[error(
        "the authenticator drops the text of this copy: {0}; choose another copy, or fix aws-auth with kubectl edit"
    )]
    Broken(Problem),
    /// The API server would refuse it.
    #[error(
        "the ConfigMap is immutable: true, so the API server refuses changes; delete it, then run the same command again"
    )]
    Immutable,
    /// An entry of the copy can't be taken out or repaired without touching an unmanaged byte.
    #[error("the copy can't be restored with the current mappings: {0}")]
    Edit(EditError),
    /// What exists now could not be kept first.
    #[error(
        "the current ConfigMap can't be saved in the history first, so nothing was written: {0}"
    )]
    History(String),
    /// Read back, the new text would not mean what it should.
    #[error(
        "the new text does not read back as intended ({0}), so nothing was written; please report this with the ConfigMap and the \
            copy"
    )]
    Unverified(String),
}

/// How a caller would have access after the restoration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WayIn {
    Kept,
    /// Not as before: in words, what the caller is now and would be then.
    Lost {
        now: String,
        then: String,
    },
}

/// Plans to restore a copy, one of `copies`. Pure.
pub(crate) fn restore(
    copy: &KeptCopy,
    copies: &[KeptCopy],
    desired: &Desired,
    observed: &Observed,
    settings: &Settings,
) -> Result<Restoration, Unrestorable> {
    if observed.aws.mode() == Some(Mode::Api) {
        return Err(Unrestorable::NotRead);
    }
    if observed
        .config_map
        .as_ref()
        .is_some_and(|view| view.immutable)
    {
        return Err(Unrestorable::Immutable);
    }
    let then = Document::parse(&copy.data);
    let broken = |section: &Section| then.section(*section).broken.clone();
    if let Some(problem) = Section::ALL.iter().find_map(broken) {
        return Err(Unrestorable::Broken(problem));
    }
    let memory = Memory::default();
    let now = plan(desired, observed, settings, &memory);
    if let Some(block) = &now.halted {
        return Err(Unrestorable::Halted(block.message.clone()));
    }
    let mark_then = mark_then(copy, copies, &then, &now.base.standing);
    let revoked = revoked_since(copy, copies, &now.base.standing);
    let mut transplant = Transplant::new(mark_then, revoked, &then, &now);
    // What the copy lacks is appended in the order in which it stands, so that to restore a copy again is nothing.
    let mut claims: Vec<&Claim> = now.claims.iter().collect();
    claims.sort_by_key(|claim| claim.found.as_ref().map(|it| (it.section, it.item)));
    for claim in claims {
        transplant.take(claim);
    }
    transplant.leave_out_unknown();
    let base = transplant.base(copy, observed)?;
    let Transplant {
        left_out,
        kept,
        ours_then,
        ..
    } = transplant;

    // What a plan would do next is done in the same write.
    let after = Observed {
        config_map: Some(base.clone()),
        ..observed.clone()
    };
    let planned = plan(desired, &after, settings, &memory);
    let view = planned
        .config_map
        .as_ref()
        .map_or_else(|| base.clone(), |write| write.applied(Some(&base)));
    let restored = Document::parse(&view.data);
    verify(&then, &ours_then, &left_out, &restored, &Mark::of(&view))?;
    let annotations = planned
        .history
        .as_ref()
        .filter(|_| planned.config_map.is_some())
        .map(|write| write.annotations.clone())
        .unwrap_or_default();
    let rewrite = rewrite::to(&view, annotations, observed).map_err(Unrestorable::History)?;

    let standing = now.base.standing.clone();
    let entries = now.eks.iter().flat_map(|eks| eks.standing.all());
    let admitted: BTreeSet<String> = entries
        .filter(|entry| !entry.life.is_dead())
        .filter_map(Standing::aws_auth_arn)
        .collect();
    let losses = losses(&now, &restored, &admitted);
    Ok(Restoration {
        data: view.data,
        rewrite,
        left_out: left_out.into_iter().cloned().collect(),
        kept,
        losses,
        standing,
        restored,
        admitted,
    })
}

fn hash_of(entry: &Entry) -> Option<KeyHash> {
    entry.key().as_ref().map(KeyHash::of)
}

/// What was managed in the copy, by its mark or by that of any other: what one of them marks just so, and what does not stand just so any
/// more, was managed once and has been revoked since. So neither a lost mark, nor an adoption after the copy, nor an unmanaged entry of the same
/// principal brings it back.
fn mark_then(copy: &KeptCopy, copies: &[KeptCopy], then: &Document, standing: &Document) -> Mark {
    let marked = |entry: &Entry| Some((hash_of(entry)?, MeaningHash::of(&entry.meaning())));
    let mut mark = Mark::parse(&copy.mark);
    let stands: BTreeSet<(KeyHash, MeaningHash)> = standing.entries().filter_map(marked).collect();
    let marks: Vec<Mark> = copies.iter().map(|copy| Mark::parse(&copy.mark)).collect();
    for entry in then.entries() {
        let Some((hash, meaning)) = marked(entry).filter(|entry| !stands.contains(entry)) else {
            continue;
        };
        if marks.iter().any(|mark| mark.0.get(&hash) == Some(&meaning)) {
            mark.0.entry(hash).or_insert(meaning);
        }
    }
    mark
}

/// The principals that were adopted after the copy and have no entry any more: their access was revoked with the mapping, whatever their
/// entry gave before.
fn revoked_since(copy: &KeptCopy, copies: &[KeptCopy], standing: &Document) -> BTreeSet<KeyHash> {
    let present: BTreeSet<KeyHash> = standing.entries().filter_map(hash_of).collect();
    let later = copies.iter().filter(|it| it.time > copy.time);
    let marked = later.flat_map(|copy| Mark::parse(&copy.mark).0.into_keys());
    marked.filter(|hash| !present.contains(hash)).collect()
}

/// The managed entries of now, put into the text of then.
struct Transplant<'a> {
    now: &'a Plan<'a>,
    /// The copy's entries by key.
    by_key: BTreeMap<KeyHash, Vec<&'a Entry>>,
    /// Those of them that were managed.
    ours_then: BTreeMap<KeyHash, &'a Entry>,
    mark_then: Mark,
    revoked_since: BTreeSet<KeyHash>,
    /// The mark of now, and what is known again of then.
    mark: Mark,
    changes: Vec<EntryEdit>,
    seen: BTreeSet<KeyHash>,
    left_out: Vec<&'a Entry>,
    kept: Vec<String>,
}

impl<'a> Transplant<'a> {
    fn new(
        mark_then: Mark,
        revoked_since: BTreeSet<KeyHash>,
        then: &'a Document,
        now: &'a Plan<'a>,
    ) -> Self {
        let mut by_key: BTreeMap<KeyHash, Vec<&Entry>> = BTreeMap::new();
        for entry in then.entries() {
            if let Some(hash) = hash_of(entry) {
                by_key.entry(hash).or_default().push(entry);
            }
        }
        let nothing = Unmanaged::default();
        let recognised = mark_then.0.iter().filter_map(|(hash, meaning)| {
            let standing = by_key.get(hash)?;
            let evidence = Evidence {
                mark: Some(meaning),
                written: &[],
                known: &KnownUnmanaged::new(&nothing, &[]),
                never_ours: &|entry| is_node_entry(entry, &now.observed.bindings),
            };
            Some((hash.clone(), recognise(standing, &evidence).entry()?))
        });
        Self {
            ours_then: recognised.collect(),
            mark: now
                .observed
                .config_map
                .as_ref()
                .map(Mark::of)
                .unwrap_or_default(),
            now,
            by_key,
            mark_then,
            revoked_since,
            changes: Vec::new(),
            seen: BTreeSet::new(),
            left_out: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// Decides a key that is claimed now.
    fn take(&mut self, claim: &Claim) {
        self.seen.insert(claim.hash.clone());
        if let Some(standing) = self.standing(claim) {
            self.keep_as_it_stands(&claim.hash, standing);
            return;
        }
        // A mark that no mapping asks for and no entry bears would make ours what is unmanaged in the copy.
        if claim.orphan() && claim.found.is_none() {
            self.mark.0.remove(&claim.hash);
        }
        if self.is_declared_here(claim) {
            // The plan puts it right, where it is in the copy.
            if let Some(meaning) = self.mark_then.0.get(&claim.hash) {
                self.mark
                    .0
                    .entry(claim.hash.clone())
                    .or_insert_with(|| meaning.clone());
            }
        } else {
            self.leave_out(&claim.hash);
        }
    }

    /// The entry that exists and is managed.
    fn standing(&self, claim: &Claim) -> Option<&'a Entry> {
        let found = claim.found.as_ref().filter(|_| claim.ours)?;
        let entries = &self.now.base.document.section(found.section).entries;
        entries.iter().find(|entry| entry.item == found.item)
    }

    fn keep_as_it_stands(&mut self, hash: &KeyHash, standing: &Entry) {
        let entry = NewEntry {
            section: standing.section,
            arn: standing.arn.clone(),
            username: standing.username.clone(),
            groups: standing.groups.clone(),
        };
        let of_key = self.by_key.get(hash);
        let last = of_key.and_then(|entries| entries.last()).copied();
        let ours = self.ours_then.get(hash).copied();
        let here = |then: &&Entry| then.section == standing.section;
        match ours.or(last).filter(here) {
            // Another entry of the principal, over which it wins now, would win over it there.
            Some(then)
                if last.filter(here).is_some_and(|last| last.item > then.item)
                    && self.is_last(hash, standing) =>
            {
                self.changes.push(EntryEdit::Remove {
                    section: then.section,
                    item: then.item,
                });
                self.changes.push(EntryEdit::Append(entry));
                if then.meaning() == standing.meaning() {
                    return;
                }
            }
            Some(then) if then.meaning() == standing.meaning() => return,
            Some(then) => self.changes.push(EntryEdit::Replace {
                section: then.section,
                item: then.item,
                entry,
            }),
            None => self.changes.push(EntryEdit::Append(entry)),
        }
        self.kept.push(standing.arn.clone());
    }

    /// Whether no other entry of its principal is behind it.
    fn is_last(&self, hash: &KeyHash, standing: &Entry) -> bool {
        let section = self.now.base.document.section(standing.section);
        let behind = section.entries.iter();
        let mut behind = behind.filter(|entry| entry.item > standing.item);
        !behind.any(|entry| hash_of(entry).as_ref() == Some(hash))
    }

    /// Whether a mapping declares it now, and it was in aws-auth: not one that has been handed over since. A suspended or refused
    /// mapping only keeps what stood last, and of that only what its spec still names, or may name.
    fn is_declared_here(&self, claim: &Claim) -> bool {
        let idle = claim.holder.iter().chain(&claim.others).any(|position| {
            let named = self.now.mappings[*position].key();
            matches!(
                self.now.states[*position],
                State::Suspended | State::Refused
            ) && (named.is_none() || named == claim.key)
        });
        let then = self.mark_then.0.get(&claim.hash);
        if idle && claim.marked.is_some() && claim.marked.as_ref() == then {
            return true;
        }
        let config_map = self.now.settings.config_map.to_string();
        let live = claim
            .holder
            .filter(|holder| self.now.states[*holder] == State::Live);
        live.is_some_and(|holder| {
            let written = self.now.mappings[holder].written(&config_map);
            let key = claim.key.as_ref();
            claim.marked.is_some() || key.is_some_and(|key| written.contains_key(key))
        })
    }

    /// Keys that nobody knows any more.
    fn leave_out_unknown(&mut self) {
        let known = self.ours_then.keys().chain(&self.revoked_since);
        let unknown: BTreeSet<KeyHash> = known
            .filter(|hash| !self.seen.contains(*hash))
            .cloned()
            .collect();
        for hash in unknown {
            self.leave_out(&hash);
        }
    }

    /// Leaves out what the copy has of a revoked principal: the managed entry, or all that was adopted later.
    fn leave_out(&mut self, hash: &KeyHash) {
        let all = self.by_key.get(hash).map(Vec::as_slice).unwrap_or_default();
        let entries: Vec<&'a Entry> = if self.revoked_since.contains(hash) {
            all.to_vec()
        } else {
            self.ours_then.get(hash).copied().into_iter().collect()
        };
        for entry in entries {
            self.changes.push(EntryEdit::Remove {
                section: entry.section,
                item: entry.item,
            });
            self.left_out.push(entry);
        }
    }

    /// The copy with the changes: what the plan of the moment is applied to.
    fn base(&self, copy: &KeptCopy, observed: &Observed) -> Result<ConfigMapView, Unrestorable> {
        let mut view = observed.config_map.clone().unwrap_or_default();
        let read = Section::ALL.map(Section::key);
        let is_read = |key: &String| read.contains(&key.as_str());
        view.data.retain(|key, _| !is_read(key));
        // Only what the authenticator reads, and the diff shows, comes back.
        let texts = copy.data.iter().filter(|(key, _)| is_read(key));
        view.data
            .extend(texts.map(|(key, text)| (key.clone(), text.clone())));
        view.data
            .extend(edit(&copy.data, &self.changes).map_err(Unrestorable::Edit)?);
        view.annotations.remove(MARK_ANNOTATION);
        if !self.mark.0.is_empty() {
            view.annotations
                .insert(MARK_ANNOTATION.to_owned(), self.mark.render());
        }
        Ok(view)
    }
}

/// Reads the new text back: everything unmanaged of the copy that is not left out is as it was there, and nothing else that is unmanaged.
fn verify(
    then: &Document,
    ours_then: &BTreeMap<KeyHash, &Entry>,
    left_out: &[&Entry],
    restored: &Document,
    mark: &Mark,
) -> Result<(), Unrestorable> {
    let unverified = |what: String| Err(Unrestorable::Unverified(what));
    let owned = |entry: &Entry| hash_of(entry).is_some_and(|hash| mark.0.contains_key(&hash));
    let was_ours = |entry: &Entry| {
        hash_of(entry)
            .and_then(|hash| ours_then.get(&hash).copied())
            .is_some_and(|ours| std::ptr::eq(ours, entry))
    };
    let is_left_out = |entry: &Entry| left_out.iter().any(|out| std::ptr::eq(*out, entry));
    let expected = then
        .entries()
        .filter(|entry| !owned(entry) && !was_ours(entry) && !is_left_out(entry));
    let found = restored.entries().filter(|entry| !owned(entry));
    let form = |entry: &Entry| (entry.section, entry.meaning(), entry.sso);
    let (expected, found): (Vec<_>, Vec<_>) =
        (expected.map(form).collect(), found.map(form).collect());
    if expected != found {
        let differs = expected.iter().zip(&found).find(|(a, b)| a != b);
        let arn = differs.map_or("an entry", |((_, meaning, _), _)| meaning.arn.as_str());
        return unverified(format!("{arn} would differ from the copy"));
    }
    if then.section(Section::Accounts).accounts != restored.section(Section::Accounts).accounts {
        return unverified("mapAccounts would differ from the copy".to_owned());
    }
    for section in Section::ALL {
        if let Some(problem) = &restored.section(section).broken {
            return unverified(problem.to_string());
        }
    }
    Ok(())
}

fn losses(now: &Plan<'_>, restored: &Document, admitted: &BTreeSet<String>) -> Vec<Loss> {
    let standing = &now.base.standing;
    let (before, after) = (Index::new(standing), Index::new(restored));
    let mut nodes: Vec<&Entry> = before
        .winners()
        .filter(|entry| is_node(&entry.meaning(), &now.observed.bindings) && can_match(entry))
        .filter(|entry| !admitted.contains(&entry.matched_arn()))
        .filter(|entry| match after.lookup(&entry.arn) {
            Lookup::Role(then) | Lookup::User(then) => then.meaning() != entry.meaning(),
            Lookup::AmbiguousUser(_) | Lookup::Account | Lookup::None => true,
        })
        .collect();
    nodes.sort_by_key(|entry| (entry.section, entry.line));
    let mut losses: Vec<Loss> = nodes
        .into_iter()
        .map(|entry| Loss::NodeEntry {
            arn: entry.arn.clone(),
            line: (entry.section, entry.line),
        })
        .collect();
    if !now.administrators(standing).is_empty() && now.administrators(restored).is_empty() {
        losses.push(Loss::LastAdministrator);
    }
    losses
}

impl Restoration {
    /// How the caller of this ARN, in which a session is its role, has access afterwards.
    #[must_use]
    pub(crate) fn way_in(&self, canonical_arn: &str) -> WayIn {
        let folded = fold_arn(canonical_arn);
        if self.admitted.contains(&folded) {
            return WayIn::Kept;
        }
        let now = self.standing.lookup(canonical_arn);
        let then = self.restored.lookup(canonical_arn);
        let kept = match (&now, &then) {
            (Lookup::None, _) | (Lookup::Account, Lookup::Account) => true,
            (Lookup::Role(now) | Lookup::User(now), Lookup::Role(then) | Lookup::User(then)) => {
                now.username == then.username
                    && now.meaning().groups.is_subset(&then.meaning().groups)
            }
            _ => now == then,
        };
        if kept {
            WayIn::Kept
        } else {
            WayIn::Lost {
                now: words(&now),
                then: words(&then),
            }
        }
    }

    /// The ARNs to which aws-auth now grants access as a caller of this username and these groups, where that is all that is known of it.
    #[must_use]
    pub(crate) fn entries_for(&self, username: &str, groups: &BTreeSet<String>) -> Vec<String> {
        let index = Index::new(&self.standing);
        let fits = |entry: &&Entry| {
            can_match(entry)
                && renders(&entry.username, username)
                && entry
                    .groups
                    .iter()
                    .all(|group| group.contains("{{") || groups.contains(group))
        };
        let mut arns: Vec<String> = index
            .winners()
            .filter(fits)
            .map(|entry| entry.arn.clone())
            .collect();
        arns.sort_unstable();
        arns
    }
}

/// Whether a template can come out as this text.
fn renders(template: &str, text: &str) -> bool {
    let Some((prefix, mut rest)) = template.split_once("{{") else {
        return template == text;
    };
    let Some(mut text) = text.strip_prefix(prefix) else {
        return false;
    };
    loop {
        let Some((_, after)) = rest.split_once("}}") else {
            return false;
        };
        match after.split_once("{{") {
            None => return text.ends_with(after),
            Some((between, more)) => {
                let Some(at) = text.find(between) else {
                    return false;
                };
                text = &text[at + between.len()..];
                rest = more;
            }
        }
    }
}

fn words(lookup: &Lookup<'_>) -> String {
    match lookup {
        Lookup::Role(entry) | Lookup::User(entry) => crate::plan::claim::identity(&entry.meaning()),
        Lookup::AmbiguousUser(_) => "one of several entries at random".to_owned(),
        Lookup::Account => "your ARN, by mapAccounts".to_owned(),
        Lookup::None => "nothing: no access".to_owned(),
    }
}

#[cfg(test)]
mod tests;
