//! How other tools set the authentication mode.

use serde::Serialize;

use crate::access_entry::EksCluster;
use crate::observed::Mode;

/// How one tool sets the mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Recipe {
    pub(crate) tool: &'static str,
    /// What to write or run.
    pub(crate) change: String,
    /// What to look out for.
    pub(crate) warnings: Vec<&'static str>,
}

/// How each tool sets a mode of a cluster.
///
/// Sources: resource `aws_eks_cluster` of the Terraform provider for AWS (`bootstrap_cluster_creator_admin_permissions` is `ForceNew`
/// with default true; its issue 35824), docs/UPGRADE-20.0.md and docs/UPGRADE-21.0.md of terraform-aws-modules/eks, the eksctl
/// schema, and the `CloudFormation` reference of `AWS::EKS::Cluster AccessConfig`.
#[must_use]
pub(crate) fn recipes(cluster: &EksCluster, to: Mode) -> Vec<Recipe> {
    let EksCluster { name, .. } = cluster;
    let region = cluster.region();
    vec![
        Recipe {
            tool: "Terraform, aws_eks_cluster",
            change: format!(
                "access_config {{\n  authentication_mode                         = \"{to}\"\n  \
                 bootstrap_cluster_creator_admin_permissions = true # exactly what the state says\n}}"
            ),
            warnings: vec![
                "changing bootstrap_cluster_creator_admin_permissions REPLACES THE CLUSTER. Unset counts as true, but the state \
                    of a cluster that an older provider created without access_config contains false: read `terraform state \
                    show`, write the value that it shows, and apply only a plan without \"forces replacement\"; or add lifecycle \
                    { ignore_changes = [access_config[0].bootstrap_cluster_creator_admin_permissions] }",
            ],
        },
        Recipe {
            tool: "Terraform, terraform-aws-modules/eks",
            change: format!("authentication_mode = \"{to}\""),
            warnings: vec![
                "versions 20 and 21 set API_AND_CONFIG_MAP by default, so an upgrade from 19 changes the mode; version 21 has no \
                    aws-auth submodule: remove its ConfigMap from the state first (removed block or state rm), or it is deleted \
                    with everyone in it",
                "the module sets bootstrap_cluster_creator_admin_permissions to false and ignores its changes from 20.13.1 on; an \
                    older version REPLACES THE CLUSTER if the state contains true",
                "enable_cluster_creator_admin_permissions = true creates an access entry for the identity that runs Terraform: it fails if \
                    EKS created that entry when the mode changed; import the entry then",
            ],
        },
        Recipe {
            tool: "eksctl",
            change: format!(
                "eksctl utils update-authentication-mode --cluster {name} --region {region} --authentication-mode {to}\n# in the ClusterConfig:\n\
                 accessConfig:\n  authenticationMode: {to}"
            ),
            warnings: Vec::new(),
        },
        Recipe {
            tool: "CloudFormation, AWS::EKS::Cluster",
            change: format!("AccessConfig:\n  AuthenticationMode: {to}"),
            warnings: vec![
                "changing BootstrapClusterCreatorAdminPermissions REPLACES THE CLUSTER: keep it as it is in the template, also if \
                    it is not there",
            ],
        },
        Recipe {
            tool: "AWS CLI",
            change: format!(
                "aws eks update-cluster-config --name {name} --region {region} --access-config authenticationMode={to}"
            ),
            warnings: Vec::new(),
        },
    ]
}
