//! The operations of EKS: world and input in, answer or refusal out. Inputs have been checked by the service model before.
//!
//! The order of checks and every text are EKS's own where they are known; what is our own wording is marked so.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

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

    // The cluster.

    /// What kind of update is asked for. The three parts of EKS Auto Mode are one.
    fn kind_of_update(&self) -> Result<UpdateKind, Refusal> {
        let no_kinds = ["name", "clientRequestToken"];
        let asked = self.input.iter().filter(|(_, value)| !value.is_null());
        let mut kinds: Vec<&str> = asked
            .map(|(name, _)| name.as_str())
            .filter(|name| !no_kinds.contains(name))
            .collect();
        kinds.sort_unstable();
        match kinds.as_slice() {
            [] => Err(Refusal::parameter(
                "The type for cluster update was not provided.",
            )),
            ["accessConfig"] => {
                let wanted = self.input["accessConfig"]["authenticationMode"].as_str();
                let wanted = wanted.and_then(|mode| mode.parse().ok());
                Ok(UpdateKind::AccessConfig(
                    wanted.unwrap_or(self.world.cluster.mode),
                ))
            }
            some if some.iter().all(|name| AUTO_MODE.contains(name)) => self.auto_mode(),
            [other] => Err(Refusal::parameter(format!(
                // Our own: EKS does take it.
                "This stand-in updates accessConfig and EKS Auto Mode, not {other}"
            ))),
            _ => Err(Refusal::parameter(
                "Only one type of update can be allowed.",
            )),
        }
    }

    fn auto_mode(&self) -> Result<UpdateKind, Refusal> {
        let enabled = [
            "/computeConfig/enabled",
            "/kubernetesNetworkConfig/elasticLoadBalancing/enabled",
            "/storageConfig/blockStorage/enabled",
        ];
        let input = Value::Object(self.input.clone());
        let given = enabled.map(|path| input.pointer(path).and_then(Value::as_bool));
        match given {
            [Some(one), Some(two), Some(three)] if one == two && two == three => {
                Ok(UpdateKind::AutoMode(one))
            }
            _ => Err(Refusal::parameter(
                "For EKS Auto Mode, please ensure that all required configs, including computeConfig, kubernetesNetworkConfig, and blockStorage are all either fully enabled or fully disabled.",
            )),
        }
    }

    fn update_cluster(&mut self) -> Answer {
        let kind = self.kind_of_update()?;
        self.cluster()?;
        let cluster = &self.world.cluster;
        let type_ = kind.type_();
        if let Some(running) = cluster.running_update() {
            let (name, id) = (&cluster.name, &running.id);
            return Err(Refusal::in_use(format!(
                "Cannot {type_} because cluster {name} currently has update {id} in progress"
            ))
            .of_cluster(name));
        }
        match (kind, cluster.mode) {
            (UpdateKind::AccessConfig(Mode::ApiAndConfigMap), Mode::ConfigMap)
            | (UpdateKind::AccessConfig(Mode::Api), Mode::ApiAndConfigMap) => {}
            (UpdateKind::AccessConfig(wanted), standing) => {
                return Err(Refusal::parameter(format!(
                    "Unsupported authentication mode update from {standing} to {wanted}"
                ))
                .of_cluster(&cluster.name));
            }
            (UpdateKind::AutoMode(true), Mode::ConfigMap) => {
                return Err(Refusal::parameter(
                    "When EKS Auto Mode is enabled, you must use an EKS access config authentication mode of API_AND_CONFIG_MAP or API",
                ));
            }
            (UpdateKind::AutoMode(_) | UpdateKind::Authority(_), _) => {}
        }
        let update = Update {
            id: self.world.uuid(),
            status: "InProgress",
            kind,
            created: self.world.now,
        };
        let answer = json!({"update": update.describe()});
        let id = update.id.clone();
        self.world.cluster.updates.push(update);
        self.world.update_ends(&id, signed(self.knobs.update));
        Ok(answer)
    }

    fn known_update(&mut self) -> Result<&mut Update, Refusal> {
        self.cluster()?;
        let id = self.required("updateId");
        let found = self
            .world
            .cluster
            .updates
            .iter_mut()
            .find(|update| update.id == id);
        found.ok_or_else(|| Refusal::not_found(format!("No update found for ID: {id}")))
    }

    fn describe_update(&mut self) -> Answer {
        Ok(json!({"update": self.known_update()?.describe()}))
    }

    fn list_updates(&mut self) -> Answer {
        self.cluster()?;
        let updates = self.world.cluster.updates.iter().enumerate();
        let ids: Vec<(usize, &str)> = updates
            .map(|(number, it)| (number, it.id.as_str()))
            .collect();
        let page = self.page("ListUpdates", ids, |(number, _)| format!("{number:09}"))?;
        let ids: Vec<&str> = page.items.iter().map(|(_, id)| *id).collect();
        Ok(with_token(json!({"updateIds": ids}), page.next))
    }

    fn cancel_update(&mut self) -> Answer {
        let update = self.known_update()?;
        let (type_, id, status) = (update.type_(), update.id.clone(), update.status);
        // Our own wording: which updates can be cancelled is documented, the text is not.
        Err(Refusal::new(
            "InvalidStateException",
            400,
            format!("Update {id} of type {type_} is {status} and can't be cancelled"),
        ))
    }

    fn list_nodes(&mut self, member: &str, fargate: bool) -> Answer {
        self.cluster()?;
        let names = self.world.cluster.names_of_nodes(fargate);
        let page = self.page(member, names, Clone::clone)?;
        let mut answer = json!({});
        answer[member] = json!(page.items);
        Ok(with_token(answer, page.next))
    }

    fn list_capabilities(&mut self) -> Answer {
        self.cluster()?;
        let cluster = &self.world.cluster;
        let all = cluster.capabilities.iter().collect();
        let page = self.page("ListCapabilities", all, |(name, _)| (*name).clone())?;
        let capabilities: Vec<Value> = page
            .items
            .iter()
            .map(|(name, it)| cluster.summary_of_capability(name, it))
            .collect();
        Ok(with_token(json!({"capabilities": capabilities}), page.next))
    }

    fn list_clusters(&mut self) -> Answer {
        let names = vec![self.world.cluster.name.clone()];
        let page = self.page("ListClusters", names, Clone::clone)?;
        Ok(with_token(json!({"clusters": page.items}), page.next))
    }

    // Tags: an error family of their own.

    fn tag(&mut self) -> Answer {
        let tags = self.tags();
        check_tags(&tags, |message| bad_request(&message))?;
        self.retag(|standing| {
            standing.extend(tags);
            if standing.len() > 50 {
                // Our own wording.
                return Err(bad_request("A resource can have at most 50 tags"));
            }
            Ok(())
        })
    }

    fn untag(&mut self) -> Answer {
        let keys = self.texts("tagKeys").unwrap_or_default();
        self.retag(|standing| {
            standing.retain(|key, _| !keys.contains(key));
            Ok(())
        })
    }

    fn retag(
        &mut self,
        change: impl FnOnce(&mut BTreeMap<String, String>) -> Result<(), Refusal>,
    ) -> Answer {
        let arn = self.required("resourceArn");
        match self.tagged(&arn)? {
            None => {
                let mut tags = self.world.cluster.tags.clone();
                change(&mut tags)?;
                self.world.cluster.tags = tags;
            }
            Some(entry) => {
                let mut entry = Arc::unwrap_or_clone(entry);
                change(&mut entry.tags)?;
                let principal_arn = entry.principal_arn.clone();
                let entries = &mut self.world.cluster.entries;
                entries.insert(principal_arn.clone(), Arc::new(entry));
                self.world.changed(Change::Described(principal_arn));
            }
        }
        Ok(json!({}))
    }

    fn list_tags(&mut self) -> Answer {
        let arn = self.required("resourceArn");
        let entry = self.tagged(&arn)?;
        let tags = entry.map_or_else(
            || self.world.cluster.tags.clone(),
            |entry| entry.tags.clone(),
        );
        Ok(json!({"tags": tags}))
    }

    /// The entry of this ARN; `None`: it is the cluster's.
    fn tagged(&self, arn: &str) -> Result<Option<Arc<Entry>>, Refusal> {
        let cluster = &self.world.cluster;
        if arn == cluster.arn {
            return Ok(None);
        }
        let prefix = format!("arn:{}:eks:{}:", cluster.partition, cluster.region);
        if !arn.starts_with(&prefix) {
            // Our own wording.
            return Err(bad_request(&format!(
                "{arn} is no ARN of a resource of EKS"
            )));
        }
        let found = cluster.entries.values().find(|entry| entry.arn == arn);
        let missing = || {
            Refusal::new(
                "NotFoundException",
                404,
                format!("Resource not found: {arn}"),
            )
        };
        found.cloned().map(Some).ok_or_else(missing)
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

/// An IAM principal that an access entry can be for.
struct Principal {
    arn: String,
    partition: String,
    account: String,
    /// `role`, `user` or `root`.
    kind: &'static str,
}

impl Principal {
    fn parse(arn: &str) -> Result<Self, Refusal> {
        let refused = || Refusal::parameter("The principalArn parameter format is not valid");
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let &["arn", partition, "iam", "", account, resource] = parts.as_slice() else {
            return Err(refused());
        };
        let kind = match resource.split_once('/') {
            Some(("role", name)) if !name.is_empty() => "role",
            Some(("user", name)) if !name.is_empty() => "user",
            None if resource == "root" => "root",
            _ => return Err(refused()),
        };
        let digits = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        if !partition.starts_with("aws") || !digits {
            return Err(refused());
        }
        Ok(Self {
            arn: arn.to_owned(),
            partition: partition.to_owned(),
            account: account.to_owned(),
            kind,
        })
    }

    /// The shape of the ARN alone decides, not whether the role is there.
    fn not_service_linked(&self) -> Result<(), Refusal> {
        if self.arn.contains(":role/aws-service-role/") {
            return Err(Refusal::parameter(
                "The caller is not allowed to modify access entries with a principalArn value of a Service Linked Role",
            ));
        }
        Ok(())
    }
}

fn reserved(name: &str) -> Option<&'static str> {
    RESERVED.into_iter().find(|prefix| name.starts_with(prefix))
}

fn check_names(username: Option<&str>, groups: &[String]) -> Result<(), Refusal> {
    if let Some(username) = username {
        if let Some(prefix) = reserved(username) {
            return Err(Refusal::parameter(format!(
                "The username must not begin with {prefix}"
            )));
        }
        let placeholder = ["{{SessionName}}", "{{SessionNameRaw}}"];
        let first = placeholder.iter().filter_map(|it| username.find(it)).min();
        if first.is_some_and(|at| !username[..at].contains(':')) {
            // The rule is EKS's, the wording is ours.
            return Err(Refusal::parameter(
                "The specified username is invalid: a colon must stand before {{SessionName}} or {{SessionNameRaw}}",
            ));
        }
    }
    for group in groups {
        if let Some(prefix) = reserved(group) {
            return Err(Refusal::parameter(format!(
                "The kubernetes group name {group} is invalid, it cannot start with {prefix}"
            )));
        }
    }
    Ok(())
}

fn check_type(type_: &str, username: Option<&str>, groups: &[String]) -> Result<(), Refusal> {
    let set = [
        ("kubernetesGroups", !groups.is_empty()),
        ("username", username.is_some()),
    ];
    for (what, given) in set {
        if given && type_ != "STANDARD" {
            return Err(Refusal::parameter(format!(
                "The specified {what} is invalid: setting {what} is not allowed when the type is \"{type_}\""
            )));
        }
    }
    Ok(())
}

fn check_tags<M: Fn(String) -> Refusal>(
    tags: &BTreeMap<String, String>,
    refused: M,
) -> Result<(), Refusal> {
    match tags
        .keys()
        .find(|key| key.to_lowercase().starts_with("aws:"))
    {
        // Our own wording.
        Some(key) => Err(refused(format!(
            "The tag key {key} begins with aws:, which is reserved"
        ))),
        None => Ok(()),
    }
}

/// The name in an access policy's ARN; `None`: it is one of EKS, and none of an access policy, so that none is found by it.
fn policy_name(arn: &str) -> Result<Option<&str>, Refusal> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    match parts.as_slice() {
        ["arn", _, "eks", "", "aws", resource] => Ok(resource
            .strip_prefix("cluster-access-policy/")
            .filter(|name| !name.is_empty())),
        ["arn", _, "eks", ..] => Ok(None),
        _ => Err(Refusal::parameter(
            "The policyArn parameter format is not valid",
        )),
    }
}

/// The namespaces of a scope; `None`: the whole cluster.
fn namespaces(scope: Option<&Input>) -> Result<Option<Vec<String>>, Refusal> {
    let given = |name: &str| scope.and_then(|scope| scope.get(name));
    let namespaces: Vec<String> = given("namespaces")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|namespace| namespace.as_str().map(str::to_owned))
        .collect();
    match given("type").and_then(Value::as_str) {
        Some("namespace") if namespaces.is_empty() => Err(Refusal::parameter(
            "At least 1 namespace must be provided if the type is set as namespace",
        )),
        Some("namespace") => Ok(Some(namespaces)),
        Some(_) if namespaces.is_empty() => Ok(None),
        Some(_) => Err(Refusal::parameter(
            "accessScope should not include namespaces if the type is not set as namespace",
        )),
        // The user guide requires a type, the model does not; our own wording.
        None => Err(Refusal::parameter("accessScope must have a type")),
    }
}
