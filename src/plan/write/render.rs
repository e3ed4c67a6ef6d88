//! From decided steps to text: the edit, the mark, and what does not fit.

use std::collections::BTreeMap;

use crate::api::condition::Reason;
use crate::aws_auth::{Document, EditError, EntryEdit, NewEntry, Section, edit};
use crate::observed::ConfigMapView;
use crate::ownership::{MARK_ANNOTATION, Mark, MeaningHash};
use crate::plan::claim::{Block, Claim, Context, Step};
use crate::plan::decide::holds::hold_removals_for_grants;
use crate::plan::write::review::{self, Facts, ReviewOutcome};
use crate::safety::{Clearance, Removals, Text};

/// What the API server takes as the values of one `ConfigMap`, in bytes (`MaxSecretSize` in k8s.io/kubernetes/pkg/apis/core).
const DATA_LIMIT: usize = 1_048_576;
/// What it takes as all annotations of one object, keys and values, in bytes
/// (`TotalAnnotationSizeLimitB` in k8s.io/apimachinery/pkg/api/validation).
const ANNOTATIONS_LIMIT: usize = 262_144;

/// What aws-auth becomes.
#[derive(Clone, Debug)]
pub(crate) struct Realized {
    pub(crate) data: BTreeMap<String, String>,
    pub(crate) mark: Mark,
    pub(crate) document: Document,
    /// That safety let it pass; without, nothing is written.
    pub(crate) clearance: Option<Clearance>,
}

/// Makes the text, blocking the claims that can't be realized or that safety refuses, until what remains can be. Gives the record
/// of removals that goes with it too.
pub(crate) fn realize(
    context: &Context<'_>,
    facts: &Facts,
    claims: &mut [Claim],
) -> (Realized, Removals) {
    let base = context.base;
    let mut held = Removals::default();
    loop {
        hold_removals_for_grants(context, claims);
        // An edit reads and writes the whole text; marks that do not fit are known without one.
        if annotation_bytes(&base.view, mark(claims, context).0.len()) > ANNOTATIONS_LIMIT
            && refuse_youngest(context, claims, None)
        {
            continue;
        }
        let data = match apply(context, claims) {
            Ok(data) => data,
            Err(blocked) => {
                block_failed(claims, &blocked);
                continue;
            }
        };
        if base.view.immutable && data != base.view.data {
            for claim in claims.iter_mut().filter(|claim| claim.changes_text()) {
                let message = "the ConfigMap is immutable: true, so the API server refuses any change; delete it: with --repair LastGood the operator restores it without immutable, otherwise create it again yourself";
                claim.hold(Block::lasting(Reason::ConfigMapImmutable, message));
            }
            continue;
        }
        let mark = mark(claims, context);
        let bytes = data_bytes(&base.view, &data);
        if bytes > DATA_LIMIT && refuse_youngest(context, claims, Some(bytes)) {
            continue;
        }
        let document = if data == base.view.data {
            base.document.clone()
        } else {
            Document::parse(&data)
        };
        let changes = data != base.standing_data || mark != facts.mark;
        let text = changes.then_some(Text {
            document: &document,
            mark: &mark,
        });
        match review::ask(context, facts, claims, text) {
            ReviewOutcome::Cleared(clearance, removals) => {
                let realized = Realized {
                    data,
                    mark,
                    document,
                    clearance: Some(clearance),
                };
                return (realized, removals.merge(&held));
            }
            ReviewOutcome::Held(removals) => held = held.merge(&removals),
            ReviewOutcome::Refused(block) => {
                for claim in claims.iter_mut() {
                    claim.hold_both(&block);
                }
                let realized = Realized {
                    data: base.standing_data.clone(),
                    mark: facts.mark.clone(),
                    document: base.standing.clone(),
                    clearance: None,
                };
                return (realized, facts.removals.clone());
            }
        }
    }
}

/// Claims that an edit could not realize, and why.
type Failed = (Vec<usize>, Block);

fn apply(context: &Context<'_>, claims: &[Claim]) -> Result<BTreeMap<String, String>, Failed> {
    let (changes, owners) = changes(context, claims);
    if changes.is_empty() {
        return Ok(context.base.view.data.clone());
    }
    match edit(&context.base.view.data, &changes) {
        Ok(texts) => {
            let mut data = context.base.view.data.clone();
            data.extend(texts);
            Ok(data)
        }
        Err(EditError::Entangled { change, line, what }) => {
            let owner = owners[change];
            let message = format!(
                "line {line}: {what}; write the entry without anchors by hand, then the operator continues"
            );
            Err((
                vec![owner],
                Block::lasting(Reason::EntryNotEditable, message),
            ))
        }
        Err(EditError::Broken(problem)) => {
            let of_section =
                |position: &usize| section_of(context, &claims[*position]) == Some(problem.section);
            let mut failed: Vec<usize> = owners.iter().copied().filter(of_section).collect();
            if failed.is_empty() {
                failed = owners;
            }
            Err((
                failed,
                Block::lasting(Reason::InvalidYAML, problem.to_string()),
            ))
        }
        Err(EditError::Unverified { detail }) => {
            let message = format!(
                "the new text, read back, differs from the plan ({detail}), so nothing was written; please report this with the ConfigMap"
            );
            Err((owners, Block::lasting(Reason::EditUnverified, message)))
        }
    }
}

fn block_failed(claims: &mut [Claim], (failed, block): &Failed) {
    for position in failed {
        claims[*position].hold(block.clone());
    }
}

fn section_of(context: &Context<'_>, claim: &Claim) -> Option<Section> {
    claim
        .found
        .as_ref()
        .map(|found| found.section)
        .or_else(|| new_entry(context, claim).map(|entry| entry.section))
}

fn new_entry<'a>(context: &Context<'a>, claim: &Claim) -> Option<&'a NewEntry> {
    let mapping: &'a crate::desired::Mapping = &context.mappings[claim.holder?];
    let form = mapping.spec.as_ref().ok()?.form.as_ref()?;
    Some(&form.entry)
}

/// The changes, each with the claim that asks for it. Removals and rewritings first, then new entries, oldest mapping first.
fn changes(context: &Context<'_>, claims: &[Claim]) -> (Vec<EntryEdit>, Vec<usize>) {
    let mut changes: Vec<(EntryEdit, usize)> = Vec::new();
    let mut appended: Vec<(usize, usize)> = Vec::new();
    for (position, claim) in claims.iter().enumerate() {
        let found = claim.found.as_ref();
        let remove = found.map(|found| EntryEdit::Remove {
            section: found.section,
            item: found.item,
        });
        let entry = new_entry(context, claim);
        match (claim.effective(), found, entry) {
            (Step::Remove, Some(_), _) => changes.extend(remove.map(|change| (change, position))),
            (Step::Replace, Some(found), Some(entry)) if found.section == entry.section => {
                changes.push((
                    EntryEdit::Replace {
                        section: found.section,
                        item: found.item,
                        entry: entry.clone(),
                    },
                    position,
                ));
            }
            (Step::Replace | Step::Move, Some(_), Some(_)) => {
                changes.extend(remove.map(|change| (change, position)));
                appended.extend(claim.holder.map(|holder| (holder, position)));
            }
            (Step::Add, _, Some(_)) => {
                appended.extend(claim.holder.map(|holder| (holder, position)));
            }
            _ => {}
        }
    }
    // Mappings are sorted by age, so the position of the holder is its rank.
    appended.sort_unstable();
    changes.extend(appended.into_iter().filter_map(|(_, position)| {
        Some((
            EntryEdit::Append(new_entry(context, &claims[position])?.clone()),
            position,
        ))
    }));
    changes.into_iter().unzip()
}

/// The mark that goes with the steps.
fn mark(claims: &[Claim], context: &Context<'_>) -> Mark {
    let of = |claim: &Claim| {
        let declared = || {
            let spec = context.mappings[claim.holder?].spec.as_ref().ok()?;
            Some(spec.form.as_ref()?.meaning_hash.clone())
        };
        let hash = match claim.effective() {
            Step::Keep | Step::Add | Step::Replace | Step::Move | Step::Adopt => declared()?,
            Step::Remove | Step::Unmark | Step::Retain => return None,
            // What is ours stays marked as it was; what a status recognised is marked again.
            Step::Leave if claim.loses_mark => return None,
            Step::Leave => match (&claim.marked, &claim.found) {
                (Some(marked), _) => marked.clone(),
                (None, Some(found)) if claim.ours => MeaningHash::of(&found.meaning),
                (None, _) => return None,
            },
        };
        Some((claim.hash.clone(), hash))
    };
    Mark(claims.iter().filter_map(of).collect())
}

fn data_bytes(view: &ConfigMapView, data: &BTreeMap<String, String>) -> usize {
    data.values().map(String::len).sum::<usize>()
        + view.binary_data.values().map(Vec::len).sum::<usize>()
}

/// The size of all annotations with a mark of so many keys.
fn annotation_bytes(view: &ConfigMapView, marks: usize) -> usize {
    let others = view
        .annotations
        .iter()
        .filter(|(key, _)| *key != MARK_ANNOTATION);
    others
        .map(|(key, value)| key.len() + value.len())
        .sum::<usize>()
        + MARK_ANNOTATION.len()
        + Mark::rendered_bytes(marks)
}

/// Refuses the youngest of what would be added, as few as possible. Returns false where nothing could be refused: then the
/// text is too large without us, and the removals go through all the same. `whole` is the size of the data with all of
/// them, where that is known.
fn refuse_youngest(context: &Context<'_>, claims: &mut [Claim], whole: Option<usize>) -> bool {
    let adds = |claim: &Claim| match claim.effective() {
        Step::Replace => !claim.narrows,
        Step::Add | Step::Move | Step::Adopt => true,
        Step::Leave | Step::Keep | Step::Remove | Step::Unmark | Step::Retain => false,
    };
    let mut optional: Vec<usize> = (0..claims.len())
        .filter(|position| adds(&claims[*position]))
        .collect();
    if optional.is_empty() {
        return false;
    }
    // What stood a moment ago comes first, then the older mapping.
    optional.sort_by_key(|position| (claims[*position].drift.is_none(), claims[*position].holder));
    let with = |kept: usize| {
        let mut trial = claims.to_vec();
        for position in &optional[kept..] {
            trial[*position].hold(Block::lasting(Reason::ConfigMapFull, ""));
        }
        trial
    };
    let data_with = |kept: usize| {
        let data = apply(context, &with(kept)).ok()?;
        Some(data_bytes(&context.base.view, &data))
    };
    // Marks need no edit to be counted, so they come first.
    let view = &context.base.view;
    let standing = mark(&with(0), context).0;
    let marks: Vec<usize> = optional
        .iter()
        .scan(standing.len(), |marks, position| {
            *marks += usize::from(!standing.contains_key(&claims[*position].hash));
            Some(*marks)
        })
        .collect();
    let most = marks.partition_point(|marks| annotation_bytes(view, *marks) <= ANNOTATIONS_LIMIT);
    let weights: Vec<usize> = optional[..most]
        .iter()
        .map(|position| new_entry(context, &claims[*position]).map_or(0, weight))
        .collect();
    let most = whole.or_else(|| data_with(weights.len()));
    let (fitting, data) = largest(DATA_LIMIT, &weights, most, data_with);
    let (data_free, annotations_free) = (
        DATA_LIMIT.saturating_sub(data),
        ANNOTATIONS_LIMIT.saturating_sub(annotation_bytes(
            view,
            fitting
                .checked_sub(1)
                .map_or(standing.len(), |last| marks[last]),
        )),
    );
    for position in optional.split_off(fitting) {
        let needed = new_entry(context, &claims[position])
            .map(entry_bytes)
            .unwrap_or_default();
        let message = format!(
            "the entry needs about {needed} bytes of data and 26 of annotations, and the ConfigMap has {data_free} and \
             {annotations_free} free (of {DATA_LIMIT} and {ANNOTATIONS_LIMIT}); remove entries or annotations, or change to access entries"
        );
        claims[position].hold(Block::lasting(Reason::ConfigMapFull, message));
    }
    true
}

/// How much text an entry takes against others, without the layout of the list that it goes into.
fn weight(entry: &NewEntry) -> usize {
    let groups = entry.groups.iter().map(|group| group.len() + 8);
    entry.arn.len() + entry.username.len() + groups.sum::<usize>() + 40
}

/// The largest number of the first things whose size is within `limit`, and that size, given that of `all`. `size_of`
/// grows with the number, about as the weights do, and is dear: weighing finds the number in two or three trials where
/// halving takes a dozen.
fn largest(
    limit: usize,
    weights: &[usize],
    all: Option<usize>,
    size_of: impl Fn(usize) -> Option<usize>,
) -> (usize, usize) {
    if let Some(all) = all.filter(|all| *all <= limit) {
        return (weights.len(), all);
    }
    let none = size_of(0).unwrap_or_default();
    let (mut fitting, mut failing) = ((0, none), (weights.len(), all));
    while fitting.0 + 1 < failing.0 {
        let between = &weights[fitting.0..failing.0];
        let guess = match failing.1 {
            Some(size) => {
                let free = limit.saturating_sub(fitting.1);
                let share = between.iter().sum::<usize>() * free / (size - fitting.1).max(1);
                let sums = between.iter().scan(0, |sum, weight| {
                    *sum += weight;
                    Some(*sum)
                });
                fitting.0 + sums.take_while(|sum| *sum <= share).count()
            }
            None => fitting.0.midpoint(failing.0),
        };
        let guess = guess.clamp(fitting.0 + 1, failing.0 - 1);
        match size_of(guess) {
            Some(size) if size <= limit => fitting = (guess, size),
            size => failing = (guess, size),
        }
    }
    fitting
}

/// The size of an entry in the form in which we write it.
fn entry_bytes(entry: &NewEntry) -> usize {
    let alone = edit(&BTreeMap::new(), &[EntryEdit::Append(entry.clone())]);
    alone
        .map(|data| data.values().map(String::len).sum())
        .unwrap_or_default()
}

/// The changed keys of data against what exists.
pub(crate) fn changed_data(
    standing: &ConfigMapView,
    data: &BTreeMap<String, String>,
) -> BTreeMap<String, Option<String>> {
    data.iter()
        .filter(|(key, text)| standing.data.get(*key) != Some(text))
        .map(|(key, text)| (key.clone(), Some(text.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_largest_number_that_fits_is_found_in_few_trials() {
        let weights: Vec<usize> = (0..3000).map(|number| 200 + number * 7 % 150).collect();
        for limit in [0, 999, 1000, 1300, 100_000, 400_000, 10_000_000] {
            for indent in [0, 10, 60] {
                let size = |kept: usize| {
                    1000 + weights[..kept]
                        .iter()
                        .map(|weight| weight + indent)
                        .sum::<usize>()
                };
                let trials = Cell::new(0);
                let counted = |kept: usize| {
                    trials.set(trials.get() + 1);
                    Some(size(kept))
                };
                let (kept, bytes) = largest(limit, &weights, Some(size(weights.len())), counted);
                assert_eq!(bytes, size(kept));
                assert!(kept == 0 || bytes <= limit, "{kept} within {limit}");
                assert!(
                    kept == weights.len() || size(kept + 1) > limit,
                    "{kept} within {limit}"
                );
                assert!(trials.get() <= 5, "{} trials for {limit}", trials.get());
            }
        }
    }

    #[test]
    fn what_cannot_be_tried_does_not_fit() {
        let size = |kept: usize| (kept < 700).then_some(kept);
        assert_eq!(largest(5000, &[1; 1000], None, size), (699, 699));
    }
}
