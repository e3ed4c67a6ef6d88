//! What `kubectl get` shows of a mapping, short enough for a terminal of 120 columns.

use crate::api::v1alpha1::{AccessPolicy, IdentityMappingStatus, MappingSummary, ScopeType};
use crate::desired::Mapping;
use crate::plan::report::context::View;
use crate::principal::{
    AccountId, Principal, middle, short_permission_set, short_principal, some_of,
    without_placeholders,
};

/// Widths in characters. With them, a name of five characters, and the columns Backend, State and Age, lines have at most 120.
const PRINCIPAL: usize = 27;
const USERNAME: usize = 14;
const GROUPS: usize = 16;
const POLICIES: usize = 14;

/// The short forms for the status that is otherwise complete.
pub(crate) fn summary(
    view: &View<'_>,
    position: usize,
    status: &IdentityMappingStatus,
) -> Option<MappingSummary> {
    let mapping = &view.plan.mappings[position];
    let aws = view.plan.observed.aws.view();
    let own = aws.and_then(|aws| aws.cluster.account());
    let resolved = status.principal_arn.as_deref();
    let principal = resolved
        .and_then(|arn| Principal::parse(arn).ok())
        .or_else(|| mapping.principal.clone());
    let Some(principal) = principal else {
        return unresolved(mapping, own.as_ref());
    };
    let Ok(spec) = &mapping.spec else {
        // What stays of it is what was put into effect before.
        let before = mapping.status.summary.clone();
        return Some(before.unwrap_or_else(|| MappingSummary {
            principal: short_principal(&principal, own.as_ref(), PRINCIPAL),
            ..MappingSummary::default()
        }));
    };
    let username = status.username.as_deref().unwrap_or_default();
    let groups: Vec<String> = spec.groups.iter().cloned().collect();
    let policies: Vec<String> = spec.policies.iter().map(policy).collect();
    Some(MappingSummary {
        principal: short_principal(&principal, own.as_ref(), PRINCIPAL),
        username: if username == principal.default_username() {
            "(default)".to_owned()
        } else {
            middle(&without_placeholders(username), USERNAME)
        },
        groups: some_of(&groups, GROUPS),
        access_policies: some_of(&policies, POLICIES),
    })
}

/// The short forms of what a mapping of a permission set declares, as long as the set has no role.
fn unresolved(mapping: &Mapping, own: Option<&AccountId>) -> Option<MappingSummary> {
    let set = mapping.permission_set()?;
    let account = set.account_id.parse().ok()?;
    let spec = mapping.unresolved.as_ref()?;
    let policies: Vec<String> = spec.access_policies.iter().map(policy).collect();
    Some(MappingSummary {
        principal: short_permission_set(&set.name, &account, own, PRINCIPAL),
        username: match spec.username.as_deref() {
            None => "(default)".to_owned(),
            Some(username) => middle(&without_placeholders(username), USERNAME),
        },
        groups: some_of(&spec.groups, GROUPS),
        access_policies: some_of(&policies, POLICIES),
    })
}

/// A policy's name without what all of AWS's have: `View`, and `View (ns)` where it holds in namespaces only.
fn policy(policy: &AccessPolicy) -> String {
    let name = policy.policy.as_str();
    let short = name.strip_prefix("AmazonEKS").unwrap_or(name);
    let short = short.strip_suffix("Policy").unwrap_or(short);
    match policy.scope.type_ {
        ScopeType::Cluster => short.to_owned(),
        ScopeType::Namespace => format!("{short} (ns)"),
    }
}
