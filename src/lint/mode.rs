//! Checks files for an authentication mode, with the planner.

use std::collections::{BTreeMap, BTreeSet};

use super::cluster::{lets_nodes_in, no_node_entry, not_read};
use super::code::Code;
use super::file::Checked;
use super::mappings::not_in_effect;
use super::read::PlacedDocument;
use crate::api::v1alpha1::{EntryType, IdentityMappingStatus};
use crate::aws_auth::Meaning;
use crate::desired::{Desired, Mapping};
use crate::diff::{account_of_stripped, forecast, without_iam};
use crate::effective::is_node;
use crate::manifest::DeclaredMapping;
use crate::observed::{AwsState, Bindings, ConfigMapView, HistoryState, Mode, Observed, Settings};
use crate::time::Timestamp;

impl Checked {
    /// Adds what only the mode shows: mappings that would not take effect, and nodes without access.
    pub(crate) fn in_mode(&mut self, aws: AwsState, now: Timestamp) {
        let mode = aws.mode();
        let partition = aws.view().and_then(|view| view.cluster.partition());
        let by_mapping = self.mappings.iter().any(is_for_nodes);
        for auth in self.aws_auths.clone() {
            let finding = match mode {
                Some(Mode::ConfigMap)
                    if !by_mapping
                        && !lets_nodes_in(
                            &PlacedDocument::new(&auth.data),
                            &Bindings::default(),
                            partition,
                        ) =>
                {
                    no_node_entry(mode, false)
                }
                Some(Mode::Api) => not_read(),
                Some(Mode::ConfigMap | Mode::ApiAndConfigMap) | None => continue,
            };
            self.report.take(auth.source, auth.at, finding);
        }
        // The planner knows it better.
        self.report
            .diagnostics
            .retain(|found| found.code != Code::ForeignEntry);
        self.mappings_in_mode(aws, now);
        self.report.sort();
    }

    fn mappings_in_mode(&mut self, mut aws: AwsState, now: Timestamp) {
        let objects = self.mappings.iter().map(|declared| &declared.object);
        without_iam(&mut aws, objects.filter_map(account_of_stripped));
        let colliding: BTreeSet<(usize, usize)> = self
            .report
            .diagnostics
            .iter()
            .filter(|found| found.code == Code::SamePrincipal)
            .map(|found| (found.source, found.span.start))
            .collect();
        let mut desired = Desired::default();
        for declared in &self.mappings {
            let mut object = declared.object.clone();
            object.metadata.creation_timestamp.get_or_insert(now.into());
            desired.mappings.push(Mapping::from_object(&object));
        }
        let data = self.aws_auths.first().map(|auth| auth.data.clone());
        let observed = Observed {
            now,
            config_map: data.map(|data| ConfigMapView {
                data,
                ..ConfigMapView::default()
            }),
            history: HistoryState::Missing,
            bindings: Bindings::default(),
            aws,
            crd_deleting: false,
        };
        let statuses: BTreeMap<String, IdentityMappingStatus> =
            forecast(&desired, &observed, &Settings::default())
                .mappings
                .into_iter()
                .collect();
        let mut found = Vec::new();
        for declared in &self.mappings {
            let name = declared.object.metadata.name.as_deref().unwrap_or_default();
            let at = declared.manifest.span_of("spec.principal");
            if colliding.contains(&(declared.source, at.start)) {
                continue;
            }
            let status = statuses.get(name);
            found.extend(
                status.and_then(|status| Some((declared.source, not_in_effect(name, status, at)?))),
            );
        }
        for (source, finding) in found {
            self.report.take(source, finding.at.clone(), finding);
        }
    }
}

/// Whether a mapping grants nodes access.
fn is_for_nodes(declared: &DeclaredMapping) -> bool {
    let spec = &declared.object.spec;
    let meaning = Meaning {
        arn: String::new(),
        username: spec.username.clone().unwrap_or_default(),
        groups: spec.groups.iter().cloned().collect(),
    };
    spec.type_ != EntryType::Standard || is_node(&meaning, &Bindings::default())
}
