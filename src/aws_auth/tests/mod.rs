//! Tests of the document: the corpus, the table of what the authenticator does, edits of every legal form, properties.

#![allow(clippy::unwrap_used, reason = "what a test does not expect fails it")]

use std::collections::BTreeMap;

use super::*;

mod corpus;
mod edits;
mod problems;
mod properties;
mod semantics;
#[path = "../../../tests/it/aws_auth_texts.rs"]
mod texts;
mod time;

/// `data` with this text of `mapRoles`.
fn roles(text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("mapRoles".to_owned(), text.to_owned())])
}

/// ARN, username and groups of each entry that takes effect.
fn seen(view: &SectionView) -> Vec<(&str, &str, Vec<&str>)> {
    view.entries
        .iter()
        .map(|e| {
            (
                e.arn.as_str(),
                e.username.as_str(),
                e.groups.iter().map(String::as_str).collect(),
            )
        })
        .collect()
}
