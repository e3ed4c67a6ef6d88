//! Managed node groups, Fargate profiles and capabilities: what EKS makes access entries for by itself.
//!
//! A node group or Fargate profile is known by its role's name here: one for each role is enough.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use super::cluster::{Association, Cluster, Entry, NodeKind, epoch};
use super::refusal::Refusal;
use super::world::{World, uuid_of};

/// A capability of EKS.
#[derive(Clone, Debug)]
pub(crate) struct Capability {
    /// What it is.
    pub(crate) kind: CapabilityKind,
    /// The role that it works with.
    pub(crate) role_arn: String,
}

/// What a capability is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CapabilityKind {
    /// AWS controllers for Kubernetes.
    Ack,
    /// Argo CD, in the namespace `argocd`.
    ArgoCd,
    /// kro.
    Kro,
}

impl CapabilityKind {
    /// EKS's spelling.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ack => "ACK",
            Self::ArgoCd => "ARGOCD",
            Self::Kro => "KRO",
        }
    }

    /// The policies that EKS associates with its role, and where they hold (EKS user guide, *Capability IAM role*).
    const fn policies(self) -> &'static [(&'static str, Option<&'static str>)] {
        match self {
            Self::Ack => &[("AmazonEKSACKPolicy", None)],
            Self::ArgoCd => &[
                ("AmazonEKSArgoCDClusterPolicy", None),
                ("AmazonEKSArgoCDPolicy", Some("argocd")),
            ],
            Self::Kro => &[("AmazonEKSKROPolicy", None)],
        }
    }
}

impl World {
    /// EKS makes a managed node group or Fargate profile of this role, and the role's access entry where access entries are
    /// switched on and it has none.
    pub(crate) fn make_node_group(&mut self, role_arn: &str, kind: NodeKind) {
        self.cluster.node_groups.insert(role_arn.to_owned(), kind);
        self.aws_entry(role_arn, kind.entry_type(), &[]);
    }

    /// EKS makes a capability, and the access entry of its role, or associates its policies with the one that stands.
    pub(crate) fn make_capability(&mut self, name: &str, kind: CapabilityKind, role_arn: &str) {
        let capability = Capability {
            kind,
            role_arn: role_arn.to_owned(),
        };
        self.cluster
            .capabilities
            .insert(name.to_owned(), capability);
        self.aws_entry(role_arn, "STANDARD", kind.policies());
    }

    /// EKS switches Auto Mode on with this node role, and makes the entries of it and of the cluster's own role.
    pub(crate) fn make_auto_mode(&mut self, node_role_arn: &str) {
        const OF_CLUSTER: [(&str, Option<&str>); 8] = [
            ("AmazonEKSBlockStorageClusterPolicy", None),
            ("AmazonEKSBlockStoragePolicy", None),
            ("AmazonEKSComputeClusterPolicy", None),
            ("AmazonEKSComputePolicy", None),
            ("AmazonEKSLoadBalancingClusterPolicy", None),
            ("AmazonEKSLoadBalancingPolicy", None),
            ("AmazonEKSNetworkingClusterPolicy", None),
            ("AmazonEKSNetworkingPolicy", None),
        ];
        self.cluster.auto_mode = true;
        self.cluster.auto_node_role = Some(node_role_arn.to_owned());
        self.aws_entry(node_role_arn, "EC2", &[("AmazonEKSAutoNodePolicy", None)]);
        let own = self.cluster.role_arn();
        self.aws_entry(&own, "STANDARD", &OF_CLUSTER);
    }

    /// EKS makes an entry, or associates more policies with the one that stands.
    fn aws_entry(&mut self, arn: &str, type_: &str, policies: &[(&str, Option<&str>)]) {
        if self.cluster.mode == super::Mode::ConfigMap {
            return;
        }
        let id = self.find(arn).map(|principal| principal.id.clone());
        let standing = self.cluster.entries.get(arn).map(|it| Entry::clone(it));
        let made = || Entry::new(&self.cluster, arn, type_, id, self.now);
        let Some(mut entry) = standing.or_else(made) else {
            panic!("no role: {arn}");
        };
        for (policy, namespace) in policies {
            let association = Association {
                namespaces: namespace.map(|namespace| vec![namespace.to_owned()]),
                associated: self.now,
                modified: self.now,
            };
            let policy = self.cluster.policy_arn(policy);
            entry.policies.entry(policy).or_insert(association);
        }
        self.cluster.entries.insert(arn.to_owned(), Arc::new(entry));
        self.entry_changed(arn, SignedDuration::ZERO);
        self.policies_changed(arn, SignedDuration::ZERO);
    }
}

impl Cluster {
    /// The ARN of a resource of this cluster.
    fn resource_arn(&self, kind: &str, name: &str) -> String {
        let uuid = uuid_of(&format!("{} {kind} {name}", self.arn));
        format!(
            "arn:{}:eks:{}:{}:{kind}/{}/{name}/{uuid}",
            self.partition, self.region, self.account, self.name
        )
    }

    /// The names of its node groups, or of its Fargate profiles.
    pub(super) fn names_of_nodes(&self, fargate: bool) -> Vec<String> {
        let of_kind = self
            .node_groups
            .iter()
            .filter(|(_, kind)| (**kind == NodeKind::Fargate) == fargate);
        let mut names: Vec<String> = of_kind.map(|(arn, _)| name_of(arn).to_owned()).collect();
        names.sort();
        names
    }

    /// As `DescribeNodegroup` gives it.
    pub(super) fn describe_node_group(&self, input: &Map<String, Value>) -> Result<Value, Refusal> {
        let name = text(input, "nodegroupName");
        let (role, kind) = self.nodes(name, false).ok_or_else(|| {
            let mut refusal = Refusal::not_found(format!("No node group found for name: {name}."))
                .of_cluster(&self.name);
            refusal
                .members
                .insert("nodegroupName".to_owned(), name.into());
            refusal
        })?;
        let ami = match kind {
            NodeKind::Windows => "WINDOWS_CORE_2022_x86_64",
            NodeKind::Linux | NodeKind::Fargate => "AL2023_x86_64_STANDARD",
        };
        Ok(json!({"nodegroup": {
            "nodegroupName": name,
            "nodegroupArn": self.resource_arn("nodegroup", name),
            "clusterName": self.name,
            "createdAt": epoch(self.created),
            "modifiedAt": epoch(self.created),
            "status": "ACTIVE",
            "amiType": ami,
            "nodeRole": role,
        }}))
    }

    /// As `DescribeFargateProfile` gives it.
    pub(super) fn describe_fargate_profile(
        &self,
        input: &Map<String, Value>,
    ) -> Result<Value, Refusal> {
        let name = text(input, "fargateProfileName");
        let (role, _) = self.nodes(name, true).ok_or_else(|| {
            Refusal::not_found(format!("No Fargate Profile found with name: {name}."))
                .of_cluster(&self.name)
        })?;
        Ok(json!({"fargateProfile": {
            "fargateProfileName": name,
            "fargateProfileArn": self.resource_arn("fargateprofile", name),
            "clusterName": self.name,
            "createdAt": epoch(self.created),
            "podExecutionRoleArn": role,
            "status": "ACTIVE",
        }}))
    }

    /// A capability as `ListCapabilities` gives it.
    pub(super) fn summary_of_capability(&self, name: &str, it: &Capability) -> Value {
        json!({
            "capabilityName": name,
            "arn": self.resource_arn("capability", name),
            "type": it.kind.as_str(),
            "status": "ACTIVE",
            "version": "v1",
            "createdAt": epoch(self.created),
            "modifiedAt": epoch(self.created),
        })
    }

    /// As `DescribeCapability` gives it.
    pub(super) fn describe_capability(&self, input: &Map<String, Value>) -> Result<Value, Refusal> {
        let name = text(input, "capabilityName");
        // Our own wording: EKS's is not known.
        let found = self.capabilities.get(name).ok_or_else(|| {
            Refusal::not_found(format!("No capability found for name: {name}."))
                .of_cluster(&self.name)
        })?;
        let mut capability = self.summary_of_capability(name, found);
        capability["clusterName"] = self.name.clone().into();
        capability["roleArn"] = found.role_arn.clone().into();
        Ok(json!({"capability": capability}))
    }

    fn nodes(&self, name: &str, fargate: bool) -> Option<(&String, NodeKind)> {
        self.node_groups
            .iter()
            .find(|(arn, kind)| name_of(arn) == name && (**kind == NodeKind::Fargate) == fargate)
            .map(|(arn, kind)| (arn, *kind))
    }
}

fn text<'a>(input: &'a Map<String, Value>, name: &str) -> &'a str {
    input.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn name_of(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or_default()
}
