//! Which mapping answers for a principal.

use super::world::{Subject, World};
use crate::api::v1alpha1::Confirmation;
use crate::desired::{LONGEST_TAKEOVER, Mapping, Spec, State, WriterMarks};
use crate::ownership::KeyHash;
use crate::principal::Key;

impl World<'_> {
    /// Whether a live mapping holds a principal that its spec names. One that no backend can hold takes nothing over from those that
    /// wrote it.
    pub(super) fn holds(&self, mapping: &Mapping, state: State, key: &Key) -> bool {
        let takes_over = |spec: &Spec| spec.has_a_backend(self.before.mode, self.before.cluster());
        state == State::Live
            && mapping
                .spec
                .as_ref()
                .is_ok_and(|spec| self.wrote(mapping, key) || takes_over(spec))
    }

    /// Whether a live mapping claims a principal whose entries are to vanish: one that wrote nothing has [`LONGEST_TAKEOVER`] from the end
    /// of the one that did.
    pub(super) fn claims(&self, mapping: &Mapping, state: State, key: &Key) -> bool {
        self.holds(mapping, state, key) && (self.wrote(mapping, key) || !self.overdue(key))
    }

    /// Whether a mapping that wrote the entry of this key, and names it, ended long enough ago for any other to have taken over.
    fn overdue(&self, key: &Key) -> bool {
        let hash = KeyHash::of(key);
        let mut declaring = self.declaring(&hash);
        declaring.any(|(mapping, state)| {
            let end = mapping.end().map(|end| end.plus(LONGEST_TAKEOVER));
            matches!(state, State::Deleting | State::Expired)
                && self.wrote(mapping, key)
                && end.is_some_and(|end| end <= self.before.now)
        })
    }

    /// Whether mark and tags show that the subject's entries were written by others than this mapping.
    pub(super) fn is_anothers(&self, mapping: &Mapping, subject: &Subject<'_>) -> bool {
        let marks = self.marks(&subject.hash, &subject.key);
        let others = self.naming(&subject.hash).map(|(mapping, _)| mapping);
        let others: Vec<&Mapping> = others.collect();
        marks.is_anothers(mapping, others.iter().copied(), self.before.now)
    }

    fn marks<'k>(&'k self, hash: &KeyHash, key: &'k Key) -> WriterMarks<'k> {
        WriterMarks::new(
            key,
            self.before.config_map,
            self.before.mark.0.get(hash),
            self.before.cluster().map(|cluster| cluster.arn.as_str()),
            self.before.entries.of(hash),
        )
    }

    /// The mapping that answers for what becomes of the subject, among those whose spec names it: the live one that holds it, else the
    /// one that wrote its entry, else the oldest. Others of the same principal have no say.
    pub(super) fn responsible(&self, subject: &Subject<'_>) -> Option<(&Mapping, State)> {
        let holds =
            |(mapping, state): &(&Mapping, State)| self.holds(mapping, *state, &subject.key);
        let wrote = |(mapping, _): &(&Mapping, State)| self.wrote(mapping, &subject.key);
        let declaring = || self.declaring(&subject.hash);
        declaring()
            .find(|declared| holds(declared) && wrote(declared))
            .or_else(|| declaring().find(holds))
            .or_else(|| declaring().find(wrote))
            .or_else(|| declaring().next())
    }

    /// Whether a person confirmed it for the subject: on the mapping that answers for it. Only where no spec names it, on one whose
    /// status does, since its spec has moved on; a person who can write statuses gains no say over what others declare.
    pub(super) fn confirmed(&self, subject: &Subject<'_>, confirmation: Confirmation) -> bool {
        let confirms = |(mapping, _): (&Mapping, State)| mapping.confirms(confirmation);
        if let Some(responsible) = self.responsible(subject) {
            return confirms(responsible);
        }
        if self.named.contains_key(&subject.hash) {
            return self.naming(&subject.hash).any(confirms);
        }
        self.before.orphans.contains(&confirmation)
    }

    /// Whether the mapping's status says that it wrote an entry of this key, or mark and tags do of one that has ended.
    pub(super) fn wrote(&self, mapping: &Mapping, key: &Key) -> bool {
        mapping.written(self.before.config_map).contains_key(key)
            || self
                .before
                .cluster()
                .is_some_and(|cluster| mapping.written_entries(&cluster.arn).contains_key(key))
            || {
                let hash = KeyHash::of(key);
                let others = self.naming(&hash).map(|(mapping, _)| mapping);
                let marks = self.marks(&hash, key);
                marks.is_left_by(mapping, others, self.before.now)
            }
    }
}
