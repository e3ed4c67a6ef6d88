//! Questions that only the API server can answer: resource names, the caller's identity, and permissions.

use k8s_openapi::api::authentication::v1::{SelfSubjectReview, UserInfo};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SelfSubjectAccessReview,
    SelfSubjectAccessReviewSpec, SubjectAccessReview, SubjectAccessReviewSpec,
    SubjectAccessReviewStatus,
};
use kube::api::PostParams;
use kube::core::discovery::v2::{APIGroupDiscoveryList, APIResourceDiscovery};
use kube::{Api, Client};

use super::bounded;
use crate::error::Error;
use crate::explain::{Object, Question};

/// A resource as the API server knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownResource {
    /// The API group; empty for the core.
    pub group: String,
    /// The name in the plural.
    pub resource: String,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    /// Its subresources.
    pub subresources: Vec<String>,
}

/// The API server's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessReview {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why, in its own words.
    pub words: Option<String>,
}

/// Finds a resource by its name in the singular or plural, its short name or its kind, perhaps with its group behind a dot, as
/// kubectl does; `None`: the API server has none of this name. Groups are looked at in the API server's own order, the core first.
pub async fn find_resource(client: &Client, word: &str) -> Result<Option<KnownResource>, Error> {
    let core = bounded(client.list_core_api_versions_aggregated()).await?;
    if let Some(found) = find(&core, word) {
        return Ok(Some(found));
    }
    let groups = bounded(client.list_api_groups_aggregated()).await?;
    Ok(find(&groups, word))
}

fn find(list: &APIGroupDiscoveryList, word: &str) -> Option<KnownResource> {
    let (name, wanted) = match word.split_once('.') {
        Some((name, group)) => (name, Some(without_version(group))),
        None => (word, None),
    };
    list.items.iter().find_map(|group| {
        let group_name = group
            .metadata
            .as_ref()
            .and_then(|metadata| metadata.name.as_deref())
            .unwrap_or_default();
        if wanted.is_some_and(|wanted| wanted != group_name) {
            return None;
        }
        // The preferred version comes first.
        let resources = group.versions.iter().flat_map(|version| &version.resources);
        let mut resources = resources.filter(|resource| is_called(resource, name));
        let found = resources.next()?;
        Some(KnownResource {
            group: group_name.to_owned(),
            resource: found.resource.clone()?,
            namespaced: found.scope.as_deref() == Some("Namespaced"),
            subresources: found
                .subresources
                .iter()
                .filter_map(|subresource| subresource.subresource.clone())
                .collect(),
        })
    })
}

/// `v1.apps` is the group `apps` too, to kubectl.
fn without_version(group: &str) -> &str {
    match group.split_once('.') {
        Some((version, rest)) if is_version(version) => rest,
        _ => group,
    }
}

fn is_version(text: &str) -> bool {
    let digits = text.strip_prefix('v').unwrap_or_default();
    digits.starts_with(|c: char| c.is_ascii_digit())
}

fn is_called(resource: &APIResourceDiscovery, name: &str) -> bool {
    let is = |word: Option<&String>| word.is_some_and(|word| word.eq_ignore_ascii_case(name));
    let kind = resource
        .response_kind
        .as_ref()
        .and_then(|kind| kind.kind.as_ref());
    is(resource.resource.as_ref())
        || is(resource.singular_resource.as_ref())
        || is(kind)
        || resource.short_names.iter().any(|short| is(Some(short)))
}

/// Who we are to the API server.
pub async fn who_am_i(client: &Client) -> Result<UserInfo, Error> {
    let reviews = Api::<SelfSubjectReview>::all(client.clone());
    let answer =
        bounded(reviews.create(&PostParams::default(), &SelfSubjectReview::default())).await?;
    Ok(answer
        .status
        .and_then(|status| status.user_info)
        .unwrap_or_default())
}

/// Whether somebody of this username and these groups may do something, by RBAC. Access policies of EKS are not asked.
pub(crate) async fn may(
    client: &Client,
    username: &str,
    groups: Vec<String>,
    question: &Question,
) -> Result<AccessReview, Error> {
    let (resource_attributes, non_resource_attributes) = attributes(question);
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(username.to_owned()),
            groups: Some(groups),
            resource_attributes,
            non_resource_attributes,
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let reviews = Api::<SubjectAccessReview>::all(client.clone());
    let answer = bounded(reviews.create(&PostParams::default(), &review)).await?;
    Ok(review_of(answer.status))
}

/// Whether we may do something ourselves, by all that counts.
pub(crate) async fn may_i(client: &Client, question: &Question) -> Result<AccessReview, Error> {
    let (resource_attributes, non_resource_attributes) = attributes(question);
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes,
            non_resource_attributes,
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews = Api::<SelfSubjectAccessReview>::all(client.clone());
    let answer = bounded(reviews.create(&PostParams::default(), &review)).await?;
    Ok(review_of(answer.status))
}

fn review_of(status: Option<SubjectAccessReviewStatus>) -> AccessReview {
    let status = status.unwrap_or_default();
    AccessReview {
        allowed: status.allowed,
        words: status
            .reason
            .or(status.evaluation_error)
            .filter(|words| !words.is_empty()),
    }
}

fn attributes(question: &Question) -> (Option<ResourceAttributes>, Option<NonResourceAttributes>) {
    let verb = Some(question.verb.clone());
    match &question.object {
        Object::Path { path } => (
            None,
            Some(NonResourceAttributes {
                path: Some(path.clone()),
                verb,
            }),
        ),
        Object::Resource {
            group,
            resource,
            subresource,
            name,
            namespace,
            namespaced: _,
        } => (
            Some(ResourceAttributes {
                group: Some(group.clone()),
                resource: Some(resource.clone()),
                subresource: subresource.clone(),
                name: name.clone(),
                namespace: namespace.clone(),
                verb,
                ..ResourceAttributes::default()
            }),
            None,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_as_kubectl_users_write_them() {
        let resource = |resource: &str, singular: &str, short: &str, kind: &str, scope: &str| {
            serde_json::json!({
                "resource": resource, "singularResource": singular, "shortNames": [short], "scope": scope,
                "responseKind": {"kind": kind}, "verbs": [], "subresources": [{"subresource": "scale"}],
            })
        };
        let list: APIGroupDiscoveryList = serde_json::from_value(serde_json::json!({"items": [
            {"metadata": {"name": "apps"}, "versions": [
                {"version": "v1", "resources": [resource("deployments", "deployment", "deploy", "Deployment", "Namespaced")]}]},
            {"metadata": {"name": "other.dev"}, "versions": [
                {"version": "v1", "resources": [resource("deployments", "deployment", "dep", "Deployment", "Cluster")]}]},
        ]}))
        .expect("a discovery");
        for (word, group) in [
            ("deployments", Some("apps")),
            ("deployment", Some("apps")),
            ("deploy", Some("apps")),
            ("Deployment", Some("apps")),
            ("deployments.apps", Some("apps")),
            ("deployments.v1.apps", Some("apps")),
            ("deployments.other.dev", Some("other.dev")),
            ("dep", Some("other.dev")),
            ("deployments.batch", None),
            ("pods", None),
        ] {
            let found = find(&list, word);
            assert_eq!(
                found.as_ref().map(|found| found.group.as_str()),
                group,
                "{word}"
            );
            if let Some(found) = found {
                assert_eq!(found.resource, "deployments");
                assert_eq!(found.namespaced, found.group == "apps");
                assert_eq!(found.subresources, ["scale"]);
            }
        }
    }
}
