//! A change of aws-auth by a command: under the same rules as every write of the operator, with a copy saved first.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::v1alpha1::Confirmation;
use crate::aws_auth::Document;
use crate::effective::StandingEntries;
use crate::observed::{ConfigMapView, HistoryState, Mode, Observed};
use crate::ownership::Mark;
use crate::plan::action::{ConfigMapWrite, HistoryWrite};
use crate::plan::write::history;
use crate::safety::{Authority, Before, Cleared, Proposal, Removals, Text, review};

/// What to write, the history first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// Keeps what exists; `None` where an equal copy is kept already.
    pub history: Option<HistoryWrite>,
    /// Writes the changed keys, on what was read.
    pub config_map: ConfigMapWrite,
}

impl Rewrite {
    /// Clears the write that a person confirmed from the diff, with what else was `agreed` to. The caller's own access is asked about
    /// where it is known who that is.
    ///
    /// # Errors
    ///
    /// Says what the write would take away, and which confirmation allows it.
    pub fn clear(
        &self,
        observed: &Observed,
        agreed: &BTreeSet<Confirmation>,
    ) -> Result<Cleared<ConfigMapWrite>, String> {
        let none = ConfigMapView::default();
        let standing = observed.config_map.as_ref().unwrap_or(&none);
        let view = self.config_map.applied(Some(standing));
        let (text, then) = (Document::parse(&standing.data), Document::parse(&view.data));
        let aws = observed.aws.view();
        let counted = aws.filter(|view| view.mode != Mode::ConfigMap);
        let entries = counted.map(StandingEntries::new).unwrap_or_default();
        let (mark, removals) = (Mark::default(), Removals::default());
        let before = Before {
            now: observed.now,
            mode: observed.aws.mode(),
            text: &text,
            last_good: &text,
            mark: &mark,
            managed: &BTreeMap::new(),
            managed_entries: &BTreeSet::new(),
            view: counted,
            iam: observed.aws.iam(),
            entries: &entries,
            bindings: &observed.bindings,
            mappings: &[],
            states: &[],
            config_map: "",
            removals: &removals,
            recordable: false,
            orphans: agreed,
            confirmed_orphans: &BTreeSet::new(),
            definition_deleting: false,
        };
        let proposal = Proposal {
            text: Some(Text {
                document: &then,
                mark: &mark,
            }),
            authority: Authority::Person,
            ..Proposal::default()
        };
        let reviewed = review(&before, &proposal);
        reviewed
            .clearance
            .map(|clearance| clearance.clear(self.config_map.clone()))
            .ok_or_else(|| {
                let refused = reviewed.refusals.iter().map(|refusal| {
                    let word = refusal.confirmation.map_or("", Confirmation::as_str);
                    format!("{} ({word})", refusal.why)
                });
                refused
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .collect::<Vec<_>>()
                    .join("; ")
            })
    }
}

/// The writes that give aws-auth these texts; `None` where it has them.
///
/// # Errors
///
/// Says why what exists can't be kept: then nothing is to be written.
pub fn rewrite(
    observed: &Observed,
    data: &BTreeMap<String, String>,
) -> Result<Option<Rewrite>, String> {
    let Some(standing) = &observed.config_map else {
        return Err("it does not exist".to_owned());
    };
    let mut view = standing.clone();
    view.data.extend(data.clone());
    to(&view, BTreeMap::new(), observed)
}

/// The writes that lead from what exists to texts and annotations, with annotations to set on the history; `None` where it is so already.
///
/// # Errors
///
/// Says why what exists can't be kept: then nothing is to be written.
pub(crate) fn to(
    view: &ConfigMapView,
    annotations: BTreeMap<String, Option<String>>,
    observed: &Observed,
) -> Result<Option<Rewrite>, String> {
    let Some(standing) = &observed.config_map else {
        let config_map = ConfigMapWrite::Create {
            data: view.data.clone(),
            binary_data: BTreeMap::new(),
            labels: BTreeMap::new(),
            annotations: view.annotations.clone(),
        };
        return Ok(Some(Rewrite {
            history: None,
            config_map,
        }));
    };
    let data = changed(&standing.data, &view.data);
    let marks = changed(&standing.annotations, &view.annotations);
    if data.is_empty() && marks.is_empty() {
        return Ok(None);
    }
    let history = match &observed.history {
        HistoryState::Missing => None,
        HistoryState::Present(view) => Some(view),
        HistoryState::Unwritable { error, .. } => return Err(error.clone()),
    };
    let kept = history::keep(standing, history, observed.now)?;
    let write = HistoryWrite {
        resource_version: history.map(|view| view.resource_version.clone()),
        add: kept.add,
        remove: kept.remove,
        annotations,
    };
    let empty = write.add.is_empty() && write.remove.is_empty() && write.annotations.is_empty();
    Ok(Some(Rewrite {
        history: (!empty).then_some(write),
        config_map: ConfigMapWrite::Patch {
            resource_version: standing.resource_version.clone(),
            data,
            annotations: marks,
        },
    }))
}

fn changed(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> BTreeMap<String, Option<String>> {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differing = keys
        .into_iter()
        .filter(|key| before.get(*key) != after.get(*key));
    differing
        .map(|key| (key.clone(), after.get(key).cloned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::{AwsState, Bindings, HistoryView};
    use crate::time::Timestamp;

    fn observed(history: HistoryState) -> Observed {
        Observed {
            now: Timestamp::from_second(1_800_000_000).expect("in range"),
            config_map: Some(ConfigMapView {
                resource_version: "7".to_owned(),
                data: [("mapRoles", "a"), ("mapUsers", "b")]
                    .map(|(key, text)| (key.to_owned(), text.to_owned()))
                    .into(),
                ..ConfigMapView::default()
            }),
            history,
            bindings: Bindings::default(),
            aws: AwsState::Off,
            crd_deleting: false,
        }
    }

    fn with(key: &str, text: &str) -> BTreeMap<String, String> {
        let mut data = observed(HistoryState::Missing)
            .config_map
            .expect("given")
            .data;
        data.insert(key.to_owned(), text.to_owned());
        data
    }

    #[test]
    fn the_current_text_is_saved_first_and_only_changes_are_written() {
        let history = HistoryView {
            resource_version: "3".to_owned(),
            ..HistoryView::default()
        };
        let planned = rewrite(
            &observed(HistoryState::Present(history)),
            &with("mapRoles", "c"),
        );
        let planned = planned.expect("planned").expect("a change");
        let history = planned.history.expect("a copy");
        assert_eq!(
            (history.resource_version.as_deref(), history.add.len()),
            (Some("3"), 1)
        );
        let expected = ConfigMapWrite::Patch {
            resource_version: "7".to_owned(),
            data: [("mapRoles".to_owned(), Some("c".to_owned()))].into(),
            annotations: BTreeMap::new(),
        };
        assert_eq!(planned.config_map, expected);
        assert_eq!(
            rewrite(&observed(HistoryState::Missing), &with("mapRoles", "a")),
            Ok(None)
        );
    }

    #[test]
    fn nothing_is_written_where_nothing_can_be_kept() {
        let unwritable = HistoryState::Unwritable {
            view: None,
            error: "no".to_owned(),
        };
        assert_eq!(
            rewrite(&observed(unwritable), &with("mapRoles", "c")),
            Err("no".to_owned())
        );
    }
}
