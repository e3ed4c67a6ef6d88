//! How the tools of others set the authentication mode.

use serde::Serialize;

use crate::access_entry::EksCluster;
use crate::observed::Mode;

/// How one tool sets the mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recipe {
    /// The tool.
    pub tool: &'static str,
    /// What to write or run.
    pub change: String,
    /// What to look out for.
    pub warnings: Vec<&'static str>,
}

/// How each tool sets a mode of a cluster.
///
/// Sources: resource `aws_eks_cluster` of the Terraform provider for AWS (`bootstrap_cluster_creator_admin_permissions` is `ForceNew`
/// with default true; its issue 35824), docs/UPGRADE-20.0.md and docs/UPGRADE-21.0.md of terraform-aws-modules/eks, the eksctl
/// schema, and the `CloudFormation` reference of `AWS::EKS::Cluster AccessConfig`.
#[must_use]
pub fn recipes(cluster: &EksCluster, to: Mode) -> Vec<Recipe> {
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
                "a change of bootstrap_cluster_creator_admin_permissions REPLACES THE CLUSTER. It counts as true where it is left out, and the \
                 state of a cluster that was made without access_config by an older provider says false: look at `terraform state show`, write \
                 what stands there, and apply only a plan without \"forces replacement\"; or add lifecycle { ignore_changes = \
                 [access_config[0].bootstrap_cluster_creator_admin_permissions] }",
            ],
        },
        Recipe {
            tool: "Terraform, terraform-aws-modules/eks",
            change: format!("authentication_mode = \"{to}\""),
            warnings: vec![
                "versions 20 and 21 set API_AND_CONFIG_MAP where nothing is written, so an upgrade from 19 changes the mode by itself; version 21 \
                 has no aws-auth submodule any more: let go of its ConfigMap first (removed or state rm), or it is deleted with everyone in it",
                "the module pins bootstrap_cluster_creator_admin_permissions to false and ignores changes of it from 20.13.1 on; an older one \
                 REPLACES THE CLUSTER where the state says true",
                "enable_cluster_creator_admin_permissions = true makes an access entry of whoever runs Terraform: it fails where EKS made that \
                 entry on the change of the mode; import it then",
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
                "a change of BootstrapClusterCreatorAdminPermissions REPLACES THE CLUSTER: leave it as the template has it, also where it has none",
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
