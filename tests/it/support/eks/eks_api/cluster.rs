//! Updates of the cluster, what it uses, and tags.

use super::super::cluster::Entry;
use super::super::cluster::Mode;
use super::super::cluster::Update;
use super::super::cluster::UpdateKind;
use super::super::knobs::signed;
use super::super::page::page;
use super::super::refusal::Refusal;
use super::super::world::Change;
use super::checks::check_tags;
use super::{AUTO_MODE, Answer, Eks, bad_request, with_token};
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Eks<'_> {
    /// What kind of update is asked for. The three parts of EKS Auto Mode are one.
    pub(super) fn kind_of_update(&self) -> Result<UpdateKind, Refusal> {
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

    pub(super) fn auto_mode(&self) -> Result<UpdateKind, Refusal> {
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

    pub(super) fn update_cluster(&mut self) -> Answer {
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

    pub(super) fn known_update(&mut self) -> Result<&mut Update, Refusal> {
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

    pub(super) fn describe_update(&mut self) -> Answer {
        Ok(json!({"update": self.known_update()?.describe()}))
    }

    pub(super) fn list_updates(&mut self) -> Answer {
        self.cluster()?;
        let updates = self.world.cluster.updates.iter().enumerate();
        let ids: Vec<(usize, &str)> = updates
            .map(|(number, it)| (number, it.id.as_str()))
            .collect();
        let page = self.page("ListUpdates", ids, |(number, _)| format!("{number:09}"))?;
        let ids: Vec<&str> = page.items.iter().map(|(_, id)| *id).collect();
        Ok(with_token(json!({"updateIds": ids}), page.next))
    }

    pub(super) fn cancel_update(&mut self) -> Answer {
        let update = self.known_update()?;
        let (type_, id, status) = (update.type_(), update.id.clone(), update.status);
        // Our own wording: which updates can be cancelled is documented, the text is not.
        Err(Refusal::new(
            "InvalidStateException",
            400,
            format!("Update {id} of type {type_} is {status} and can't be cancelled"),
        ))
    }

    pub(super) fn list_nodes(&mut self, member: &str, fargate: bool) -> Answer {
        self.cluster()?;
        let names = self.world.cluster.names_of_nodes(fargate);
        let page = self.page(member, names, Clone::clone)?;
        let mut answer = json!({});
        answer[member] = json!(page.items);
        Ok(with_token(answer, page.next))
    }

    pub(super) fn list_capabilities(&mut self) -> Answer {
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

    pub(super) fn list_identity_providers(&mut self) -> Answer {
        self.cluster()?;
        let names = self.world.cluster.identity_providers.iter().cloned();
        let page = self.page("ListIdentityProviderConfigs", names.collect(), Clone::clone)?;
        let configs: Vec<Value> = page
            .items
            .iter()
            .map(|name| json!({"type": "oidc", "name": name}))
            .collect();
        Ok(with_token(
            json!({"identityProviderConfigs": configs}),
            page.next,
        ))
    }

    pub(super) fn list_clusters(&mut self) -> Answer {
        let names = vec![self.world.cluster.name.clone()];
        let page = self.page("ListClusters", names, Clone::clone)?;
        Ok(with_token(json!({"clusters": page.items}), page.next))
    }

    // Tags: an error family of their own.

    pub(super) fn tag(&mut self) -> Answer {
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

    pub(super) fn untag(&mut self) -> Answer {
        let keys = self.texts("tagKeys").unwrap_or_default();
        self.retag(|standing| {
            standing.retain(|key, _| !keys.contains(key));
            Ok(())
        })
    }

    pub(super) fn retag(
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

    pub(super) fn list_tags(&mut self) -> Answer {
        let arn = self.required("resourceArn");
        let entry = self.tagged(&arn)?;
        let tags = entry.map_or_else(
            || self.world.cluster.tags.clone(),
            |entry| entry.tags.clone(),
        );
        Ok(json!({"tags": tags}))
    }

    /// The entry of this ARN; `None`: it is the cluster's.
    pub(super) fn tagged(&self, arn: &str) -> Result<Option<Arc<Entry>>, Refusal> {
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
