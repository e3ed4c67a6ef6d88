//! Changes by people and other programs.

#![allow(
    clippy::doc_markdown,
    clippy::needless_for_each,
    reason = "names of a test model"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::World;
use super::access::folded;
use crate::access_entry::{Call, INSTALLATION_TAG, Kind};
use crate::api::IdentityMapping;
use crate::api::v1alpha1::{CONFIRM_ANNOTATION, EntryType, IdentityMappingSpec};
use crate::observed::{ConfigMapView, Manager, Mode};
use crate::ownership::MARK_ANNOTATION;
use crate::plan::HANDOVER_ANNOTATION;
use crate::principal::Key;
use crate::time::Timestamp;

pub(super) fn arn(role: &str) -> String {
    format!("arn:aws:iam::111122223333:role/{role}")
}

/// One thing that somebody else than the operator does.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Act {
    /// Applies a new mapping of a role; the rest of its spec is merged over username and group.
    Apply {
        name: &'static str,
        role: &'static str,
        spec: Value,
    },
    /// Changes fields of a mapping's spec.
    Edit(&'static str, Value),
    Confirm(&'static str, &'static str),
    Delete(&'static str),
    /// Takes what a status says from it.
    ClearStatus(&'static str),
    /// Writes the status of the second mapping into that of the first.
    CopyStatus(&'static str, &'static str),
    /// Adds an entry at the end of mapRoles.
    AddLine(&'static str, &'static str, &'static str),
    /// Takes the last entry of this role from mapRoles.
    CutLine(&'static str),
    /// Replaces text inside of mapRoles, of an entry of ours.
    Replace(&'static str, &'static str),
    DropMark,
    /// Writes a text that does not parse.
    Break,
    DeleteConfigMap,
    /// Makes a Standard access entry with this username and these groups.
    MakeEntry(&'static str, &'static str, &'static str),
    ChangeEntry(&'static str, &'static str, &'static str),
    DeleteEntry(&'static str),
    DropTags(&'static str),
    Mode(Mode),
    Handover(&'static str),
    /// Deletes the CustomResourceDefinition, and with it every mapping.
    DeleteDefinition,
}

impl World {
    /// Does it.
    #[allow(clippy::too_many_lines, reason = "an arm for each act")]
    pub(super) fn act(&mut self, act: &Act) {
        match act {
            Act::Apply { name, role, spec } => self.apply(name, role, spec),
            Act::Edit(name, changes) => self.edit(name, |object| {
                let mut spec = json!(object.spec);
                merge(&mut spec, changes);
                let spec: IdentityMappingSpec = serde_json::from_value(spec).expect("a spec");
                if object.spec != spec {
                    object.spec = spec;
                    *object.metadata.generation.get_or_insert_default() += 1;
                }
            }),
            Act::Confirm(name, words) => self.edit(name, |object| {
                let annotations = object.metadata.annotations.get_or_insert_default();
                annotations.insert(CONFIRM_ANNOTATION.to_owned(), (*words).to_owned());
            }),
            Act::Delete(name) => self.delete(name),
            Act::ClearStatus(name) => self.edit(name, |object| object.status = None),
            Act::CopyStatus(name, from) => {
                let status = self
                    .objects
                    .get(*from)
                    .and_then(|object| object.status.clone());
                self.edit(name, |object| object.status = status);
            }
            Act::AddLine(role, username, group) => {
                let line = format!(
                    "- rolearn: {}\n  username: {username}\n  groups: [{group}]\n",
                    arn(role)
                );
                self.write_text(|text| {
                    if !text.is_empty() && !text.ends_with('\n') {
                        text.push('\n');
                    }
                    text.push_str(&line);
                });
                self.text_touched(role);
            }
            Act::CutLine(role) => {
                self.cut(role);
                self.text_touched(role);
            }
            Act::Replace(from, to) => {
                self.write_text(|text| *text = text.replace(from, to));
            }
            Act::DropMark => {
                if let Some(view) = &mut self.config_map {
                    view.annotations.remove(MARK_ANNOTATION);
                }
                self.write_text(|_| ());
                self.ledger.mark_lost();
            }
            Act::Break => {
                self.write_text(|text| text.push_str("\n- \"\n"));
                let roles: Vec<String> = self.access.text.keys().cloned().collect();
                self.contexts()
                    .for_each(|since| since.touched.extend(roles.iter().cloned()));
            }
            Act::DeleteConfigMap => {
                self.config_map = None;
                self.operator.dirty = true;
                let roles: Vec<String> = self.access.text.keys().cloned().collect();
                self.contexts()
                    .for_each(|since| since.touched.extend(roles.iter().cloned()));
                self.ledger.text_by_others(None);
            }
            Act::MakeEntry(role, username, group) => self.by_hand(&Call::Create {
                principal_arn: arn(role),
                kind: Kind::Known(EntryType::Standard),
                username: Some((*username).to_owned()),
                groups: [(*group).to_owned()].into(),
                tags: [].into(),
            }),
            Act::ChangeEntry(role, username, group) => self.by_hand(&Call::Update {
                principal_arn: arn(role),
                username: Some((*username).to_owned()),
                groups: [(*group).to_owned()].into(),
            }),
            Act::DeleteEntry(role) => self.by_hand(&Call::Delete {
                principal_arn: arn(role),
            }),
            Act::DropTags(role) => {
                self.keep_past();
                if let Some(entry) = self.eks.entries.get_mut(&arn(role)) {
                    entry.tags.remove(INSTALLATION_TAG);
                    self.ledger.tags_lost(&arn(role));
                }
                self.entry_touched(&arn(role));
            }
            Act::Mode(mode) => {
                self.mode = *mode;
                self.operator.mode_unread = true;
                let all: Vec<String> = self.access.by_principal.keys().cloned().collect();
                self.contexts()
                    .for_each(|since| since.touched.extend(all.iter().cloned()));
            }
            Act::DeleteDefinition => {
                self.definition_deleting = true;
                let names: Vec<String> = self.objects.keys().cloned().collect();
                names.iter().for_each(|name| self.delete(name));
            }
            Act::Handover(word) => {
                let history = &mut self.history.get_or_insert_default().metadata;
                let annotations = history.annotations.get_or_insert_default();
                annotations.insert(HANDOVER_ANNOTATION.to_owned(), (*word).to_owned());
                let version = history.resource_version.clone().unwrap_or_default();
                history.resource_version = Some(next(&version));
                self.operator.dirty = true;
            }
        }
    }

    fn apply(&mut self, name: &str, role: &str, spec: &Value) {
        if self.objects.contains_key(name) {
            return;
        }
        let mut all = json!({"principal": {"arn": arn(role)}, "username": name, "groups": ["g"]});
        merge(&mut all, spec);
        self.created += 1;
        let created = Timestamp::from_second(1_700_000_000 + self.created);
        let object: IdentityMapping = serde_json::from_value(json!({
            "apiVersion": "identity-mapper.dev/v1alpha1",
            "kind": "IdentityMapping",
            "metadata": {
                "name": name,
                "uid": format!("uid-{name}-{}", self.created),
                "generation": 1,
                "creationTimestamp": Time::from(created.expect("in range")),
            },
            "spec": all,
        }))
        .expect("a mapping");
        self.objects.insert(name.to_owned(), object);
        self.mapping_changed(name);
    }

    fn edit(&mut self, name: &str, change: impl FnOnce(&mut IdentityMapping)) {
        if let Some(object) = self.objects.get_mut(name) {
            change(object);
            self.mapping_changed(name);
        }
    }

    fn delete(&mut self, name: &str) {
        let now = self.now;
        self.mapping_changed(name);
        let Some(object) = self.objects.get_mut(name) else {
            return;
        };
        if object.metadata.finalizers.iter().flatten().next().is_none() {
            self.objects.remove(name);
        } else if object.metadata.deletion_timestamp.is_none() {
            object.metadata.deletion_timestamp = Some(now.into());
        }
        self.operator.dirty = true;
    }

    /// The watch tells of it: nothing that was planned before is sent for its principals.
    fn mapping_changed(&mut self, name: &str) {
        let Some(object) = self.objects.get(name) else {
            return;
        };
        self.ledger.named(object);
        self.operator.dirty = true;
        let uid = object.metadata.uid.clone().unwrap_or_default();
        let names = self.ledger.names.get(&uid).into_iter().flatten();
        for key in names.filter_map(|name| Key::parse_arn(name)) {
            self.operator.known.stir_key(key);
        }
    }

    fn write_text(&mut self, change: impl FnOnce(&mut String)) {
        let now = self.now;
        let view = self.config_map.get_or_insert_with(|| ConfigMapView {
            uid: "cm-by-hand".to_owned(),
            resource_version: "1000".to_owned(),
            ..ConfigMapView::default()
        });
        change(view.data.entry("mapRoles".to_owned()).or_default());
        view.resource_version = next(&view.resource_version);
        let manager = Manager {
            name: "someone".to_owned(),
            time: Some(now),
        };
        view.managers.insert("mapRoles".to_owned(), manager);
        self.operator.dirty = true;
        self.ledger.text_by_others(self.config_map.as_ref());
    }

    fn cut(&mut self, role: &str) {
        let Some(view) = &self.config_map else {
            return;
        };
        let document = crate::aws_auth::Document::parse(&view.data);
        let principal = arn(role).to_lowercase();
        let of_role = |entry: &&crate::aws_auth::Entry| entry.arn.to_lowercase() == principal;
        let Some(entry) = document.entries().filter(of_role).last() else {
            return;
        };
        let text = &view.data["mapRoles"];
        let begin = text[..entry.span.start]
            .rfind("- ")
            .unwrap_or(entry.span.start);
        let end = text[entry.span.end..]
            .find('\n')
            .map_or(text.len(), |end| entry.span.end + end + 1);
        self.write_text(|text| text.replace_range(begin..end, ""));
    }

    /// Someone else changes an entry of aws-auth.
    fn text_touched(&mut self, role: &str) {
        let principal = folded(&arn(role));
        self.contexts().for_each(|since| {
            since.touched.insert(principal.clone());
        });
    }

    fn by_hand(&mut self, call: &Call) {
        if self.mode == Mode::ConfigMap {
            return;
        }
        self.keep_past();
        self.eks.now = self.now;
        // Someone whose call EKS refuses has changed nothing.
        if self.eks.call(call).is_ok() {
            self.ledger.entry_by_others(call);
            self.entry_touched(call.principal_arn());
        }
    }

    fn entry_touched(&mut self, principal_arn: &str) {
        self.unseen.insert(principal_arn.to_owned());
        self.unread.insert(principal_arn.to_owned());
        self.operator.news = true;
        let principal = folded(principal_arn);
        self.contexts().for_each(|since| {
            since.touched.insert(principal.clone());
        });
    }
}

fn merge(into: &mut Value, changes: &Value) {
    let (Some(into), Some(changes)) = (into.as_object_mut(), changes.as_object()) else {
        return;
    };
    for (field, value) in changes {
        into.insert(field.clone(), value.clone());
    }
    into.retain(|_, value| !value.is_null());
}

/// The version after this one. Each object counts for itself, so that the order of writes to several leaves no trace.
pub(super) fn next(version: &str) -> String {
    (version.parse::<u64>().unwrap_or_default() + 1).to_string()
}
