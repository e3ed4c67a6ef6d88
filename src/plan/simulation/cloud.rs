//! EKS and IAM of a [`Simulation`], and what is known of them.

use super::*;
use crate::observed::IamProblems;

/// What a principal may do: whether it is an administrator, and its groups and policies.
pub(crate) type Power = (bool, BTreeSet<String>);

/// EKS and IAM as the operator knows them and as they are.
#[derive(Clone, Debug)]
pub(crate) struct Cloud {
    pub(crate) mode: Mode,
    pub(crate) eks: Eks,
    /// What the operator knows of the entries.
    pub(crate) known: Entries,
    pub(crate) iam: Iam,
    pub(crate) policies: Option<BTreeSet<String>>,
    /// The roles that EKS uses, by ARN, and what for; `None`: EKS can't be asked.
    pub(crate) uses: Option<Vec<(&'static str, &'static str)>>,
    /// What EKS has told of them.
    pub(crate) managed: ManagedPrincipals,
    pub(crate) attempts: BTreeMap<Key, Attempt>,
    pub(crate) unreachable: Option<Unreachable>,
    pub(crate) calls: Vec<Call>,
    /// Failures of the next calls of an operation.
    pub(crate) failures: Vec<(&'static str, FailureKind)>,
    /// ARNs that EKS takes; `None`: any.
    pub(crate) principals: Option<BTreeSet<String>>,
    /// Calls whose effect is not certain. As made, the operator takes each listing at its word.
    pub(crate) in_flight: InFlight,
    /// Calls are sent, and neither take effect nor are answered before a test says so.
    pub(crate) slow: bool,
    pub(crate) awaited: Vec<(Key, Call)>,
}

impl Cloud {
    pub(crate) fn new(mode: Mode) -> Self {
        Self {
            mode,
            eks: Eks::default(),
            known: Entries::default(),
            iam: Iam::default(),
            policies: None,
            uses: None,
            managed: ManagedPrincipals::default(),
            attempts: BTreeMap::new(),
            unreachable: None,
            calls: Vec::new(),
            failures: Vec::new(),
            principals: None,
            in_flight: InFlight::default(),
            slow: false,
            awaited: Vec::new(),
        }
    }

    pub(crate) fn cluster() -> EksCluster {
        EksCluster::parse("arn:aws:eks:eu-west-1:111122223333:cluster/main").expect("an ARN")
    }

    pub(super) fn observed(&self) -> AwsState {
        AwsState::Known(Box::new(AwsView {
            cluster: Self::cluster(),
            mode: self.mode,
            authority: "ab".repeat(32),
            unreachable: self.unreachable.clone(),
            entries: Arc::new(self.known.clone()),
            unlisted: None,
            policies: self.policies.clone().map(Arc::new),
            iam: Arc::new(self.iam.clone()),
            attempts: Arc::new(self.attempts.clone()),
            in_flight: Arc::new(self.in_flight.clone()),
            managed: Arc::new(ManagedPrincipals {
                asked: self.uses.is_some(),
                ..self.managed.clone()
            }),
            queue: None,
        }))
    }

    /// The operator lists and describes everything.
    pub(crate) fn list(&mut self, now: Timestamp) {
        let principals = self.eks.entries.keys().cloned().collect();
        let admin = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy";
        let administrators = self
            .eks
            .entries
            .values()
            .filter(|entry| entry.policies.contains_key(admin))
            .map(|entry| entry.principal_arn.clone())
            .collect();
        self.known
            .take_listing(&principals, &administrators, admin, now, now);
        self.eks.now = now;
        let all: BTreeSet<String> = self.known.by_principal.keys().cloned().collect();
        for principal_arn in all {
            let call = Call::Describe { principal_arn };
            drop(self.call(&call, now));
        }
    }

    /// A plan wants to know which roles EKS uses, and EKS answers.
    pub(super) fn tell_uses(&mut self, now: Timestamp) {
        let Some(uses) = &self.uses else {
            return;
        };
        let named: Users = uses
            .iter()
            .filter_map(|(arn, user)| Some((Key::parse_arn(arn)?, (*user).to_owned())))
            .collect();
        for feature in Feature::ALL {
            self.managed.take(feature, Ok(named.clone()), now);
        }
    }

    pub(super) fn call(&mut self, call: &Call, now: Timestamp) -> Result<(), FailureKind> {
        self.eks.now = now;
        // EKS does not look for what is no ARN to it.
        if call.principal_arn().contains('{') {
            self.known.refused(call.principal_arn());
            return Err(FailureKind::Refused);
        }
        let planned = self
            .failures
            .iter()
            .position(|(operation, _)| *operation == call.operation());
        if let Some(planned) = planned {
            return Err(self.failures.remove(planned).1);
        }
        let unknown = |principals: &BTreeSet<String>| !principals.contains(call.principal_arn());
        if matches!(call, Call::Create { .. }) && self.principals.as_ref().is_some_and(unknown) {
            return Err(FailureKind::InvalidPrincipal);
        }
        match self.eks.call(call) {
            Ok(output) => {
                self.known
                    .apply_after(&mut self.in_flight, call, output, now);
                Ok(())
            }
            Err(_) if matches!(call, Call::Create { .. }) => {
                self.known.doubt(call.principal_arn(), None, now);
                Err(FailureKind::InUse)
            }
            Err(_) if self.in_flight.absence_counts(call.principal_arn(), now) => {
                self.known
                    .gone_after(&mut self.in_flight, call.principal_arn(), now, now);
                Err(FailureKind::EntryMissing)
            }
            Err(_) => {
                self.known.doubt(call.principal_arn(), None, now);
                Err(FailureKind::EntryMissing)
            }
        }
    }

    pub(super) fn failed(&mut self, key: &Key, call: &Call, kind: FailureKind, now: Timestamp) {
        if kind.effect_unknown() {
            self.known.doubt(call.principal_arn(), None, now);
        }
        let before = self.attempts.get(key);
        let attempt = Attempt {
            since: before.map_or(now, |before| before.since),
            count: before.map_or(1, |before| before.count + 1),
            retry: now.plus(SignedDuration::from_secs(1)),
            failure: Failure {
                message: format!("the words of {kind}"),
                kind,
            },
            call: call.clone(),
        };
        self.attempts.insert(key.clone(), attempt);
    }

    /// IAM is read: all roles and users of the account are these.
    pub(crate) fn iam_lists(&mut self, principals: &[(&str, &str)], now: Timestamp) {
        let account = "111122223333".parse().expect("an account");
        let listing = |kind: &str| {
            let of_kind = principals.iter().filter(|(arn, _)| arn.contains(kind));
            let principals = of_kind.map(|(arn, id)| {
                let name = arn.rsplit('/').next().unwrap_or_default().to_lowercase();
                let principal = IamPrincipal {
                    arn: (*arn).to_owned(),
                    id: (*id).to_owned(),
                    created: None,
                };
                (name, principal)
            });
            Listing {
                read: now,
                principals: Arc::new(principals.collect()),
            }
        };
        let account: &mut IamAccount = self.iam.accounts.entry(account).or_default();
        account.roles = Some(listing(":role/"));
        account.users = Some(listing(":user/"));
        account.sso = Some(listing(":role/aws-reserved/sso.amazonaws.com/"));
        account.problems = IamProblems::default();
    }
}

impl Simulation {
    /// A cluster in EKS, of this mode, in which the operator has listed everything.
    pub(crate) fn in_eks(mode: Mode, roles: &str) -> Self {
        let mut simulation = Self::with_roles(roles);
        let mut cloud = Cloud::new(mode);
        cloud.list(simulation.now);
        simulation.cloud = Some(cloud);
        simulation
    }

    pub(crate) fn cloud(&mut self) -> &mut Cloud {
        self.cloud.as_mut().expect("EKS is there")
    }

    /// The operator looks again at everything in EKS.
    pub(crate) fn look(&mut self) {
        let now = self.now;
        self.cloud().list(now);
    }

    /// Someone else calls EKS, and the operator learns of it.
    pub(crate) fn by_hand(&mut self, call: &Call) {
        let now = self.now;
        let cloud = self.cloud();
        cloud.eks.now = now;
        cloud.eks.call(call).expect("EKS takes it");
        self.look();
    }

    /// The calls since the last look, in short: operation and principal's name.
    pub(crate) fn calls(&mut self) -> Vec<String> {
        let calls = std::mem::take(&mut self.cloud().calls);
        calls
            .iter()
            .map(|call| {
                let name = call.principal_arn().rsplit('/').next().unwrap_or_default();
                format!("{} {name}", call.operation())
            })
            .collect()
    }

    /// An entry as it stands in EKS: username, groups and policies with scopes.
    pub(crate) fn access_entry(&self, role: &str) -> Option<(String, Vec<String>, Vec<String>)> {
        let cloud = self.cloud.as_ref().expect("EKS is there");
        let entry = cloud
            .eks
            .entries
            .get(&format!("arn:aws:iam::111122223333:{role}"))?;
        let policies = entry.policies.iter().map(|(policy, association)| {
            let name = policy.rsplit('/').next().unwrap_or_default();
            format!("{name} in {}", association.scope)
        });
        Some((
            entry.username.clone(),
            entry.groups.iter().cloned().collect(),
            policies.collect(),
        ))
    }

    /// The bridge of a handover: a binding of its group to cluster-admin.
    pub(crate) fn bridge(&mut self) {
        self.bindings.push(BindingSubjects {
            groups: [BRIDGE_GROUP.to_owned()].into(),
            cluster_admin: true,
            ..BindingSubjects::default()
        });
    }

    /// Which power each role has now, as the cluster would have it: an access entry wins from the moment that it exists.
    pub(crate) fn powers(&self) -> BTreeMap<String, Power> {
        let bindings: crate::observed::Bindings = self.bindings.iter().collect();
        let mut powers = BTreeMap::new();
        let mode = self
            .cloud
            .as_ref()
            .map_or(Mode::ConfigMap, |cloud| cloud.mode);
        if mode != Mode::Api {
            let empty = BTreeMap::new();
            let data = self.config_map.as_ref().map_or(&empty, |view| &view.data);
            let document = Document::parse(data);
            let winners = Index::new(&document);
            for entry in winners
                .winners()
                .filter(|entry| crate::effective::can_match(entry))
            {
                let groups: BTreeSet<String> = entry.groups.iter().cloned().collect();
                let administrator = groups.iter().any(|group| {
                    group == "system:masters" || bindings.admin_groups.contains(group)
                });
                powers.insert(entry.matched_arn(), (administrator, groups));
            }
        }
        let entries = self
            .cloud
            .iter()
            .flat_map(|cloud| cloud.eks.entries.values());
        for entry in entries {
            let principal = Principal::parse(&entry.principal_arn).expect("a principal");
            let administrator = entry
                .policies
                .keys()
                .any(|policy| policy.ends_with("AmazonEKSClusterAdminPolicy"))
                || entry
                    .groups
                    .iter()
                    .any(|group| bindings.admin_groups.contains(group));
            let arn = crate::aws_auth::fold_arn(&principal.aws_auth_arn());
            powers.insert(arn, (administrator, entry.groups.clone()));
        }
        powers
    }

    /// The calls that are awaited take effect and are answered.
    pub(crate) fn answer(&mut self) {
        let now = self.now;
        let cloud = self.cloud();
        for (key, call) in std::mem::take(&mut cloud.awaited) {
            cloud.in_flight.answered(&call);
            match cloud.call(&call, now) {
                Ok(()) => _ = cloud.attempts.remove(&key),
                Err(failure) => cloud.failed(&key, &call, failure, now),
            }
        }
    }

    /// The answers to the calls that are awaited are lost, and they take effect or don't.
    pub(crate) fn lose_answers(&mut self, effect: bool) {
        let now = self.now;
        let cloud = self.cloud();
        for (key, call) in std::mem::take(&mut cloud.awaited) {
            cloud.in_flight.given_up(&call, now);
            cloud.eks.now = now;
            if effect {
                cloud.eks.call(&call).expect("EKS takes it");
            }
            cloud.failed(&key, &call, FailureKind::Unavailable, now);
        }
    }

    /// A listing that lacks this principal, whatever is so.
    pub(crate) fn list_without(&mut self, principal: &str) {
        let now = self.now;
        let cloud = self.cloud();
        let all = cloud.eks.entries.keys().filter(|it| *it != principal);
        let (listed, none) = (all.cloned().collect(), BTreeSet::new());
        cloud.known.take_listing(&listed, &none, "none", now, now);
    }
}
