//! The operations of EKS: world and input in, answer or refusal out. Inputs have been checked by the service model before.
//!
//! The order of checks and every text are EKS's own where they are known; what is our own wording is marked so.

mod checks;
mod cluster;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use checks::{Principal, check_names, check_tags, check_type, namespaces, policy_name};

use super::authorities;
use super::cluster::{
    Association, Entry, Mode, Update, UpdateKind, default_groups, default_username,
};
use super::knobs::{Knobs, signed};
use super::page::{Page, page};
use super::refusal::Refusal;
use super::world::{Change, World};

type Input = Map<String, Value>;
type Answer = Result<Value, Refusal>;

/// Prefixes that neither a username nor a group may have.
const RESERVED: [&str; 5] = ["system:", "eks:", "aws:", "amazon:", "iam:"];

/// The types, in the order in which EKS names them.
const TYPES: [&str; 7] = [
    "EC2_LINUX",
    "EC2_WINDOWS",
    "FARGATE_LINUX",
    "STANDARD",
    "HYBRID_LINUX",
    "EC2",
    "HYPERPOD_LINUX",
];

/// The types that are for roles of the cluster's own account alone, as EKS names them.
const NODE_TYPES: &str = "[EC2_LINUX, EC2_WINDOWS, FARGATE_LINUX, HYBRID_LINUX, EC2]";

/// The access policies that `ListAccessPolicies` gave in 2026.
pub(crate) const POLICIES: [&str; 33] = [
    "AIDevOpsAgentAccessPolicy",
    "AmazonAIOpsAssistantPolicy",
    "AmazonARCRegionSwitchScalingPolicy",
    "AmazonEKSACKPolicy",
    "AmazonEKSAdminPolicy",
    "AmazonEKSAdminViewPolicy",
    "AmazonEKSArgoCDClusterPolicy",
    "AmazonEKSArgoCDPolicy",
    "AmazonEKSAutoNodePolicy",
    "AmazonEKSBlockStorageClusterPolicy",
    "AmazonEKSBlockStoragePolicy",
    "AmazonEKSClusterAdminPolicy",
    "AmazonEKSComputeClusterPolicy",
    "AmazonEKSComputePolicy",
    "AmazonEKSEditPolicy",
    "AmazonEKSEventPolicy",
    "AmazonEKSHybridPolicy",
    "AmazonEKSKROPolicy",
    "AmazonEKSLoadBalancingClusterPolicy",
    "AmazonEKSLoadBalancingPolicy",
    "AmazonEKSNetworkingClusterPolicy",
    "AmazonEKSNetworkingPolicy",
    "AmazonEKSPodIdentityPolicy",
    "AmazonEKSSecretAdminPolicy",
    "AmazonEKSSecretReaderPolicy",
    "AmazonEKSViewPolicy",
    "AmazonEMRJobPolicy",
    "AmazonSagemakerHyperpodClusterPolicy",
    "AmazonSagemakerHyperpodControllerPolicy",
    "AmazonSagemakerHyperpodSpacePolicy",
    "AmazonSagemakerHyperpodSpaceTemplatePolicy",
    "AmazonSagemakerHyperpodSystemNamespacePolicy",
    "AmazonSagemakerHyperpodUserClusterPolicy",
];

/// What EKS Auto Mode is made of, all to be given in one update.
const AUTO_MODE: [&str; 3] = ["computeConfig", "kubernetesNetworkConfig", "storageConfig"];

/// Policies that are for service-linked roles alone
/// (<https://docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html>).
const SERVICE_LINKED_POLICIES: [&str; 6] = [
    "AmazonEKSClusterInsightsPolicy",
    "AmazonEKSHybridPolicy",
    "AmazonEKSComputeClusterPolicy",
    "AmazonEKSBlockStorageClusterPolicy",
    "AmazonEKSComputePolicy",
    "AmazonEKSBlockStoragePolicy",
];

/// Executes an operation of the model.
pub(crate) fn call(world: &mut World, knobs: &mut Knobs, operation: &str, input: &Input) -> Answer {
    let mut eks = Eks {
        world,
        knobs,
        operation,
        input,
    };
    match operation {
        "CreateAccessEntry" => eks.create(),
        "DescribeAccessEntry" => eks.describe(),
        "UpdateAccessEntry" => eks.update(),
        "DeleteAccessEntry" => eks.delete(),
        "ListAccessEntries" => eks.list(),
        "AssociateAccessPolicy" => eks.associate(),
        "DisassociateAccessPolicy" => eks.disassociate(),
        "ListAssociatedAccessPolicies" => eks.list_associated(),
        "ListAccessPolicies" => eks.list_policies(),
        "UpdateClusterConfig" => eks.update_cluster(),
        "DescribeUpdate" => eks.describe_update(),
        "ListUpdates" => eks.list_updates(),
        "CancelUpdate" => eks.cancel_update(),
        "DescribeCluster" => {
            eks.cluster()?;
            Ok(json!({"cluster": eks.world.cluster.describe()}))
        }
        "ActivateCertificateAuthority"
        | "CreateCertificateAuthority"
        | "DeleteCertificateAuthority"
        | "DescribeCertificateAuthority"
        | "ListCertificateAuthorities" => {
            eks.cluster()?;
            authorities::call(eks.world, eks.knobs, operation, input)
        }
        "DescribeNodegroup" => {
            eks.cluster()?;
            eks.world.cluster.describe_node_group(input)
        }
        "DescribeFargateProfile" => {
            eks.cluster()?;
            eks.world.cluster.describe_fargate_profile(input)
        }
        "DescribeCapability" => {
            eks.cluster()?;
            eks.world.cluster.describe_capability(input)
        }
        "ListNodegroups" => eks.list_nodes("nodegroups", false),
        "ListFargateProfiles" => eks.list_nodes("fargateProfileNames", true),
        "ListCapabilities" => eks.list_capabilities(),
        "ListIdentityProviderConfigs" => eks.list_identity_providers(),
        "ListClusters" => eks.list_clusters(),
        "TagResource" => eks.tag(),
        "UntagResource" => eks.untag(),
        "ListTagsForResource" => eks.list_tags(),
        _ => unreachable!("the model has no {operation}"),
    }
}

struct Eks<'a> {
    world: &'a mut World,
    knobs: &'a mut Knobs,
    operation: &'a str,
    input: &'a Input,
}

impl Eks<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.input.get(name)?.as_str()
    }

    /// A member that the model requires.
    fn required(&self, name: &str) -> String {
        self.text(name).unwrap_or_default().to_owned()
    }

    fn texts(&self, name: &str) -> Option<Vec<String>> {
        let list = self.input.get(name)?.as_array()?;
        Some(
            list.iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        )
    }

    fn tags(&self) -> BTreeMap<String, String> {
        let tags = self.input.get("tags").and_then(Value::as_object);
        let pairs = tags.into_iter().flatten();
        pairs
            .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect()
    }

    // Checks.

    fn cluster(&self) -> Result<(), Refusal> {
        let name = self
            .text("clusterName")
            .or_else(|| self.text("name"))
            .unwrap_or_default();
        if name == self.world.cluster.name {
            return Ok(());
        }
        let refusal = Refusal::not_found(format!("No cluster found for name: {name}."));
        // DescribeCluster alone does not name it.
        Err(if self.operation == "DescribeCluster" {
            refusal
        } else {
            refusal.of_cluster(name)
        })
    }

    /// The cluster is there, and has access entries.
    fn access_entries(&self) -> Result<(), Refusal> {
        self.cluster()?;
        let cluster = &self.world.cluster;
        let lingers = cluster.switched.is_some_and(|switched| {
            cluster.mode == Mode::ApiAndConfigMap
                && self.world.now.duration_since(switched) < signed(self.knobs.mode_error)
        });
        if cluster.mode == Mode::ConfigMap || lingers {
            return Err(Refusal::request(
                "The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP] to perform this operation.",
            ));
        }
        Ok(())
    }

    /// The standing entry of the call's principal.
    fn entry(&mut self) -> Result<Arc<Entry>, Refusal> {
        let arn = self.required("principalArn");
        let hidden = self.knobs.hides_entry(&arn);
        let entry = self.world.cluster.entries.get(&arn).filter(|_| !hidden);
        entry.cloned().ok_or_else(no_entry)
    }

    fn principal(&self) -> Result<Principal, Refusal> {
        Principal::parse(self.text("principalArn").unwrap_or_default())
    }

    // Entries.

    fn create(&mut self) -> Answer {
        let arn = self.required("principalArn");
        let principal = self.principal()?;
        let type_ = self.text("type").unwrap_or("STANDARD").to_owned();
        let groups = self.texts("kubernetesGroups").unwrap_or_default();
        let username = self.text("username").map(str::to_owned);
        let tags = self.tags();
        check_tags(&tags, Refusal::parameter)?;
        check_names(username.as_deref(), &groups)?;
        principal.not_service_linked()?;
        if !TYPES.contains(&type_.as_str()) {
            let list = TYPES.join(", ");
            return Err(Refusal::parameter(format!(
                "AccessEntry type must be one of [{list}]"
            )));
        }
        if type_ != "STANDARD" {
            if principal.kind != "role" {
                return Err(Refusal::parameter(format!(
                    "AccessEntry principalArn must be IAM role when using types {NODE_TYPES}"
                )));
            }
            if principal.account != self.world.cluster.account {
                return Err(Refusal::parameter(format!(
                    "AccessEntry principalArn must be from the same account as the cluster when using types {NODE_TYPES}"
                )));
            }
        }
        self.access_entries()?;
        check_type(&type_, username.as_deref(), &groups)?;
        if let Some(answer) = self.replay() {
            return Ok(answer);
        }
        if self.world.cluster.entries.contains_key(&arn) {
            return Err(Refusal::in_use(
                "The specified access entry resource is already in use on this cluster.",
            ));
        }
        let principal_id = self.principal_id(&principal)?;
        if self.world.cluster.entries.len() >= self.knobs.quota {
            // Our own wording: EKS's is not known.
            return Err(Refusal::new(
                "ResourceLimitExceededException",
                400,
                format!(
                    "Access entries limit exceeded: the cluster already has {}",
                    self.knobs.quota
                ),
            ));
        }

        let now = self.world.now;
        let made = Entry::new(&self.world.cluster, &arn, &type_, principal_id, now);
        let mut entry = made.expect("the ARN was parsed");
        if let Some(username) = username {
            entry.username = username;
        }
        if !groups.is_empty() {
            entry.groups = groups;
        }
        entry.tags = tags;
        let answer = json!({"accessEntry": entry.describe(&self.world.cluster.name)});
        self.remember(&answer);
        self.knobs.entry_made(&arn);
        self.put(entry);
        Ok(answer)
    }

    fn put(&mut self, entry: Entry) {
        let arn = entry.principal_arn.clone();
        self.world
            .cluster
            .entries
            .insert(arn.clone(), Arc::new(entry));
        self.world
            .entry_changed(&arn, signed(self.knobs.entry_delay));
    }

    fn put_policies(&mut self, entry: Entry) {
        let arn = entry.principal_arn.clone();
        self.world
            .cluster
            .entries
            .insert(arn.clone(), Arc::new(entry));
        self.world
            .policies_changed(&arn, signed(self.knobs.policy_delay));
    }

    /// The id of a principal that exists, as far as EKS has heard.
    fn principal_id(&mut self, principal: &Principal) -> Result<Option<String>, Refusal> {
        let invalid =
            || Refusal::parameter("The specified principalArn is invalid: invalid principal.");
        if self.knobs.refuses_principal(&principal.arn) {
            return Err(invalid());
        }
        if principal.kind == "root" {
            let own = principal.partition == self.world.partition();
            return if own { Ok(None) } else { Err(invalid()) };
        }
        let found = self.world.find(&principal.arn).ok_or_else(invalid)?;
        let age = self.world.now.duration_since(found.created);
        if age < signed(self.knobs.principal_delay) {
            return Err(invalid());
        }
        Ok(Some(found.id.clone()))
    }

    fn replay(&self) -> Option<Value> {
        let token = self
            .text("clientRequestToken")
            .filter(|_| self.knobs.replay_tokens)?;
        let (input, answer) = self.world.cluster.tokens.get(token)?;
        (*input == Value::Object(self.input.clone())).then(|| answer.clone())
    }

    fn remember(&mut self, answer: &Value) {
        if !self.knobs.replay_tokens {
            return;
        }
        if let Some(token) = self.text("clientRequestToken").map(str::to_owned) {
            let input = Value::Object(self.input.clone());
            self.world
                .cluster
                .tokens
                .insert(token, (input, answer.clone()));
        }
    }

    fn describe(&mut self) -> Answer {
        self.principal()?;
        self.access_entries()?;
        let entry = self.entry()?;
        Ok(json!({"accessEntry": entry.describe(&self.world.cluster.name)}))
    }

    fn update(&mut self) -> Answer {
        let principal = self.principal()?;
        let groups = self.texts("kubernetesGroups").unwrap_or_default();
        let username = self.text("username").map(str::to_owned);
        check_names(username.as_deref(), &groups)?;
        principal.not_service_linked()?;
        self.access_entries()?;
        let mut entry = Arc::unwrap_or_clone(self.entry()?);
        check_type(&entry.type_, username.as_deref(), &groups)?;
        // What is left out goes back to its default: an update replaces.
        let (type_, arn) = (&entry.type_, &entry.principal_arn);
        entry.username = username.unwrap_or_else(|| default_username(arn, type_));
        entry.groups = if type_ == "STANDARD" {
            groups
        } else {
            default_groups(type_)
        };
        entry.modified = self.world.now;
        let answer = json!({"accessEntry": entry.describe(&self.world.cluster.name)});
        self.put(entry);
        Ok(answer)
    }

    fn delete(&mut self) -> Answer {
        self.principal()?.not_service_linked()?;
        self.access_entries()?;
        let arn = self.entry()?.principal_arn.clone();
        self.world.cluster.entries.remove(&arn);
        let delay = signed(self.knobs.entry_delay);
        self.world.entry_changed(&arn, delay);
        self.world.policies_changed(&arn, delay);
        Ok(json!({}))
    }

    fn list(&mut self) -> Answer {
        let policy = self.text("associatedPolicyArn").map(str::to_owned);
        if let Some(policy) = &policy {
            policy_name(policy)?;
        }
        self.access_entries()?;
        let entries = self.world.cluster.entries.values();
        let delay = signed(self.knobs.listing_delay);
        let found = entries.filter(|entry| {
            let listed = self.world.now.duration_since(entry.created) >= delay
                && !self.knobs.unlisted.contains(&entry.principal_arn);
            listed
                && policy
                    .as_ref()
                    .is_none_or(|policy| entry.policies.contains_key(policy))
        });
        // The order is not documented, so nobody may rely on one: it is that of the entries' ids.
        let mut found: Vec<(&str, &str)> = found
            .map(|entry| {
                (
                    entry.arn.rsplit('/').next().unwrap_or_default(),
                    &*entry.principal_arn,
                )
            })
            .collect();
        found.sort_unstable();
        let scope = format!("ListAccessEntries {policy:?}");
        let page = self.page(&scope, found, |(id, _)| (*id).to_owned())?;
        let arns: Vec<&str> = page.items.iter().map(|(_, arn)| *arn).collect();
        Ok(with_token(json!({"accessEntries": arns}), page.next))
    }

    fn page<T>(
        &self,
        scope: &str,
        items: Vec<T>,
        key: impl Fn(&T) -> String,
    ) -> Result<Page<T>, Refusal> {
        let most = self
            .input
            .get("maxResults")
            .and_then(Value::as_u64)
            .unwrap_or(100);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        // Our own wording: EKS's is not known.
        page(scope, items, key, self.text("nextToken"), most)
            .ok_or_else(|| Refusal::parameter("The nextToken parameter is not valid"))
    }

    // Policies.

    fn associate(&mut self) -> Answer {
        let principal = self.principal()?;
        let policy_arn = self.required("policyArn");
        let name = policy_name(&policy_arn)?;
        let scope = self.input.get("accessScope").and_then(Value::as_object);
        let namespaces = namespaces(scope)?;
        principal.not_service_linked()?;
        self.access_entries()?;
        let mut entry = Arc::unwrap_or_clone(self.entry()?);
        if !matches!(entry.type_.as_str(), "STANDARD" | "EC2") {
            return Err(Refusal::parameter(
                "This operation can only be performed on Access Entries with a type of \"STANDARD\".",
            ));
        }
        let Some(name) = name else {
            return Err(no_policy());
        };
        if SERVICE_LINKED_POLICIES.contains(&name) {
            return Err(Refusal::parameter(
                "The specified policyArn can only be associated with service-linked roles",
            ));
        }
        if !POLICIES.contains(&name) || policy_arn != self.world.cluster.policy_arn(name) {
            return Err(no_policy());
        }
        let now = self.world.now;
        let standing = entry.policies.get(&policy_arn);
        let association = Association {
            namespaces,
            associated: standing.map_or(now, |standing| standing.associated),
            modified: now,
        };
        let answer = json!({
            "clusterName": self.world.cluster.name,
            "principalArn": entry.principal_arn,
            "associatedAccessPolicy": association.describe(&policy_arn),
        });
        entry.policies.insert(policy_arn, association);
        self.put_policies(entry);
        Ok(answer)
    }

    fn disassociate(&mut self) -> Answer {
        self.principal()?.not_service_linked()?;
        let policy_arn = self.required("policyArn");
        policy_name(&policy_arn)?;
        self.access_entries()?;
        let mut entry = Arc::unwrap_or_clone(self.entry()?);
        if entry.policies.remove(&policy_arn).is_none() {
            return Err(no_policy());
        }
        self.put_policies(entry);
        Ok(json!({}))
    }

    fn list_associated(&mut self) -> Answer {
        self.principal()?;
        self.access_entries()?;
        let entry = self.entry()?;
        let policies: Vec<(&String, &Association)> = entry.policies.iter().collect();
        let scope = format!("ListAssociatedAccessPolicies {}", entry.principal_arn);
        let page = self.page(&scope, policies, |(arn, _)| (*arn).clone())?;
        let policies: Vec<Value> = page
            .items
            .iter()
            .map(|(arn, it)| it.describe(arn))
            .collect();
        let answer = json!({
            "clusterName": self.world.cluster.name,
            "principalArn": entry.principal_arn,
            "associatedAccessPolicies": policies,
        });
        Ok(with_token(answer, page.next))
    }

    fn list_policies(&mut self) -> Answer {
        let names = POLICIES.to_vec();
        let page = self.page("ListAccessPolicies", names, |name| (*name).to_owned())?;
        let policies: Vec<Value> = page
            .items
            .iter()
            .map(|name| json!({"name": name, "arn": self.world.cluster.policy_arn(name)}))
            .collect();
        Ok(with_token(json!({"accessPolicies": policies}), page.next))
    }
}

fn bad_request(message: &str) -> Refusal {
    Refusal::new("BadRequestException", 400, message)
}

fn no_entry() -> Refusal {
    Refusal::not_found(
        "The specified principalArn could not be found. You can view your available access entries with 'list-access-entries'.",
    )
}

fn no_policy() -> Refusal {
    Refusal::not_found(
        "The specified policyArn could not be found. You can view your available access policies with 'list-access-policies'",
    )
}

fn with_token(mut answer: Value, token: Option<String>) -> Value {
    answer["nextToken"] = token.map_or(Value::Null, Value::String);
    answer
}
