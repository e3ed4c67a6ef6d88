//! A cluster and what is proposed for it, put together by a few calls.

use super::*;

pub(super) const CONFIG_MAP: &str = "kube-system/aws-auth";
pub(super) const ADMIN: &str = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy";

pub(super) fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("in range")
}

pub(super) fn arn(role: &str) -> String {
    format!("arn:aws:iam::111122223333:role/{role}")
}

pub(super) fn hash(role: &str) -> KeyHash {
    KeyHash::of(&Key::parse_arn(&arn(role)).expect("an ARN"))
}

pub(super) fn line(role: &str, username: &str, group: &str) -> String {
    format!(
        "- rolearn: {}\n  username: \"{username}\"\n  groups: [\"{group}\"]\n",
        arn(role)
    )
}

/// A cluster as a test has it.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) mode: Mode,
    pub(super) text: String,
    /// The text of `mapUsers`.
    pub(super) users: String,
    /// Roles whose last entry in the text is managed.
    pub(super) managed: Vec<String>,
    pub(super) entries: Entries,
    pub(super) mappings: Vec<Mapping>,
    pub(super) removals: Removals,
    pub(super) recordable: bool,
    pub(super) orphans: BTreeSet<Confirmation>,
    pub(super) confirmed_orphans: BTreeSet<KeyHash>,
    pub(super) definition_deleting: bool,
    pub(super) authority: Authority,
    /// What is proposed: the text with the roles that are managed in it, and calls.
    pub(super) then: Option<(String, Vec<String>)>,
    pub(super) in_flight: InFlight,
    pub(super) calls: BTreeMap<KeyHash, Vec<Call>>,
}

impl Scene {
    pub(super) fn new(mode: Mode) -> Self {
        Self {
            mode,
            text: String::new(),
            users: String::new(),
            managed: Vec::new(),
            entries: Entries {
                listed: Some(now()),
                ..Entries::default()
            },
            mappings: Vec::new(),
            removals: Removals::default(),
            recordable: true,
            orphans: BTreeSet::new(),
            confirmed_orphans: BTreeSet::new(),
            definition_deleting: false,
            authority: Authority::Mappings,
            then: None,
            in_flight: InFlight::since(Timestamp::UNIX_EPOCH),
            calls: BTreeMap::new(),
        }
    }

    pub(super) fn text(mut self, lines: &[String], managed: &[&str]) -> Self {
        self.text = lines.concat();
        self.managed = managed.iter().map(|role| (*role).to_owned()).collect();
        self
    }

    pub(super) fn then(mut self, lines: &[String], managed: &[&str]) -> Self {
        let managed = managed.iter().map(|role| (*role).to_owned()).collect();
        self.then = Some((lines.concat(), managed));
        self
    }

    /// An access entry, of ours where it is tagged.
    pub(super) fn entry(mut self, role: &str, change: impl FnOnce(&mut AccessEntry)) -> Self {
        let mut entry = AccessEntry {
            principal_arn: arn(role),
            arn: format!(
                "arn:aws:eks:eu-west-1:111122223333:access-entry/main/role/111122223333/{role}/x"
            ),
            kind: Kind::Known(EntryType::Standard),
            username: role.to_owned(),
            groups: ["g".to_owned()].into(),
            tags: [(INSTALLATION_TAG, CONFIG_MAP), (CREATED_TAG, "true")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            created: Timestamp::UNIX_EPOCH,
            modified: Timestamp::UNIX_EPOCH,
            policies: BTreeMap::new(),
        };
        change(&mut entry);
        let state = EntryState {
            entry: Some(entry),
            described: Some(now()),
            ..EntryState::default()
        };
        self.entries.by_principal.insert(arn(role), state);
        self
    }

    pub(super) fn mapping(mut self, role: &str, spec: &Value, metadata: &Value) -> Self {
        let mut object = json!({
            "apiVersion": "identity-mapper.dev/v1alpha1",
            "kind": "IdentityMapping",
            "metadata": {"name": role, "uid": role},
            "spec": {"principal": {"arn": arn(role)}, "username": role, "groups": ["g"]},
        });
        for (field, value) in [("spec", spec), ("metadata", metadata)] {
            let fields = object[field].as_object_mut().expect("an object");
            fields.extend(value.as_object().expect("an object").clone());
            fields.retain(|_, value| !value.is_null());
        }
        let object: IdentityMapping = serde_json::from_value(object).expect("a mapping");
        self.mappings.push(Mapping::from_object(&object));
        self
    }

    /// A mapping of this name and role that confirms something, and whose status says that it wrote these entries.
    pub(super) fn written_by(mut self, role: &str, written: &Value, confirms: &str) -> Self {
        let object = json!({
            "apiVersion": "identity-mapper.dev/v1alpha1",
            "kind": "IdentityMapping",
            "metadata": {"name": role, "uid": role, "annotations": {"identity-mapper.dev/confirm": confirms}},
            "spec": {"principal": {"arn": arn(role)}, "username": role},
            "status": {"written": written},
        });
        let object: IdentityMapping = serde_json::from_value(object).expect("a mapping");
        self.mappings.push(Mapping::from_object(&object));
        self
    }

    pub(super) fn deleted(self, role: &str) -> Self {
        self.mapping(
            role,
            &json!({}),
            &json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}),
        )
    }

    pub(super) fn call(mut self, role: &str, call: impl FnOnce(String) -> Call) -> Self {
        self.calls
            .entry(hash(role))
            .or_default()
            .push(call(arn(role)));
        self
    }

    pub(super) fn delete(self, role: &str) -> Self {
        self.call(role, |principal_arn| Call::Delete { principal_arn })
    }

    pub(super) fn review(&self) -> Review {
        let data = |text: &str| -> BTreeMap<String, String> {
            let texts = [("mapRoles", text), ("mapUsers", self.users.as_str())];
            let given = texts.into_iter().filter(|(_, text)| !text.is_empty());
            given
                .map(|(key, text)| (key.to_owned(), text.to_owned()))
                .collect()
        };
        let text = Document::parse(&data(&self.text));
        let managed = managed(&text, &self.managed);
        let cluster = EksCluster::parse("arn:aws:eks:eu-west-1:111122223333:cluster/main");
        let cluster = cluster.expect("an ARN");
        let mut view = AwsView::new(cluster, self.mode, self.entries.clone(), Iam::default());
        view.in_flight = Arc::new(self.in_flight.clone());
        let eks = (self.mode != Mode::ConfigMap).then_some(&view);
        let entries = eks.map(StandingEntries::new).unwrap_or_default();
        let tagged = |state: &EntryState| {
            let entry = state.entry.as_ref();
            entry.is_some_and(|entry| entry.tags.contains_key(INSTALLATION_TAG))
        };
        let ours = self.entries.by_principal.iter();
        let ours = ours.filter(|(_, state)| tagged(state));
        let mappings: Vec<Cow<'_, Mapping>> = self.mappings.iter().map(Cow::Borrowed).collect();
        let states: Vec<State> = mappings
            .iter()
            .map(|mapping| State::of(mapping, now()))
            .collect();
        let mark = mark(&managed);
        let before = Before {
            now: now(),
            mode: Some(self.mode),
            text: &text,
            last_good: &text,
            mark: &mark,
            managed: &managed,
            managed_entries: &ours.map(|(arn, _)| arn.clone()).collect(),
            view: eks,
            iam: eks.map(|view| &*view.iam),
            entries: &entries,
            bindings: &Bindings::default(),
            mappings: &mappings,
            states: &states,
            config_map: CONFIG_MAP,
            removals: &self.removals,
            recordable: self.recordable,
            orphans: &self.orphans,
            confirmed_orphans: &self.confirmed_orphans,
            definition_deleting: self.definition_deleting,
        };
        let then = self.then.as_ref().map(|(text, roles)| {
            let document = Document::parse(&data(text));
            let mark = mark_of(&document, roles);
            (document, mark)
        });
        let proposal = Proposal {
            text: then
                .as_ref()
                .map(|(document, mark)| Text { document, mark }),
            calls: self
                .calls
                .iter()
                .map(|(hash, calls)| (hash, calls.as_slice()))
                .collect(),
            authority: self.authority,
        };
        review(&before, &proposal)
    }

    pub(super) fn refused(&self) -> Vec<Rule> {
        let refusals = self.review().refusals;
        let rules: BTreeSet<Rule> = refusals.iter().map(|refusal| refusal.rule).collect();
        rules.into_iter().collect()
    }

    /// Only this rule refuses it, and without the rule it is cleared.
    #[track_caller]
    pub(super) fn refused_by(&self, rule: Rule) {
        assert_eq!(self.refused(), [rule]);
        let cleared = without(rule, || self.review().clearance);
        assert!(cleared.is_some(), "without {rule:?} it would be written");
    }

    #[track_caller]
    pub(super) fn cleared(&self) {
        assert_eq!(self.review().refusals, []);
    }
}

pub(super) fn managed(text: &Document, roles: &[String]) -> BTreeMap<KeyHash, Meaning> {
    let entries = text.entries().map(|entry| (entry.key(), entry.meaning()));
    let of_roles = entries.filter_map(|(key, meaning)| {
        let hash = KeyHash::of(&key?);
        roles
            .iter()
            .any(|role| super::hash(role) == hash)
            .then_some((hash, meaning))
    });
    of_roles.collect()
}

pub(super) fn mark(managed: &BTreeMap<KeyHash, Meaning>) -> Mark {
    let hashes = managed.iter();
    Mark(
        hashes
            .map(|(hash, meaning)| (hash.clone(), MeaningHash::of(meaning)))
            .collect(),
    )
}

pub(super) fn mark_of(text: &Document, roles: &[String]) -> Mark {
    mark(&managed(text, roles))
}

pub(super) fn administrator(entry: &mut AccessEntry) {
    let association = Association {
        scope: Scope::Cluster,
        associated: now(),
        modified: now(),
    };
    entry.policies.insert(ADMIN.to_owned(), association);
}

pub(super) fn node(entry: &mut AccessEntry) {
    entry.kind = Kind::Known(EntryType::EC2Linux);
    entry.username = "system:node:{{EC2PrivateDNSName}}".to_owned();
    entry.groups = ["system:nodes".to_owned()].into();
}

pub(super) fn update(principal_arn: String, groups: &[&str]) -> Call {
    Call::Update {
        username: principal_arn.rsplit('/').next().map(str::to_owned),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        principal_arn,
    }
}

pub(super) fn create(principal_arn: String, groups: &[&str]) -> Call {
    Call::Create {
        username: principal_arn.rsplit('/').next().map(str::to_owned),
        kind: Kind::Known(EntryType::Standard),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        tags: BTreeMap::new(),
        principal_arn,
    }
}

/// Removals of so many others lie a while back, so that the rule about many removals is not in the way.
pub(super) fn among_others(mut scene: Scene) -> Scene {
    for number in 0..40 {
        let other = format!("other{number}");
        scene = scene
            .entry(&other, |_| {})
            .mapping(&other, &json!({}), &json!({}));
    }
    scene
}
