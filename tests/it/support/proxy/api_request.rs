//! What a request to the API server is for, by its method and path
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris>).

use hyper::{Method, Uri};
use serde_json::Value;

use super::part::part;

/// A request, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiRequest {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub(crate) verb: &'static str,
    /// The resource in the plural, with its subresource: `identitymappings/status`. Empty for what is no resource, such as `/version`.
    pub(crate) resource: String,
    /// The name of the object, also of one that is created.
    pub(crate) name: Option<String>,
    /// What it writes of the object, where that has parts.
    part: Option<String>,
    /// Path and query.
    pub(crate) target: String,
}

/// What is asked and has no effect, though it is posted.
const QUESTIONS: [&str; 4] = [
    "selfsubjectaccessreviews",
    "selfsubjectrulesreviews",
    "selfsubjectreviews",
    "subjectaccessreviews",
];

impl ApiRequest {
    pub(super) fn read(method: &Method, uri: &Uri, body: &[u8]) -> Self {
        let parts: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
        let within = match parts.as_slice() {
            ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
            _ => &[],
        };
        let within = match within {
            ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
            all => all,
        };
        let (resource, name, subresource) = match within {
            [resource, name, rest @ ..] => (*resource, Some(*name), rest.first().copied()),
            [resource] => (*resource, None, None),
            [] => ("", None, None),
        };
        let query = uri.query().unwrap_or_default();
        let watched = query
            .split('&')
            .any(|it| matches!(it, "watch=true" | "watch=1"));
        let verb = match (method, name) {
            (&Method::GET, _) if watched => "watch",
            (&Method::GET, None) if !resource.is_empty() => "list",
            (&Method::POST, _) => "create",
            (&Method::PUT, _) => "update",
            (&Method::PATCH, _) => "patch",
            (&Method::DELETE, Some(_)) => "delete",
            (&Method::DELETE, None) => "deletecollection",
            _ => "get",
        };
        let created = || {
            let object: Value = serde_json::from_slice(body).ok()?;
            Some(object["metadata"]["name"].as_str()?.to_owned())
        };
        let resource = subresource.map_or_else(
            || resource.to_owned(),
            |subresource| format!("{resource}/{subresource}"),
        );
        let part = part(verb, &resource, name, body);
        let name = name.map(str::to_owned);
        Self {
            verb,
            resource,
            part,
            name: name.or_else(|| (verb == "create").then(created).flatten()),
            target: uri.to_string(),
        }
    }

    pub(super) fn writes(&self) -> bool {
        let reads = ["get", "list", "watch"];
        !reads.contains(&self.verb) && !QUESTIONS.contains(&self.resource.as_str())
    }

    /// The name of its effect, where it is to have one: `patch identitymappings/status`. `ConfigMap`s are told apart by
    /// their names, since each means something else, and some objects by the part that is written:
    /// `patch identitymappings (finalizer added)`.
    pub(super) fn effect(&self) -> Option<String> {
        let of = match (self.resource.as_str(), &self.name) {
            ("configmaps", Some(name)) => format!(" {name}"),
            _ => String::new(),
        };
        let part = self.part.as_ref().map(|part| format!(" ({part})"));
        let part = part.unwrap_or_default();
        self.writes()
            .then(|| format!("{} {}{of}{part}", self.verb, self.resource))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_have_names() {
        let aws_auth = "/api/v1/namespaces/kube-system/configmaps/aws-auth?fieldManager=x";
        let config_maps = "/api/v1/namespaces/kube-system/configmaps";
        let mappings = "/apis/identity-mapper.dev/v1alpha1/identitymappings";
        for (method, target, body, verb, effect) in [
            ("GET", aws_auth, "", "get", None),
            (
                "PATCH",
                aws_auth,
                "",
                "patch",
                Some("patch configmaps aws-auth"),
            ),
            (
                "POST",
                config_maps,
                r#"{"metadata": {"name": "aws-auth-history"}}"#,
                "create",
                Some("create configmaps aws-auth-history"),
            ),
            ("GET", mappings, "", "list", None),
            (
                "GET",
                &format!("{mappings}?watch=true&x=y"),
                "",
                "watch",
                None,
            ),
            (
                "PATCH",
                &format!("{mappings}/dev/status"),
                "",
                "patch",
                Some("patch identitymappings/status"),
            ),
            (
                "PATCH",
                &format!("{config_maps}/aws-auth-history"),
                r#"{"binaryData": {"1": "eA=="}}"#,
                "patch",
                Some("patch configmaps aws-auth-history (copy)"),
            ),
            ("GET", "/version", "", "get", None),
            ("GET", "/api/v1/namespaces/kube-system", "", "get", None),
            (
                "POST",
                "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                "{}",
                "create",
                None,
            ),
            (
                "DELETE",
                "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/bridge",
                "",
                "delete",
                Some("delete clusterrolebindings"),
            ),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let read = ApiRequest::read(&method, &target.parse().unwrap(), body.as_bytes());
            assert_eq!(read.verb, verb, "{target}");
            assert_eq!(read.effect().as_deref(), effect, "{target}");
        }
    }
}
