//! The file of clusters: settings that a kubeconfig does not contain.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::aws::AssumedRole;
use crate::cli::eks::cluster_name;
use crate::cli::files;
use crate::principal::{Principal, PrincipalKind};

/// The file of clusters, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClustersFile {
    clusters: Vec<ConfiguredCluster>,
}

/// A cluster, with what its context does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ConfiguredCluster {
    /// The context in the kubeconfig.
    pub(super) context: String,
    /// What to call it; the context's name where it is not given.
    pub(super) name: Option<String>,
    /// Its name in EKS.
    pub(super) cluster_name: Option<String>,
    pub(super) region: Option<String>,
    /// The role to assume for all calls to AWS.
    assume_role: Option<String>,
    external_id: Option<String>,
}

impl ConfiguredCluster {
    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.context)
    }

    pub(super) fn role(&self) -> Option<AssumedRole> {
        Some(AssumedRole {
            arn: self.assume_role.clone()?,
            external_id: self.external_id.clone(),
        })
    }

    fn check(&self) -> Result<()> {
        let Self {
            context,
            name: _,
            cluster_name: eks,
            region,
            assume_role,
            external_id,
        } = self;
        let place = |field: &str, value: &str| format!("context {context}: {field}: {value:?}");
        if context.is_empty() {
            bail!("context: \"\": write a name that `kubectl config get-contexts` prints");
        }
        if let Some(name) = eks
            && let Err(error) = cluster_name(name)
        {
            bail!("{}: {error}", place("clusterName", name));
        }
        if let Some(region) = region.as_ref().filter(|it| it.trim().is_empty()) {
            bail!(
                "{}: write a region, such as eu-west-1, or remove it",
                place("region", region)
            );
        }
        if let Some(role) = assume_role {
            let parsed = Principal::parse(role);
            if !parsed.is_ok_and(|it| it.kind == PrincipalKind::Role) {
                bail!(
                    "{}: write the ARN of a role, such as arn:aws:iam::111122223333:role/NAME",
                    place("assumeRole", role)
                );
            }
        }
        if let (Some(id), None) = (external_id, assume_role) {
            bail!(
                "{}: needs assumeRole, the role whose trust policy asks for it",
                place("externalId", id)
            );
        }
        Ok(())
    }
}

/// Reads a file of clusters.
pub(super) fn read(path: &Path) -> Result<Vec<ConfiguredCluster>> {
    let name = files::shown(path);
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    parse(&text).with_context(|| name)
}

fn parse(text: &str) -> Result<Vec<ConfiguredCluster>> {
    if text.trim().is_empty() {
        bail!("the file is empty: write a list `clusters`, each with its context");
    }
    let ClustersFile { clusters } = serde_saphyr::from_str(text)?;
    if clusters.is_empty() {
        bail!("clusters: []: list at least one cluster, with its context");
    }
    let (mut contexts, mut names) = (BTreeSet::new(), BTreeSet::new());
    for cluster in &clusters {
        cluster.check()?;
        if !contexts.insert(&cluster.context) {
            bail!("context {}: is listed twice: keep one", cluster.context);
        }
        if !names.insert(cluster.name()) {
            bail!(
                "context {}: name: {:?}: another cluster has this name: give it another",
                cluster.context,
                cluster.name()
            );
        }
    }
    Ok(clusters)
}

/// Where the file is if no flag names it (XDG Base Directory Specification).
pub(super) fn default_path() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let folder = set("XDG_CONFIG_HOME").map(PathBuf::from);
    let folder = folder.or_else(|| Some(PathBuf::from(set("HOME")?).join(".config")))?;
    Some(folder.join("identity-mapper/clusters.yaml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_with_what_a_kubeconfig_does_not_say() {
        let text = "
clusters:
- context: prod
- context: arn:aws:eks:eu-west-1:444455556666:cluster/main
  name: audit
  clusterName: main
  region: eu-west-1
  assumeRole: arn:aws:iam::444455556666:role/audit/reader
  externalId: x
";
        let clusters = parse(text).expect("valid");
        let names: Vec<&str> = clusters.iter().map(ConfiguredCluster::name).collect();
        assert_eq!(names, ["prod", "audit"]);
        assert_eq!(clusters[0].role(), None);
        let role = clusters[1].role().expect("a role");
        assert_eq!(role.arn, "arn:aws:iam::444455556666:role/audit/reader");
        assert_eq!(role.external_id.as_deref(), Some("x"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place_and_the_fix() {
        for (text, words) in [
            ("clusters: []", "list at least one cluster"),
            ("clusters:\n- context: ''", "kubectl config get-contexts"),
            (
                "clusters:\n- context: a\n- context: a",
                "context a: is listed twice",
            ),
            (
                "clusters:\n- context: a\n- {context: b, name: a}",
                "context b: name: \"a\"",
            ),
            (
                "clusters:\n- {context: a, clusterName: 'arn:aws:eks:x'}",
                "context a: clusterName: \"arn:aws:eks:x\": not the name of an EKS cluster",
            ),
            (
                "clusters:\n- {context: a, region: ' '}",
                "context a: region: \" \"",
            ),
            (
                "clusters:\n- {context: a, assumeRole: 'arn:aws:iam::111122223333:user/u'}",
                "write the ARN of a role",
            ),
            (
                "clusters:\n- {context: a, externalId: x}",
                "needs assumeRole",
            ),
            ("clusters:\n- {context: a, cluster: b}", "cluster"),
            ("clusters:\n- name: a", "context"),
            ("cluster: []", "clusters"),
            ("", "clusters"),
        ] {
            let error = format!("{:#}", parse(text).expect_err(text));
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
