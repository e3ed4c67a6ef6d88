//! Reads access entries from a file: outputs of the AWS CLI, one JSON document after the other.
//!
//! `aws eks describe-access-entry` and `aws eks list-associated-access-policies` print what EKS answers (EKS API reference), with times
//! in ISO 8601 or in seconds. Nothing else is needed to plan without EKS.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{AccessEntry, Association, Kind, Scope};
use crate::access_entry::EksCluster;
use crate::time::Timestamp;

/// What writes the file.
const LOOP: &str = "         for arn in $(aws eks list-access-entries --cluster-name CLUSTER --query accessEntries --output text); do
           aws eks describe-access-entry --cluster-name CLUSTER --principal-arn \"$arn\" --output json
           aws eks list-associated-access-policies --cluster-name CLUSTER --principal-arn \"$arn\" --output json
         done >access-entries.json";

/// What a file without JSON is.
fn other_format(text: &str) -> Option<AnswersError> {
    let text = text.trim();
    if let Some(at) = text.find("An error occurred (") {
        let message = text[at..].lines().next().unwrap_or_default();
        let message = message.trim_end_matches('.').to_owned();
        return Some(AnswersError::CliError { message });
    }
    let fields = [
        "accessEntry:",
        "accessEntries:",
        "associatedAccessPolicies:",
    ];
    let is_yaml = text
        .lines()
        .any(|line| fields.iter().any(|field| line.starts_with(field)));
    let words = [
        "ACCESSENTRY\t",
        "ACCESSENTRIES",
        "ASSOCIATEDACCESSPOLICIES\t",
        "arn:",
    ];
    let is_text = words.iter().any(|word| text.starts_with(word));
    let found = match (is_yaml, is_text, text.starts_with("----")) {
        (true, ..) => "YAML of the AWS CLI",
        (false, true, _) => "text of the AWS CLI",
        (false, false, true) => "a table of the AWS CLI",
        (false, false, false) => return None,
    };
    Some(AnswersError::OtherFormat { found })
}

/// Why a file holds no access entries that can be relied upon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswersError {
    /// It is no JSON, or not what the AWS CLI prints.
    #[error(
        "not JSON as the AWS CLI prints it (--output json): line {line}, column {column}: {message}"
    )]
    Syntax {
        /// 1-based line.
        line: usize,
        /// 1-based column.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// Output of the AWS CLI in another format than JSON.
    #[error("this is {found}: add --output json. Create the file with:\n{LOOP}")]
    OtherFormat {
        /// The format.
        found: &'static str,
    },
    /// An error that the AWS CLI printed.
    #[error(
        "this is an error of the AWS CLI and not its output: {message}. Once it is resolved, create the file with:\n{LOOP}"
    )]
    CliError {
        /// What it printed.
        message: String,
    },
    /// Nothing at all, as a command that failed leaves it.
    #[error(
        "the file is empty; if the cluster has no access entries, write {{\"accessEntries\": []}} to it"
    )]
    Empty,
    /// A document that is a list.
    #[error(
        "document {number} is a list: give the outputs of the AWS CLI as they are, one after the other"
    )]
    List {
        /// Counted from 1.
        number: usize,
    },
    /// A document that is neither of the two answers.
    #[error(
        "document {number} is neither output of `aws eks describe-access-entry` nor of `aws eks \
            list-associated-access-policies`: it \
         has neither `accessEntry` nor `associatedAccessPolicies`"
    )]
    Neither {
        /// Counted from 1.
        number: usize,
    },
    /// The answer of `aws eks list-access-entries`, which holds no entries but their principals.
    #[error(
        "document {number} is output of `aws eks list-access-entries`, which contains only the principals. Create the file with:\n{LOOP}"
    )]
    OnlyPrincipals {
        /// Counted from 1.
        number: usize,
    },
    /// An entry whose policies are not in the file.
    #[error(
        "the policies of {principal_arn} are missing: add the output of `aws eks list-associated-access-policies --cluster-name {cluster} \
         --principal-arn {principal_arn} --output json`"
    )]
    NoPolicies {
        /// The principal.
        principal_arn: String,
        /// The cluster's name.
        cluster: String,
    },
    /// Policies of an entry that is not in the file.
    #[error(
        "the access entry of {principal_arn} is missing: add the output of `aws eks describe-access-entry --cluster-name {cluster} \
         --principal-arn {principal_arn} --output json`"
    )]
    NoEntry {
        /// The principal.
        principal_arn: String,
        /// The cluster's name.
        cluster: String,
    },
    /// An `accessEntryArn` that is none.
    #[error("{0:?} is not the ARN of an access entry")]
    NotAnEntry(String),
    /// A time that is none.
    #[error("{0} is not a time: expected ISO 8601 or seconds since 1970")]
    NotATime(String),
    /// Entries of two clusters.
    #[error("the entries are of two clusters, {0} and {1}: give those of one")]
    TwoClusters(String, String),
}

/// The access entries of one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// The cluster that the entries name; `None` where there is no entry.
    pub cluster: Option<EksCluster>,
    /// By the principal's ARN.
    pub entries: BTreeMap<String, AccessEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntryAnswer {
    access_entry: Option<Described>,
    associated_access_policies: Option<Vec<Associated>>,
    principal_arn: Option<String>,
    cluster_name: Option<String>,
    /// Of `aws eks list-access-entries`.
    access_entries: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    cluster_name: String,
    principal_arn: String,
    #[serde(default)]
    kubernetes_groups: BTreeSet<String>,
    access_entry_arn: String,
    created_at: Time,
    modified_at: Time,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    username: String,
    #[serde(rename = "type")]
    type_: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Associated {
    policy_arn: String,
    access_scope: ScopeAnswer,
    #[serde(rename = "associatedAt")]
    made: Time,
    #[serde(rename = "modifiedAt")]
    modified: Time,
}

#[derive(Deserialize)]
struct ScopeAnswer {
    #[serde(rename = "type")]
    type_: String,
    #[serde(default)]
    namespaces: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Time {
    Seconds(f64),
    Text(String),
}

impl Time {
    fn read(&self) -> Result<Timestamp, AnswersError> {
        let (time, shown) = match self {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a number beyond the range is no time, and microseconds are all that EKS gives"
            )]
            Self::Seconds(seconds) => (
                Timestamp::from_microsecond((seconds * 1e6).round() as i64),
                seconds.to_string(),
            ),
            Self::Text(text) => (text.parse::<Timestamp>(), format!("{text:?}")),
        };
        time.map_err(|_| AnswersError::NotATime(shown))
    }
}

/// Reads the answers, in any order.
pub fn read_answers(text: &str) -> Result<Answers, AnswersError> {
    let mut answers = Answers::default();
    let mut policies: BTreeMap<String, (String, BTreeMap<String, Association>)> = BTreeMap::new();
    if text.trim().is_empty() {
        return Err(AnswersError::Empty);
    }
    let mut documents = serde_json::Deserializer::from_str(text).into_iter::<EntryAnswer>();
    for number in 1.. {
        let rest = text.get(documents.byte_offset()..).unwrap_or_default();
        if rest.trim_start().starts_with('[') {
            return Err(AnswersError::List { number });
        }
        let Some(document) = documents.next() else {
            break;
        };
        let document = document.map_err(|error| {
            if let Some(other) = other_format(text) {
                return other;
            }
            let message = error.to_string();
            let what = message.rsplit_once(" at line ").map(|(what, _)| what);
            AnswersError::Syntax {
                line: error.line(),
                column: error.column(),
                message: what.unwrap_or(&message).to_owned(),
            }
        })?;
        // The answer for a cluster that has none.
        let mut known = document.access_entries.as_ref().is_some_and(Vec::is_empty);
        if let Some(described) = document.access_entry {
            known = true;
            answers.take(described)?;
        }
        if let (Some(associated), Some(principal)) =
            (document.associated_access_policies, document.principal_arn)
        {
            known = true;
            let read = associated.into_iter().map(association);
            let cluster = document.cluster_name.unwrap_or_default();
            policies.insert(principal, (cluster, read.collect::<Result<_, _>>()?));
        }
        if !known {
            return Err(if document.access_entries.is_some() {
                AnswersError::OnlyPrincipals { number }
            } else {
                AnswersError::Neither { number }
            });
        }
    }
    for (principal_arn, entry) in &mut answers.entries {
        match policies.remove(principal_arn) {
            Some((_, associations)) => entry.policies = associations,
            None => {
                return Err(AnswersError::NoPolicies {
                    principal_arn: principal_arn.clone(),
                    cluster: answers.cluster.map(|it| it.name).unwrap_or_default(),
                });
            }
        }
    }
    match policies.pop_first() {
        Some((principal_arn, (cluster, _))) => Err(AnswersError::NoEntry {
            principal_arn,
            cluster,
        }),
        None => Ok(answers),
    }
}

impl Answers {
    fn take(&mut self, described: Described) -> Result<(), AnswersError> {
        let cluster = cluster_of(&described.access_entry_arn)?;
        match &self.cluster {
            Some(known) if *known != cluster => {
                return Err(AnswersError::TwoClusters(
                    known.arn.clone(),
                    cluster.arn.clone(),
                ));
            }
            Some(_) => {}
            None if cluster.name == described.cluster_name => self.cluster = Some(cluster),
            None => return Err(AnswersError::NotAnEntry(described.access_entry_arn)),
        }
        let entry = AccessEntry {
            arn: described.access_entry_arn,
            kind: Kind::parse(&described.type_),
            username: described.username,
            groups: described.kubernetes_groups,
            tags: described.tags,
            created: described.created_at.read()?,
            modified: described.modified_at.read()?,
            policies: BTreeMap::new(),
            principal_arn: described.principal_arn.clone(),
        };
        self.entries.insert(described.principal_arn, entry);
        Ok(())
    }
}

fn association(associated: Associated) -> Result<(String, Association), AnswersError> {
    let scope = match associated.access_scope.type_.as_str() {
        "cluster" => Scope::Cluster,
        _ => Scope::Namespaces(associated.access_scope.namespaces),
    };
    let association = Association {
        scope,
        associated: associated.made.read()?,
        modified: associated.modified.read()?,
    };
    Ok((associated.policy_arn, association))
}

/// The cluster in `arn:PARTITION:eks:REGION:ACCOUNT:access-entry/CLUSTER/KIND/ACCOUNT/NAME/ID`.
fn cluster_of(arn: &str) -> Result<EksCluster, AnswersError> {
    let not_one = || AnswersError::NotAnEntry(arn.to_owned());
    let (before, rest) = arn.split_once(":access-entry/").ok_or_else(not_one)?;
    let name = rest.split('/').next().unwrap_or_default();
    EksCluster::parse(&format!("{before}:cluster/{name}")).map_err(|_| not_one())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = r#"{"accessEntry": {"clusterName": "main", "principalArn": "arn:aws:iam::111122223333:role/a",
      "kubernetesGroups": ["team"], "accessEntryArn": "arn:aws:eks:eu-west-1:111122223333:access-entry/main/role/111122223333/a/x",
      "createdAt": "2026-01-02T03:04:05.678000+00:00", "modifiedAt": 1767323045.678, "tags": {}, "username": "a:{{SessionName}}",
      "type": "STANDARD"}}"#;
    const POLICIES: &str = r#"{"associatedAccessPolicies": [{"policyArn": "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy",
      "accessScope": {"type": "namespace", "namespaces": ["a"]}, "associatedAt": 1767323045, "modifiedAt": 1767323045}],
      "clusterName": "main", "principalArn": "arn:aws:iam::111122223333:role/a"}"#;

    #[test]
    fn an_empty_file_is_no_answer_and_an_empty_list_is_one() {
        assert_eq!(read_answers(" \n"), Err(AnswersError::Empty));
        let none = read_answers("{\"accessEntries\": []}\n").expect("read");
        assert_eq!(none, Answers::default());
        let list = AnswersError::List { number: 2 };
        assert_eq!(read_answers("{\"accessEntries\": []}\n[1]"), Err(list));
    }

    #[test]
    fn answers_come_in_any_order() {
        let read = read_answers(&format!("{ENTRY}\n{POLICIES}")).expect("read");
        assert_eq!(
            read,
            read_answers(&format!("{POLICIES}{ENTRY}")).expect("read")
        );
        let cluster = read.cluster.expect("a cluster");
        assert_eq!(
            cluster.arn,
            "arn:aws:eks:eu-west-1:111122223333:cluster/main"
        );
        let entry = &read.entries["arn:aws:iam::111122223333:role/a"];
        assert_eq!(entry.created, entry.modified);
        assert_eq!(entry.policies.len(), 1);
    }

    #[test]
    fn what_is_missing_is_named_with_a_fix() {
        let other = ENTRY.replace("access-entry/main", "access-entry/other");
        for (text, words) in [
            (
                ENTRY.to_owned(),
                "list-associated-access-policies --cluster-name main",
            ),
            (
                POLICIES.to_owned(),
                "describe-access-entry --cluster-name main",
            ),
            ("{}".to_owned(), "document 1 is neither"),
            (
                r#"{"accessEntries": ["arn:aws:iam::111122223333:role/a"]}"#.to_owned(),
                "describe-access-entry --cluster-name CLUSTER --principal-arn \"$arn\"",
            ),
            ("{\"accessEntry\":".to_owned(), "line 1, column"),
            (other, "not the ARN"),
            (
                ENTRY.replace("1767323045.678", "\"soon\""),
                "\"soon\" is not a time",
            ),
        ] {
            let error = read_answers(&text).expect_err("refused").to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
