//! Versions of aws-auth that a watch has shown and no pass has processed yet.

use std::collections::BTreeMap;

use super::ConfigMapView;
use crate::aws_auth::{Document, Section};

/// What aws-auth was since a pass took it in last: several texts may come and go meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenTexts {
    /// As it last was, also where it has been deleted since.
    pub standing: Option<ConfigMapView>,
    /// Of each key the last text that parsed.
    pub good: BTreeMap<Section, SeenText>,
}

/// A text that parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenText {
    /// The resourceVersion of the `ConfigMap` that had it.
    pub resource_version: String,
    /// The text; `None`: the key did not exist, and so granted no access.
    pub text: Option<String>,
}

impl SeenTexts {
    /// The watch shows aws-auth so.
    pub fn see(&mut self, view: &ConfigMapView) {
        let document = Document::parse(&view.data);
        for section in Section::ALL {
            if document.section(section).broken.is_none() {
                let seen = SeenText {
                    resource_version: view.resource_version.clone(),
                    text: view.data.get(section.key()).cloned(),
                };
                self.good.insert(section, seen);
            }
        }
        self.standing = Some(view.clone());
    }
}

/// Whether `candidate` was superseded by `known`: versions of one kind of object are compared as integers, which Kubernetes documents as
/// sound (<https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>, since 1.35). What is no integer is believed.
pub(crate) fn is_older(candidate: &str, known: &str) -> bool {
    match (candidate.parse::<u64>(), known.parse::<u64>()) {
        (Ok(candidate), Ok(known)) => candidate < known,
        _ => false,
    }
}
