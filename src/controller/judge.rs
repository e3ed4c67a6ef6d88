//! The check of each planned call before it is sent.

use std::collections::BTreeSet;

use super::eks::CallCheck;
use super::implied::Implied;
use crate::access_entry::Call;
use crate::aws_auth::{Document, Entry, Section};
use crate::cluster::state::WatchedState;
use crate::observed::{AwsState, ConfigMapView, Mode};
use crate::plan::Memory;
use crate::principal::{AccountId, Key, Principal};
use crate::safety::{clear_call, may_take};
use crate::time::Timestamp;

/// A version of aws-auth, and whom it may give access.
#[derive(Debug)]
pub(super) struct TextGrants {
    version: String,
    keys: BTreeSet<Key>,
    accounts: BTreeSet<AccountId>,
    /// Whether all of it could be read.
    readable: bool,
}

impl TextGrants {
    pub(super) fn of(view: &ConfigMapView) -> Self {
        let document = Document::parse(&view.data);
        let sections = Section::ALL.map(|section| document.section(section));
        Self {
            version: view.resource_version.clone(),
            keys: document.entries().filter_map(Entry::key).collect(),
            accounts: document
                .section(Section::Accounts)
                .accounts
                .iter()
                .filter_map(|account| account.parse().ok())
                .collect(),
            readable: sections.iter().all(|section| section.broken.is_none()),
        }
    }

    pub(super) fn is_of(&self, view: &ConfigMapView) -> bool {
        self.version == view.resource_version
    }

    fn may_grant(&self, key: &Key) -> bool {
        !self.readable || self.keys.contains(key) || self.accounts.contains(key.account())
    }
}

/// Whether a call may give access. To change an entry back to what AWS gives it, without groups, takes access away.
fn grants(call: &Call) -> bool {
    match call {
        Call::Create { .. } | Call::Associate { .. } => true,
        Call::Update { groups, .. } => !groups.is_empty(),
        Call::Describe { .. }
        | Call::Delete { .. }
        | Call::Disassociate { .. }
        | Call::Tag { .. }
        | Call::Untag { .. } => false,
    }
}

/// What a call of a plan is judged by when it is sent.
pub(super) struct CallGuard<'a> {
    pub(super) state: &'a WatchedState,
    pub(super) implied: Option<&'a Implied>,
    /// aws-auth as the plan left it. While it is so, an entry that is created for a principal without access there takes nothing from
    /// anyone, and most creations are such.
    pub(super) planned: Option<&'a TextGrants>,
    pub(super) memory: &'a Memory,
    /// A pass runs. Its write of aws-auth may take access away because somebody else keeps theirs, and the watches do not show it yet.
    pub(super) pass_runs: bool,
}

impl CallGuard<'_> {
    /// Whether the call may take access from anyone.
    fn takes(&self, call: &Call, aws: &AwsState) -> bool {
        let current = self.state.config_map();
        let planned = self
            .planned
            .filter(|planned| current.is_some_and(|view| planned.is_of(view)));
        let key = Key::parse_arn(call.principal_arn());
        // Where EKS does not read aws-auth, no principal has access by it.
        let unread = aws.mode() == Some(Mode::Api);
        let adds = matches!(call, Call::Create { .. })
            && (unread
                || planned
                    .zip(key)
                    .is_some_and(|(planned, key)| !planned.may_grant(&key)));
        !adds && may_take(aws, self.state.bindings(), call)
    }
}

impl CallCheck for CallGuard<'_> {
    fn waits(&self, call: &Call, aws: &AwsState) -> bool {
        self.pass_runs && self.takes(call, aws)
    }

    fn judge(&self, key: &Key, calls: &[Call], aws: &AwsState) -> Result<(), String> {
        let Some(call) = calls.first() else {
            return Ok(());
        };
        let deletes = matches!(call, Call::Delete { .. });
        if deletes && self.state.goes_with_definition(key, Timestamp::now()) {
            return Err("deleting the CustomResourceDefinition revokes nothing".to_owned());
        }
        let principal = Principal::parse(call.principal_arn()).ok();
        let is_over = |principal| self.state.is_over(principal, Timestamp::now());
        if grants(call) && principal.as_ref().is_some_and(is_over) {
            return Err("no mapping of the principal is active any more".to_owned());
        }
        if !self.takes(call, aws) {
            return Ok(());
        }
        match self.state.input(Timestamp::now(), aws.clone()) {
            Some(mut input) => {
                if let Some(implied) = self.implied {
                    input.desired = implied.desired(&input.observed);
                }
                let config_map = self.state.name().to_string();
                clear_call(
                    &input.observed,
                    &input.desired,
                    &config_map,
                    self.memory.removals(),
                    calls,
                )
            }
            None => Err("the initial lists are not complete".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::access_entry::{ADMIN_POLICY, Kind, Scope};
    use crate::api::v1alpha1::EntryType;
    use crate::cluster::bindings::Interest;
    use crate::cluster::mapping::SeenMapping;
    use crate::cluster::state::{Definition, WatchChange, Watched};
    use crate::observed::{BindingSubjects, ConfigMapName, HistoryState, Mode};
    use crate::plan::plan;
    use crate::plan::simulation::Simulation;
    use crate::safety::Removals;

    fn list<T>(items: Vec<(String, T)>) -> Vec<WatchChange<T>> {
        let items = items
            .into_iter()
            .map(|(key, value)| WatchChange::Listed(key, value));
        std::iter::once(WatchChange::Restart)
            .chain(items)
            .chain([WatchChange::Complete])
            .collect()
    }

    fn watched(simulation: &Simulation) -> WatchedState {
        let mut state = WatchedState::new(ConfigMapName::default());
        state.keep_all_bindings();
        let all = Arc::new(Interest::All);
        let mut events: Vec<Watched> = Vec::new();
        let mappings = simulation.objects.iter();
        let mappings = mappings.map(|(name, object)| {
            let mut object = object.clone();
            object.metadata.resource_version = Some("1".to_owned());
            (name.clone(), SeenMapping::from_object(&object))
        });
        events.extend(list(mappings.collect()).into_iter().map(Watched::Mapping));
        let text = simulation.config_map.clone().into_iter();
        let text = text.map(|it| (ConfigMapName::default().to_string(), it));
        events.extend(list(text.collect()).into_iter().map(Watched::ConfigMap));
        let history = match simulation.observed().history {
            HistoryState::Present(view) => vec![("kube-system/aws-auth-history".to_owned(), view)],
            _ => Vec::new(),
        };
        events.extend(list(history).into_iter().map(Watched::History));
        let of_roles = list(Vec::<(String, BindingSubjects)>::new());
        events.extend(
            of_roles
                .into_iter()
                .map(|it| Watched::RoleBinding(it, Arc::clone(&all))),
        );
        let bindings = simulation.bindings.iter().cloned().enumerate();
        let bindings = list(
            bindings
                .map(|(number, it)| (number.to_string(), it))
                .collect(),
        );
        events.extend(
            bindings
                .into_iter()
                .map(|it| Watched::ClusterRoleBinding(it, Arc::clone(&all))),
        );
        let crd = vec![("crd".to_owned(), Definition { deleting: false })];
        events.extend(list(crd).into_iter().map(Watched::Definition));
        for event in events {
            state.apply(event);
        }
        state
    }

    /// A creation that was planned while there was another administrator, and is sent when there is none any more.
    #[test]
    fn a_creation_that_takes_the_last_administrator_is_not_sent() {
        let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, "");
        simulation.vandalise("mapAccounts", "- \"111122223333\"\n");
        let alice = "arn:aws:iam::111122223333:role/alice";
        simulation.bindings.push(BindingSubjects {
            users: [alice.to_owned()].into(),
            cluster_admin: true,
            ..BindingSubjects::default()
        });
        simulation.create(
            "bob",
            "role/bob",
            &json!({"backend": "AccessEntry", "accessPolicies": [{"policy": ADMIN_POLICY}]}),
        );
        simulation.settle();
        simulation.create("alice", "role/alice", &json!({"backend": "AccessEntry"}));
        for object in simulation.objects.values_mut() {
            let ours = crate::api::finalizer::Finalizer::AccessEntry;
            object.metadata.finalizers = Some(vec![ours.as_str().to_owned()]);
        }
        let (desired, observed) = (simulation.desired(), simulation.observed());
        let (settings, memory) = (simulation.settings.clone(), simulation.memory.clone());
        let planned = plan(&desired, &observed, &settings, &memory);
        let works = planned.works_after(&crate::plan::Outcome::NothingToWrite);
        let work = works
            .iter()
            .find(|work| {
                work.calls
                    .iter()
                    .any(|it| matches!(it, Call::Create { .. }))
            })
            .expect("alice is created");
        let text = observed.config_map.as_ref().map(TextGrants::of);
        // It waits in a burst. Someone deletes bob's entry meanwhile, and that is known.
        let (calls, key) = (work.calls.clone(), work.key.clone());
        simulation.by_hand(&Call::Delete {
            principal_arn: "arn:aws:iam::111122223333:role/bob".to_owned(),
        });
        let now = simulation.observed();
        let all = clear_call(
            &now,
            &simulation.desired(),
            "kube-system/aws-auth",
            &Removals::default(),
            &calls,
        );
        assert!(all.is_err(), "safety knows: {all:?}");
        let state = watched(&simulation);
        let judge = CallGuard {
            state: &state,
            implied: None,
            planned: text.as_ref(),
            memory: &simulation.memory,
            pass_runs: false,
        };
        let judged = judge.judge(&key, &calls, &now.aws);
        assert!(judged.is_err(), "and the controller asks it: {judged:?}");
    }

    /// The end of a mapping is no event that a watch tells: calls of a long burst, or beside a long pass, come after it.
    #[test]
    fn nothing_is_granted_once_no_mapping_of_the_principal_is_active() {
        let expired = json!({"validUntil": "2020-01-01T00:00:00Z"});
        let arn = "arn:aws:iam::111122223333:role/bob";
        let policy_arn = format!("arn:aws:eks::aws:cluster-access-policy/{ADMIN_POLICY}");
        let create = Call::Create {
            principal_arn: arn.to_owned(),
            kind: Kind::Known(EntryType::Standard),
            username: None,
            groups: BTreeSet::new(),
            tags: BTreeMap::new(),
        };
        let associate = Call::Associate {
            principal_arn: arn.to_owned(),
            policy_arn,
            scope: Scope::Cluster,
        };
        let update = |groups: &[&str]| Call::Update {
            principal_arn: arn.to_owned(),
            username: None,
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        };
        let key = Key::parse_arn(arn).expect("a key");
        for (other, refused) in [
            (None, true),
            (Some(json!({"suspend": true})), true),
            (Some(json!({})), false),
        ] {
            let mut simulation = Simulation::in_eks(Mode::Api, "");
            simulation.create("ends", "role/bob", &expired);
            if let Some(spec) = &other {
                simulation.create("other", "role/bob", spec);
            }
            let state = watched(&simulation);
            let aws = simulation.observed().aws;
            let guard = CallGuard {
                state: &state,
                implied: None,
                planned: None,
                memory: &simulation.memory,
                pass_runs: false,
            };
            for call in [&create, &associate, &update(&["dev"])] {
                let judged = guard.judge(&key, std::slice::from_ref(call), &aws);
                let said = judged.is_err_and(|why| why.contains("active"));
                assert_eq!(said, refused, "{call:?} beside {other:?}");
            }
            let back = guard.judge(&key, &[update(&[])], &aws);
            assert!(!back.is_err_and(|why| why.contains("active")));
        }
    }

    /// The watch shows which permission set is declared, and not of which role it is.
    #[test]
    fn a_permission_set_is_granted_until_it_ends() {
        let role = "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_X_0123456789abcdef";
        let key = Key::parse_arn(role).expect("a key");
        let create = Call::Create {
            principal_arn: role.to_owned(),
            kind: Kind::Known(EntryType::Standard),
            username: None,
            groups: BTreeSet::new(),
            tags: BTreeMap::new(),
        };
        let of_set = json!({"permissionSet": {"name": "X", "accountId": "111122223333"}});
        for (valid_until, refused) in [(None, false), (Some("2020-01-01T00:00:00Z"), true)] {
            let mut simulation = Simulation::in_eks(Mode::Api, "");
            let spec = json!({"principal": of_set, "username": "u", "validUntil": valid_until});
            simulation.create("set", "role/x", &spec);
            let state = watched(&simulation);
            let aws = simulation.observed().aws;
            let guard = CallGuard {
                state: &state,
                implied: None,
                planned: None,
                memory: &simulation.memory,
                pass_runs: false,
            };
            let judged = guard.judge(&key, std::slice::from_ref(&create), &aws);
            let said = judged.is_err_and(|why| why.contains("active"));
            assert_eq!(said, refused, "{valid_until:?}");
        }
    }

    /// A pass may take someone out of aws-auth because bob keeps his power, and no watch shows that yet.
    #[test]
    fn what_may_take_access_waits_while_a_pass_runs() {
        let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, "");
        simulation.create(
            "bob",
            "role/bob",
            &json!({"backend": "AccessEntry", "accessPolicies": [{"policy": ADMIN_POLICY}]}),
        );
        simulation.settle();
        let principal_arn = "arn:aws:iam::111122223333:role/bob".to_owned();
        let policy_arn = format!("arn:aws:eks::aws:cluster-access-policy/{ADMIN_POLICY}");
        let drops = Call::Disassociate {
            principal_arn: principal_arn.clone(),
            policy_arn,
        };
        let asks = Call::Describe { principal_arn };
        let (state, observed) = (watched(&simulation), simulation.observed());
        let waits = |call: &Call, pass_runs: bool| {
            let guard = CallGuard {
                state: &state,
                implied: None,
                planned: None,
                memory: &simulation.memory,
                pass_runs,
            };
            guard.waits(call, &observed.aws)
        };
        assert!(waits(&drops, true));
        assert!(!waits(&drops, false));
        assert!(!waits(&asks, true));
    }
}
