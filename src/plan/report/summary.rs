//! What `kubectl get` shows of a mapping, short enough for a terminal of 120 columns.

use crate::access_entry::short_policy;
use crate::api::v1alpha1::{AccessPolicy, IdentityMappingStatus, MappingSummary, ScopeType};
use crate::desired::Mapping;
use crate::plan::report::context::View;
use crate::principal::{
    AccountId, Principal, middle, short_permission_set, short_principal, some_of,
    without_placeholders,
};

/// Widths in characters. With them, a name such as `platform-admins`, and the columns Backend, State and Age, lines have at most 120.
const PRINCIPAL: usize = 23;
const USERNAME: usize = 12;
const GROUPS: usize = 12;
const POLICIES: usize = 12;

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

fn policy(policy: &AccessPolicy) -> String {
    short_policy(
        &policy.policy,
        matches!(policy.scope.type_, ScopeType::Namespace),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// kubectl puts three characters between columns.
    #[test]
    fn a_line_of_kubectl_fits_120_columns() {
        let others = ["platform-admins", "AccessEntry", "Suspended", "2y45d"];
        let widths = [PRINCIPAL, USERNAME, GROUPS, POLICIES];
        let all = others.iter().map(|it| it.len()).chain(widths);
        let gaps = 3 * (others.len() + widths.len() - 1);
        assert!(all.sum::<usize>() + gaps <= 120);
        assert!(
            "sso/AdministratorAccess".len() <= PRINCIPAL,
            "a set that all have"
        );
    }
}
