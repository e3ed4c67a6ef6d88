//! Checks mapping manifests: what the API server would refuse, what they grant, and which of them conflict.

use std::collections::BTreeMap;
use std::ops::Range;

use super::code::Code;
use super::finding::{Edit, LintFinding};
use super::names::{CallerKind, EntryNames, Name};
use crate::access_entry::{PolicyTable, is_service_policy};
use crate::api::condition::ConditionType;
use crate::api::v1alpha1::{Adoption, EntryType, IdentityMappingStatus, PrincipalSpec};
use crate::aws_auth::{Document, Index, Lookup};
use crate::desired::Mapping;
use crate::manifest::{Complaint, DeclaredMapping, Mappings, Source};
use crate::principal::{Key, Principal, PrincipalKind};

type MappingFinding = (usize, LintFinding<Range<usize>>);

/// Everything that the manifests show by themselves, each with the number of its source.
pub(super) fn check(mappings: &Mappings, sources: &[Source]) -> Vec<MappingFinding> {
    let text = |source: usize| {
        sources
            .get(source)
            .map_or("", |source| source.text.as_str())
    };
    let refused = mappings
        .complaints
        .iter()
        .map(|complaint| refused(complaint, text(complaint.source)));
    let mut found: Vec<MappingFinding> = refused.collect();
    for declared in &mappings.declared {
        let names = names(declared);
        found.extend(
            names
                .check()
                .into_iter()
                .map(|finding| (declared.source, finding)),
        );
        found.extend(policies(declared).map(|finding| (declared.source, finding)));
        found.extend(powerless(declared).map(|finding| (declared.source, finding)));
        for (path, span) in &declared.manifest.repeated {
            found.push((declared.source, repeated(path, span)));
        }
    }
    found.extend(same_principal(&mappings.declared));
    found
}

/// Mappings whose principal an has another identity in aws-auth, where `adoption` does not say that this is to change.
pub(super) fn foreign(
    declared: &[DeclaredMapping],
    data: &BTreeMap<String, String>,
) -> Vec<MappingFinding> {
    if declared.is_empty() {
        return Vec::new();
    }
    let document = Document::parse(data);
    let index = Index::new(&document);
    let found = |declared: &DeclaredMapping| {
        let spec = Mapping::from_object(&declared.object).spec.ok()?;
        let form = spec.form.filter(|_| spec.adoption != Adoption::Always)?;
        let entry = match index.lookup(&spec.principal.aws_auth_arn()) {
            Lookup::Role(entry) | Lookup::User(entry) => entry,
            Lookup::AmbiguousUser(_) | Lookup::Account | Lookup::None => return None,
        };
        let differs = entry.meaning() != form.meaning;
        differs.then(|| {
            let finding = LintFinding {
                code: Code::ForeignEntry,
                at: declared.manifest.span_of("spec.principal"),
                title: format!("identity that differs from aws-auth (line {} of {})", entry.line, entry.section),
                label: format!("aws-auth grants access as {:?} with groups {:?}", entry.username, entry.groups),
                fix: "make both the same, or write spec.adoption: Always, so that the mapping adopts the entry".to_owned(),
                edits: Vec::new(),
                proposed: Vec::new(),
            };
            (declared.source, finding)
        })
    };
    declared.iter().filter_map(found).collect()
}

fn refused(complaint: &Complaint, text: &str) -> MappingFinding {
    let written = text.get(complaint.span.clone()).unwrap_or_default();
    let plain = !written.is_empty()
        && written
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-._:~".contains(&b));
    let is_word = plain && complaint.message.contains("string");
    let quoted = format!("\"{written}\"");
    let (code, fix, edits) = if is_word {
        let edit = Edit {
            span: complaint.span.clone(),
            text: quoted.clone(),
        };
        (Code::Yaml11Word, format!("write {quoted}"), vec![edit])
    } else {
        let fix = complaint.fix.clone().unwrap_or_else(|| {
            "`identity-mapper crd` prints every rule; `identity-mapper lint --explain IM070` explains the common ones"
                .to_owned()
        });
        (Code::Refused, fix, Vec::new())
    };
    let finding = LintFinding {
        code,
        at: complaint.span.clone(),
        title: complaint.to_string(),
        label: "the API server refuses it".to_owned(),
        fix,
        edits,
        proposed: Vec::new(),
    };
    (complaint.source, finding)
}

fn repeated(path: &str, span: &Range<usize>) -> LintFinding<Range<usize>> {
    LintFinding {
        code: Code::RepeatedField,
        at: span.clone(),
        title: format!("duplicate `{path}`"),
        label: "this one has no effect".to_owned(),
        fix: "keep the intended one".to_owned(),
        edits: Vec::new(),
        proposed: Vec::new(),
    }
}

/// Names of access policies that are a slip of another one. AWS adds policies: a name that is like no other may be a new one.
fn policies(declared: &DeclaredMapping) -> impl Iterator<Item = LintFinding<Range<usize>>> {
    let policies = declared.object.spec.access_policies.iter().enumerate();
    policies.filter_map(|(number, declared_policy)| {
        let policy = declared_policy.policy.as_str();
        let path = format!("spec.accessPolicies[{number}].policy");
        if is_service_policy(policy) {
            return Some(LintFinding {
                code: Code::NotInEffect,
                at: declared.manifest.span_of(&path),
                title: format!("access policy {policy:?} of AWS's own services"),
                label: "EKS refuses to associate it with another principal".to_owned(),
                fix: "remove it: only service-linked roles can have it".to_owned(),
                edits: Vec::new(),
                proposed: Vec::new(),
            });
        }
        let meant = PolicyTable::published().misspelled(policy)?;
        Some(LintFinding {
            code: Code::MisspelledPolicy,
            at: declared.manifest.span_of(&path),
            title: format!("misspelled access policy {policy:?}"),
            label: "EKS has no access policy of this name".to_owned(),
            fix: format!("write {meant}; `aws eks list-access-policies` lists all"),
            edits: Vec::new(),
            proposed: Vec::new(),
        })
    })
}

/// A mapping that gives its principal nothing by itself.
fn powerless(declared: &DeclaredMapping) -> Option<LintFinding<Range<usize>>> {
    let spec = &declared.object.spec;
    let is_node = spec.type_ != EntryType::Standard;
    // A binding can name a username that is chosen.
    let is_powerless = spec.groups.is_empty()
        && spec.access_policies.is_empty()
        && spec.username.is_none()
        && !is_node;
    (is_powerless && !spec.suspend).then(|| LintFinding {
        code: Code::NoGroups,
        at: declared.manifest.span_of("spec"),
        title: "mapping without groups and access policies".to_owned(),
        label: "the principal can sign in and has no permissions".to_owned(),
        fix: "add the intended groups or access policies, or make sure that a binding names the username"
            .to_owned(),
        edits: Vec::new(),
        proposed: Vec::new(),
    })
}

fn names(declared: &DeclaredMapping) -> EntryNames<'_, Range<usize>> {
    let spec = &declared.object.spec;
    let at = |path: &str| declared.manifest.span_of(path);
    let groups = spec.groups.iter().enumerate().map(|(number, group)| Name {
        text: group,
        at: at(&format!("spec.groups[{number}]")),
    });
    let username = spec.username.as_ref().map(|text| Name {
        text,
        at: at("spec.username"),
    });
    EntryNames {
        caller: caller(&spec.principal),
        username,
        groups: groups.collect(),
        at: at("spec.groups"),
    }
}

fn caller(spec: &PrincipalSpec) -> CallerKind {
    let Some(arn) = &spec.arn else {
        return CallerKind::Sso;
    };
    match Principal::parse(arn) {
        Ok(principal) if principal.kind == PrincipalKind::User => CallerKind::User,
        Ok(principal) if principal.sso().is_some() => CallerKind::Sso,
        Ok(_) => CallerKind::Role,
        Err(_) => CallerKind::Unknown,
    }
}

/// What makes two mappings the same principal, as far as their texts show it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum PrincipalName {
    Principal(Key),
    PermissionSet(String, String),
}

fn same_principal(declared: &[DeclaredMapping]) -> Vec<MappingFinding> {
    let mut by_principal: BTreeMap<PrincipalName, Vec<&DeclaredMapping>> = BTreeMap::new();
    for declared in declared {
        let principal = &declared.object.spec.principal;
        let named = match (&principal.arn, &principal.permission_set) {
            (Some(arn), _) => Principal::parse(arn)
                .ok()
                .map(|principal| PrincipalName::Principal(principal.key())),
            (None, Some(set)) => Some(PrincipalName::PermissionSet(
                set.account_id.clone(),
                set.name.clone(),
            )),
            (None, None) => None,
        };
        if let Some(named) = named {
            by_principal.entry(named).or_default().push(declared);
        }
    }
    let name =
        |declared: &DeclaredMapping| declared.object.metadata.name.clone().unwrap_or_default();
    let mut found = Vec::new();
    for mut same in by_principal.into_values().filter(|same| same.len() > 1) {
        same.sort_by_key(|declared| name(declared));
        let first = name(same[0]);
        for other in same[1..].iter().filter(|other| name(other) != first) {
            let title = format!(
                "mapping {} for the same principal as mapping {first}",
                name(other)
            );
            found.push((
                other.source,
                LintFinding {
                    code: Code::SamePrincipal,
                    at: other.manifest.span_of("spec.principal"),
                    title,
                    label: format!("it has no effect while {first} exists (or {first} has none, if it is the younger one in the \
                        cluster)"),
                    fix: "keep one of the two, with all intended groups".to_owned(),
                    edits: Vec::new(),
                    proposed: Vec::new(),
                },
            ));
        }
    }
    found
}

/// Only what a person has to fix: the operator retries the rest.
pub(super) fn not_in_effect(
    name: &str,
    status: &IdentityMappingStatus,
    at: Range<usize>,
) -> Option<LintFinding<Range<usize>>> {
    let condition = |type_: ConditionType| {
        status
            .conditions
            .iter()
            .find(|condition| condition.type_ == type_.as_str())
    };
    let ready = condition(ConditionType::Ready).filter(|ready| ready.status == "False")?;
    condition(ConditionType::Stalled).filter(|stalled| stalled.status == "True")?;
    Some(LintFinding {
        code: Code::NotInEffect,
        at,
        title: format!("mapping {name} would not become ready: {}", ready.message),
        label: format!("Ready would be False with reason {}", ready.reason),
        fix: format!(
            "`identity-mapper lint --explain {}` prints what to do",
            ready.reason
        ),
        edits: Vec::new(),
        proposed: Vec::new(),
    })
}
