//! What this process remembers between passes. A restart begins with [`Memory::default`].
//!
//! Nothing in here grants anything on its own: the last good texts only restore what was in force a moment before, and everything
//! that must outlive the process is kept in the cluster (mark, statuses, history).

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use crate::aws_auth::Section;
use crate::observed::{ConfigMapView, SeenTexts, is_older};
use crate::ownership::{KeyHash, MARK_ANNOTATION, Unmanaged};
use crate::plan::cause::ChangeCause;
use crate::plan::orphans::OrphanSet;
use crate::safety::Removals;
use crate::time::Timestamp;

/// So many undoings within [`CONTEST_WINDOW`] make a target contested.
const CONTEST_COUNT: usize = 3;
/// A minute: how long undoings count, and how long it must be quiet until a target is not contested any more.
pub(crate) const CONTEST_WINDOW: SignedDuration = SignedDuration::from_secs(60);
/// A second: the least time between two repairs of contested targets.
pub(crate) const CONTEST_PAUSE: SignedDuration = SignedDuration::from_secs(1);
/// The same for access entries, whose changes are found by listings some minutes apart.
const ENTRY_CONTEST_WINDOW: SignedDuration = SignedDuration::from_mins(15);
/// A minute: the least time between two repairs of a contested access entry.
const ENTRY_CONTEST_PAUSE: SignedDuration = SignedDuration::from_mins(1);

/// What this process remembers from pass to pass.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// aws-auth as it last stood.
    pub(crate) standing: Option<ConfigMapView>,
    /// The mark that the last pass left.
    pub(crate) left_mark: Option<LeftMark>,
    /// Per section the last text that stood and parsed.
    pub(crate) good: BTreeMap<Section, String>,
    /// Unmanaged entries of the text that was last seen, so that none of them is taken for ours when ours is removed.
    pub(crate) unmanaged: Unmanaged,
    /// The set of orphaned keys whose removal is confirmed. It shrinks while they are removed; its name does not.
    pub(crate) confirmed_orphans: Option<OrphanSet>,
    /// What was undone lately.
    pub(crate) undone: Undone,
    /// The removals of the last minutes, also where the history can't be written.
    pub(crate) removals: Removals,
    /// Whether they hold what a leader before this one recorded.
    pub(crate) has_record: bool,
    /// The value of the release annotation that stood when the process started: a restart ends a release.
    pub(crate) release_at_start: Option<String>,
    /// Whether a pass has been made.
    pub(crate) started: bool,
    /// When EKS was last asked to choose a principal's username.
    pub(crate) asked: BTreeMap<String, Timestamp>,
    /// Since when the entries of mappings that return to aws-auth have been seen there.
    pub(crate) in_aws_auth_since: BTreeMap<KeyHash, Timestamp>,
    /// Usernames that EKS gave where none was sent, by principal, where they are not the expected ones.
    pub(crate) defaults: BTreeMap<String, String>,
    /// What changed of a mapping, by its uid, where its access has not changed yet.
    pub(crate) causes: BTreeMap<String, ChangeCause>,
    /// Since when the temporary binding is present although no handover uses it.
    pub(crate) bridge_idle: Option<Timestamp>,
    /// States of aws-auth that an event has already told of.
    pub(crate) said: BTreeSet<String>,
    /// Since when a mapping can't take over what another one wrote that has ended, by key.
    pub(crate) takeovers: BTreeMap<KeyHash, Timestamp>,
}

impl Memory {
    /// What a replica keeps that does not lead: docs/reliability.md says why of each field.
    #[must_use]
    pub fn of_standby(self) -> Self {
        let Self {
            standing,
            good,
            unmanaged,
            removals,
            release_at_start,
            started,
            confirmed_orphans: _,
            undone: _,
            asked: _,
            in_aws_auth_since: _,
            defaults: _,
            causes: _,
            bridge_idle: _,
            said: _,
            takeovers: _,
            left_mark: _,
            has_record: _,
        } = self;
        Self {
            standing,
            good,
            unmanaged,
            removals: removals.without_held(),
            release_at_start,
            started,
            ..Self::default()
        }
    }

    /// The same without the texts, where another replica may have written some that this one has not seen: they could hold what was
    /// revoked since.
    #[must_use]
    pub fn without_texts(self) -> Self {
        Self {
            standing: None,
            good: BTreeMap::new(),
            unmanaged: Unmanaged::default(),
            ..self.of_standby()
        }
    }

    /// Takes in what the watch has shown of aws-auth. Without it a text that no pass saw would not count, and one from before a
    /// revocation would be brought back. What a pass read itself may be newer than the watch.
    pub fn see(&mut self, seen: SeenTexts) {
        let read = self.standing.as_ref();
        let is_superseded =
            |version: &str| read.is_some_and(|read| is_older(version, &read.resource_version));
        for (section, seen) in seen.good {
            // Where what was read does not parse, the last good text is from before.
            let read_well =
                read.is_some_and(|read| read.data.get(section.key()) == self.good.get(&section));
            if read_well && is_superseded(&seen.resource_version) {
                continue;
            }
            match seen.text {
                Some(text) => self.good.insert(section, text),
                None => self.good.remove(&section),
            };
        }
        if let Some(view) = seen.standing
            && !is_superseded(&view.resource_version)
        {
            self.standing = Some(view);
        }
    }

    /// Whether it holds a text of the key that a repair may bring back.
    #[must_use]
    pub fn has_text(&self, section: Section) -> bool {
        self.good.contains_key(&section)
    }

    /// Whether it holds texts that a repair may bring back.
    #[must_use]
    pub fn has_texts(&self) -> bool {
        self.standing.is_some() || !self.good.is_empty()
    }

    /// The removals that were ordered lately: more than is recorded, where the record can't be written.
    pub(crate) const fn removals(&self) -> &Removals {
        &self.removals
    }
}

/// The mark of aws-auth as a pass left it, if it has one. What the watch shows since is not the pass's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftMark(Option<String>);

impl LeftMark {
    pub(crate) fn of(view: &ConfigMapView) -> Self {
        Self(view.annotations.get(MARK_ANNOTATION).cloned())
    }
}

/// What someone else can undo.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RepairTarget {
    /// An owned entry.
    Entry(KeyHash),
    /// An owned access entry.
    AccessEntry(KeyHash),
    /// A key's text.
    Text(Section),
    /// aws-auth itself.
    ConfigMap,
    /// The mark.
    Mark,
}

/// When each target was undone within the last minute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Undone {
    targets: BTreeMap<RepairTarget, Record>,
    last_repair: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Record {
    times: Vec<Timestamp>,
    /// Of an access entry: when the change that was repaired last was first seen.
    seen: Option<Timestamp>,
    contested: bool,
}

impl RepairTarget {
    /// How long undoings of it count, and how long it must be quiet until it is not contested any more.
    fn window(&self) -> SignedDuration {
        match self {
            Self::Entry(_) | Self::Text(_) | Self::ConfigMap | Self::Mark => CONTEST_WINDOW,
            Self::AccessEntry(_) => ENTRY_CONTEST_WINDOW,
        }
    }
}

impl Undone {
    /// Whether the target is contested now.
    pub(crate) fn contested(&self, target: &RepairTarget, now: Timestamp) -> bool {
        self.targets
            .get(target)
            .is_some_and(|record| record.contested && !quiet(target, record, now))
    }

    /// The targets that are contested now.
    pub(crate) fn all_contested(&self, now: Timestamp) -> impl Iterator<Item = &RepairTarget> {
        self.targets
            .iter()
            .filter(move |(target, record)| record.contested && !quiet(target, record, now))
            .map(|(target, _)| target)
    }

    /// When a repair of contested targets may be made at the earliest.
    pub(crate) fn next_repair(&self, now: Timestamp) -> Option<Timestamp> {
        let last = self.last_repair.filter(|last| *last <= now)?;
        Some(last.plus(CONTEST_PAUSE))
    }

    /// When the first contested target comes to rest if nothing more happens.
    pub(crate) fn next_rest(&self, now: Timestamp) -> Option<Timestamp> {
        let contested = self
            .targets
            .iter()
            .filter(|(target, record)| record.contested && !quiet(target, record, now));
        contested
            .filter_map(|(target, record)| Some(record.last(now)?.plus(target.window())))
            .min()
    }

    /// When a contested access entry may be repaired at the earliest; `None` where it is not contested.
    pub(crate) fn next_entry_repair(
        &self,
        target: &RepairTarget,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let record = self.targets.get(target)?;
        let last = record.last(now)?;
        (record.contested && !quiet(target, record, now)).then(|| last.plus(ENTRY_CONTEST_PAUSE))
    }

    /// Whether a change of an access entry that was seen then is counted already.
    pub(crate) fn told(&self, hash: &KeyHash, seen: Timestamp) -> bool {
        let record = self.targets.get(&RepairTarget::AccessEntry(hash.clone()));
        record.is_some_and(|record| record.seen == Some(seen))
    }

    /// Records that an access entry is repaired after a change that was first seen then.
    pub(crate) fn entry_repaired(&mut self, hash: KeyHash, seen: Timestamp, now: Timestamp) {
        let target = RepairTarget::AccessEntry(hash);
        self.repaired([target.clone()], now);
        if let Some(record) = self.targets.get_mut(&target) {
            record.seen = Some(seen);
        }
    }

    /// Records that these targets were found undone and repaired.
    pub(crate) fn repaired(
        &mut self,
        targets: impl IntoIterator<Item = RepairTarget>,
        now: Timestamp,
    ) {
        self.targets
            .retain(|target, record| !quiet(target, record, now));
        for target in targets {
            let (window, text) = (
                target.window(),
                !matches!(target, RepairTarget::AccessEntry(_)),
            );
            let record = self.targets.entry(target).or_default();
            record
                .times
                .retain(|time| *time <= now && time.plus(window) > now);
            record.times.push(now);
            record.contested |= record.times.len() >= CONTEST_COUNT;
            if text {
                self.last_repair = Some(now);
            }
        }
    }
}

impl Record {
    /// When it was last undone. A time ahead of now is one of a clock that was set back since: it counts no more, for repairs would
    /// wait until it has passed again.
    fn last(&self, now: Timestamp) -> Option<Timestamp> {
        self.times.iter().copied().filter(|time| *time <= now).max()
    }
}

fn quiet(target: &RepairTarget, record: &Record, now: Timestamp) -> bool {
    record
        .last(now)
        .is_none_or(|last| last.plus(target.window()) <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).expect("in range")
    }

    fn text(version: &str, roles: &str) -> ConfigMapView {
        ConfigMapView {
            resource_version: version.to_owned(),
            data: [("mapRoles".to_owned(), roles.to_owned())].into(),
            ..ConfigMapView::default()
        }
    }

    #[test]
    fn what_a_pass_read_is_superseded_only_by_what_is_newer() {
        let (old, new, broken) = ("[]\n# old\n", "[]\n# new\n", "]");
        for (read, shown, good) in [
            (("7", old), &[("8", new)][..], new),
            (("7", old), &[("8", new), ("9", broken)], new),
            (("7", old), &[("6", new)], old),
            (("7", old), &[("6", new), ("8", broken)], old),
            // It did not parse, so the last good one is from before.
            (("7", broken), &[("6", new)], new),
        ] {
            let mut memory = Memory {
                standing: Some(text(read.0, read.1)),
                good: [(Section::Roles, old.to_owned())].into(),
                ..Memory::default()
            };
            let mut seen = SeenTexts::default();
            for (version, roles) in shown {
                seen.see(&text(version, roles));
            }
            memory.see(seen);
            let kept = memory.good.get(&Section::Roles).map(String::as_str);
            assert_eq!(kept, Some(good), "{read:?} {shown:?}");
            let versions = shown.iter().map(|it| it.0).chain([read.0]);
            let standing = memory.standing.map(|it| it.resource_version);
            assert_eq!(standing.as_deref(), versions.max(), "{read:?} {shown:?}");
        }
    }

    #[test]
    fn a_key_that_was_taken_away_is_not_brought_back() {
        let mut memory = Memory {
            standing: Some(text("7", "[]")),
            good: [(Section::Roles, "[]".to_owned())].into(),
            ..Memory::default()
        };
        let mut seen = SeenTexts::default();
        seen.see(&ConfigMapView {
            resource_version: "8".to_owned(),
            ..ConfigMapView::default()
        });
        seen.see(&text("9", "]"));
        memory.see(seen);
        assert!(memory.good.is_empty());
    }

    #[test]
    fn three_undoings_within_a_minute_contest_until_a_minute_without() {
        let target = RepairTarget::Text(Section::Roles);
        let mut undone = Undone::default();
        for (time, contested) in [
            (0, false),
            (10_000, false),
            (61_000, false),
            (62_000, true),
            (100_000, true),
        ] {
            undone.repaired([target.clone()], at(time));
            assert_eq!(
                undone.contested(&target, at(time)),
                contested,
                "at {time} ms"
            );
        }
        assert!(undone.contested(&target, at(159_999)));
        assert!(!undone.contested(&target, at(160_000)));
        assert_eq!(undone.next_rest(at(100_000)), Some(at(160_000)));
        undone.repaired([target.clone()], at(161_000));
        assert!(!undone.contested(&target, at(161_000)), "it starts anew");
    }

    #[test]
    fn the_next_repair_is_a_second_after_the_last() {
        let mut undone = Undone::default();
        assert_eq!(undone.next_repair(at(0)), None);
        undone.repaired([RepairTarget::Mark], at(5_000));
        assert_eq!(undone.next_repair(at(5_000)), Some(at(6_000)));
    }

    #[test]
    fn a_clock_that_is_set_back_an_hour_delays_no_repair() {
        let hash = KeyHash::parse("0123456789abcdef").expect("16 digits");
        for target in [RepairTarget::Mark, RepairTarget::AccessEntry(hash)] {
            let mut undone = Undone::default();
            let (late, early) = (at(4_000_000), at(400_000));
            for _ in 0..CONTEST_COUNT {
                undone.repaired([target.clone()], late);
            }
            assert!(undone.contested(&target, late));
            assert!(!undone.contested(&target, early), "{target:?}");
            assert_eq!(undone.next_repair(early), None);
            assert_eq!(undone.next_entry_repair(&target, early), None);
            assert_eq!(undone.next_rest(early), None);
            for _ in 0..CONTEST_COUNT {
                undone.repaired([target.clone()], early);
            }
            assert!(undone.contested(&target, early), "it counts anew");
        }
    }
}
