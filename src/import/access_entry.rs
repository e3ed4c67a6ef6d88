//! Access entries.

use std::collections::{BTreeMap, BTreeSet};

use crate::access_entry::{
    ADMIN_POLICY, AccessEntry, Declared, INSTALLATION_TAG, Kind, MAPPING_TAG, Scope, Wanted,
    meaning_differs, policy_arn, policy_name, target,
};
use crate::api::v1alpha1::{
    AccessPolicy, AccessScope, Adoption, EntryType, IdentityMappingSpec, ScopeType,
};
use crate::aws_auth::{Entry as TextEntry, Lookup};
use crate::desired::Spec;
use crate::effective::MASTERS;
use crate::effective::{Life, Standing};
use crate::import::imported::{Origin, SkipReason};
use crate::import::importer::{CopyDecision, Importer};
use crate::import::object::{Draft, parsed, spec};
use crate::observed::AwsView;
use crate::ownership::aws_managed::{Keeper, keeper};
use crate::principal::{Key, Principal};

/// The tag that `CloudFormation` sets on what its stacks hold (its user guide, *Resource tags*).
const STACK_TAG: &str = "aws:cloudformation:stack-name";

impl Importer<'_> {
    /// All access entries of one principal: more than one where its path changed and the old one still exists.
    pub(super) fn access_entries_of(
        &mut self,
        view: &AwsView,
        key: &Key,
        standing: &[&Standing<'_>],
    ) {
        let (dead, alive): (Vec<&Standing<'_>>, Vec<&Standing<'_>>) = standing
            .iter()
            .partition(|standing| standing.life.is_dead());
        for standing in &dead {
            let arn = standing.principal_arn;
            self.leave(
                arn,
                Origin::AccessEntry(arn.to_owned()),
                SkipReason::LetsNobodyIn,
                dead_words(view, standing),
            );
        }
        if dead.iter().any(|standing| self.owns(standing)) {
            let message = "identity-mapper created an access entry for this principal, but it grants no access; delete it and \
                import again";
            for standing in alive {
                let arn = standing.principal_arn;
                let origin = Origin::AccessEntry(arn.to_owned());
                self.leave(arn, origin, SkipReason::Inexpressible, message);
            }
            self.fates
                .insert(key.clone(), CopyDecision::Blocked(message));
            return;
        }
        let fate = match alive.as_slice() {
            [] => CopyDecision::Counts,
            [standing] => {
                self.access_entry(view, standing);
                CopyDecision::Shadowed
            }
            several => {
                for standing in several {
                    let arn = standing.principal_arn;
                    self.leave(
                        arn,
                        Origin::AccessEntry(arn.to_owned()),
                        SkipReason::Ambiguous,
                        "there are access entries with this name and different paths, but IAM has at most one principal of a \
                            name; delete the others",
                    );
                }
                CopyDecision::Shadowed
            }
        };
        self.fates.insert(key.clone(), fate);
    }

    fn owns(&self, standing: &Standing<'_>) -> bool {
        let entry = standing.state.entry.as_ref();
        entry.and_then(|entry| entry.tags.get(INSTALLATION_TAG)) == Some(&self.installation)
    }

    fn access_entry(&mut self, view: &AwsView, standing: &Standing<'_>) {
        let arn = standing.principal_arn;
        let origin = Origin::AccessEntry(arn.to_owned());
        let principal = match Principal::parse(arn) {
            Ok(principal) => principal,
            Err(error) => {
                return self.leave(arn, origin, SkipReason::Inexpressible, error.to_string());
            }
        };
        if let Some(name) = self.declared.by(&principal, &principal.key()) {
            return self.result.declared.push((origin, name.clone()));
        }
        let Some(entry) = standing.known() else {
            let message = "it could not be read; try again";
            return self.leave(arn, origin, SkipReason::Inexpressible, message);
        };
        let keeper = keeper(entry, &view.managed, self.now);
        if let Some((why, message)) = self.set_aside(entry, &principal, &keeper) {
            return self.leave(arn, origin, why, message);
        }
        let draft = self.draft_of(view, entry, &principal, keeper.is_aws());
        self.keep(arn, draft, &origin);
    }

    /// Why an entry is not imported although it could be.
    fn set_aside(
        &self,
        entry: &AccessEntry,
        principal: &Principal,
        keeper: &Keeper<'_>,
    ) -> Option<(SkipReason, String)> {
        if principal.is_service_linked() {
            return Some((
                SkipReason::AwsMade,
                "it belongs to a service-linked role: only its AWS service can create and change it"
                    .to_owned(),
            ));
        }
        let installation = entry.tags.get(INSTALLATION_TAG);
        if let Some(other) = installation.filter(|it| **it != self.installation) {
            return Some((
                SkipReason::OtherInstallation,
                format!(
                    "another installation of identity-mapper ({other}) manages it; import it there"
                ),
            ));
        }
        let node = !matches!(
            entry.kind,
            Kind::Known(EntryType::Standard) | Kind::Unknown(_)
        );
        match keeper {
            _ if node && !self.options.nodes => Some((
                SkipReason::Node,
                format!(
                    "it has type {}: EKS creates those of node groups and Fargate profiles itself; --include nodes imports it",
                    entry.kind
                ),
            )),
            Keeper::Aws(cause) if installation.is_none() && !node && !self.options.aws_made => {
                Some((
                    SkipReason::AwsMade,
                    format!("{cause}; --include aws-made imports it"),
                ))
            }
            Keeper::Unknown(failure) if installation.is_none() => {
                let why = failure.map_or_else(|| "not read yet".to_owned(), ToString::to_string);
                Some((
                    SkipReason::Inexpressible,
                    format!("it is unknown whether AWS manages it ({why}); try again"),
                ))
            }
            Keeper::Aws(_) | Keeper::Unknown(_) | Keeper::Nobody => None,
        }
    }

    fn draft_of(
        &self,
        view: &AwsView,
        entry: &AccessEntry,
        principal: &Principal,
        of_aws: bool,
    ) -> Result<Draft, String> {
        let type_ = match &entry.kind {
            Kind::Known(type_) => *type_,
            Kind::Unknown(type_) => {
                return Err(format!(
                    "this version of identity-mapper does not know type {type_}; upgrade it"
                ));
            }
        };
        let mut spec = spec(principal, type_);
        spec.access_policies = entry.policies.iter().map(policy).collect();
        if type_ == EntryType::Standard {
            let default = principal.default_username();
            spec.username = Some(entry.username.clone()).filter(|username| *username != default);
            spec.groups = entry.groups.iter().cloned().collect();
            self.as_aws_auth_says(&mut spec, entry, principal);
        }
        let ours = entry.tags.contains_key(INSTALLATION_TAG);
        if type_ != EntryType::Standard || (of_aws && !ours) {
            spec.adoption = Adoption::Always;
        }
        let parsed = parsed(&spec)?;
        verify(view, entry, &parsed)?;
        self.agrees_with_ours(&parsed)?;
        let mut notes = Vec::new();
        if ours {
            notes.push(
                "tagged as managed, but no mapping declares it: this one manages it again"
                    .to_owned(),
            );
        }
        if let Some(stack) = entry.tags.get(STACK_TAG) {
            notes.push(format!(
                "CloudFormation stack {stack} also manages it; remove it from the stack with DeletionPolicy: Retain"
            ));
        }
        Ok(Draft {
            principal: principal.clone(),
            name: entry.tags.get(MAPPING_TAG).filter(|_| ours).cloned(),
            spec,
            comments: Vec::new(),
            origin: Origin::AccessEntry(entry.principal_arn.clone()),
            notes,
        })
    }

    /// Where aws-auth says the same with system:masters, the mapping says it so, and is exact in both.
    fn as_aws_auth_says(
        &self,
        spec: &mut IdentityMappingSpec,
        entry: &AccessEntry,
        principal: &Principal,
    ) {
        let Some(twin) = self.twin(principal) else {
            return;
        };
        let admin = policy_arn(principal.partition, ADMIN_POLICY);
        let administrator = entry
            .policies
            .get(&admin)
            .is_some_and(|association| association.scope == Scope::Cluster);
        let mut with_masters = entry.groups.clone();
        with_masters.insert(MASTERS.to_owned());
        let meaning = twin.meaning();
        if administrator && meaning.groups == with_masters && meaning.username == entry.username {
            spec.groups = with_masters.into_iter().collect();
            spec.access_policies
                .retain(|policy| policy.policy != ADMIN_POLICY);
        }
    }

    fn twin(&self, principal: &Principal) -> Option<&TextEntry> {
        match self.effective.index().lookup(&principal.aws_auth_arn()) {
            Lookup::Role(twin) | Lookup::User(twin) => Some(twin),
            Lookup::AmbiguousUser(_) | Lookup::Account | Lookup::None => None,
        }
    }

    /// An entry of aws-auth that is managed is kept as declared beside the access entry.
    fn agrees_with_ours(&self, spec: &Spec) -> Result<(), String> {
        let key = spec.principal.key();
        if crate::import::importer::marked(&self.mark, &key).is_none() {
            return Ok(());
        }
        let mut twins = self.document.entries();
        let differs = twins.find(|twin| {
            let form = spec.form.as_ref();
            twin.key().as_ref() == Some(&key)
                && form.is_none_or(|form| form.meaning != twin.meaning())
        });
        differs.map_or(Ok(()), |twin| {
            Err(format!(
                "aws-auth has a managed entry for the same principal, but {} line {} differs, so one of the two would be \
                    rewritten; make them the same, or remove the entry of aws-auth",
                twin.section, twin.line
            ))
        })
    }
}

fn policy((arn, association): (&String, &crate::access_entry::Association)) -> AccessPolicy {
    let scope = match &association.scope {
        Scope::Cluster => AccessScope::default(),
        Scope::Namespaces(namespaces) => AccessScope {
            type_: ScopeType::Namespace,
            namespaces: namespaces.iter().cloned().collect(),
        },
    };
    AccessPolicy {
        policy: policy_name(arn).to_owned(),
        scope,
    }
}

/// Whether the spec asks for exactly what exists.
fn verify(view: &AwsView, entry: &AccessEntry, spec: &Spec) -> Result<(), String> {
    let declared = Declared {
        principal: &spec.principal,
        type_: spec.type_,
        username: spec.username.as_deref(),
        groups: &spec.groups,
        policies: &spec.policies,
    };
    let target = target(&declared, &view.cluster).map_err(|why| why.to_string())?;
    let differences = meaning_differs(
        entry,
        &Wanted {
            target: &target,
            tags: &BTreeMap::new(),
            bridge: false,
            accepted_default: None,
            of_aws: &BTreeSet::new(),
        },
    );
    match differences.first() {
        None => Ok(()),
        Some(first) => Err(format!(
            "no mapping can declare exactly this entry: it has {first}"
        )),
    }
}

fn dead_words(view: &AwsView, standing: &Standing<'_>) -> String {
    let delete = format!(
        "aws eks delete-access-entry {} --principal-arn {}",
        view.cluster.cli_flags(),
        standing.principal_arn
    );
    match &standing.life {
        Life::Recreated { .. } => format!(
            "the principal was deleted and recreated, and the entry is only for the former one; delete it ({delete}), and map the \
                new one if it needs access"
        ),
        Life::Missing { elsewhere: None } => {
            format!("IAM has no such principal; delete the entry: {delete}")
        }
        Life::Missing {
            elsewhere: Some(arn),
        } => format!(
            "IAM has {arn} instead; delete the entry ({delete}), and map that principal if it needs access"
        ),
        Life::Alive | Life::Unknown => String::new(),
    }
}
