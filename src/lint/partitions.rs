//! Entries of a partition other than the cluster's.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use super::code::Code;
use super::finding::LintFinding;
use super::read::PlacedDocument;
use super::text::TextSpan;
use crate::aws_auth::{Entry, Places};
use crate::effective::is_nodes;
use crate::principal::{Arn, Partition};

/// Entries that no caller can match, since a cluster accepts callers of its own partition only. Where the cluster's is not known, it
/// is taken for the one of its nodes, or of most entries: some entry is wrong, and the fewer are the likelier.
pub(super) fn other_partitions(
    read: &PlacedDocument<'_>,
    cluster: Option<Partition>,
) -> Vec<LintFinding<TextSpan>> {
    let found: Vec<(&Entry, &Places, Partition)> = read
        .entries()
        .filter_map(|(entry, places)| Some((entry, places, partition(entry)?)))
        .collect();
    let Some(home) = cluster.or_else(|| likeliest(&found)) else {
        return Vec::new();
    };
    let others = found.iter().filter(|(_, _, partition)| *partition != home);
    others
        .map(|(entry, places, partition)| LintFinding {
            code: Code::OtherPartition,
            at: (
                entry.section,
                places.arn.clone().unwrap_or_else(|| entry.span.clone()),
            ),
            title: if cluster.is_some() {
                format!("principal in partition {partition}, cluster in {home}")
            } else {
                format!("entries of the partitions {home} and {partition}")
            },
            label: "never matches in a cluster of the other partition".to_owned(),
            fix: format!(
                "remove the entry, or write the ARN of a principal in {home} (arn:{home}:iam::ACCOUNT:…)"
            ),
            edits: Vec::new(),
            proposed: Vec::new(),
        })
        .collect()
}

/// The partition of an entry that would match in a cluster of that partition.
fn partition(entry: &Entry) -> Option<Partition> {
    let arn = Arn::from_str(&entry.matched_arn()).ok()?;
    (!entry.sso).then_some(arn.partition)
}

fn likeliest(found: &[(&Entry, &Places, Partition)]) -> Option<Partition> {
    let mut counts: BTreeMap<Partition, (usize, usize)> = BTreeMap::new();
    for (entry, _, partition) in found {
        let node = is_nodes(&entry.username, entry.groups.iter().map(String::as_str));
        let (nodes, all) = counts.entry(*partition).or_default();
        *nodes += usize::from(node);
        *all += 1;
    }
    let most = counts.into_iter().rev().max_by_key(|(_, counts)| *counts);
    most.map(|(partition, _)| partition)
}
