//! Mappings that name a caller and give it no access.

use crate::explain::caller::Caller;
use crate::explain::cause::{CauseKind, LikelyCause};
use crate::explain::fix::{Fix, quoted};
use crate::explain::scene::{Explainer, IdleMapping, IdleReason};
use crate::principal::SsoRole;

impl Explainer<'_> {
    /// The mapping that names the caller and holds no key, the one that is nearest to granting access first.
    pub(super) fn idle_mapping(&self, caller: &Caller) -> Option<&IdleMapping> {
        let key = caller.key.as_ref()?;
        let set = SsoRole::parse_name(caller.name())
            .map(|sso| (sso.permission_set, caller.parsed.account.to_string()));
        let names = |idle: &&IdleMapping| {
            idle.key.as_ref() == Some(key) || (set.is_some() && idle.permission_set == set)
        };
        self.scene
            .without_key
            .iter()
            .filter(names)
            .min_by_key(|idle| idle.why)
    }

    /// A mapping names the caller, and grants nothing.
    fn idle(&self, caller: &Caller) -> Option<LikelyCause> {
        let idle = self.idle_mapping(caller)?;
        let name = &idle.mapping;
        let patch = |spec: &str| {
            format!(
                "kubectl patch identitymapping {name} --type merge -p {}",
                quoted(&format!("{{\"spec\":{{{spec}}}}}"))
            )
        };
        let (text, command) = match idle.why {
            IdleReason::Suspended => (
                "to give it access, end the suspension",
                patch("\"suspend\":false"),
            ),
            IdleReason::Expired => (
                "to give it access again, without an end or with a later validUntil",
                patch("\"validUntil\":null"),
            ),
            IdleReason::Refused => (
                "resolve what its conditions report",
                format!("kubectl describe identitymapping {name}"),
            ),
            IdleReason::Deleting => (
                "to give it access, declare it again once the mapping is deleted; the events say what that waits for",
                format!("kubectl describe identitymapping {name}"),
            ),
        };
        Some(LikelyCause {
            kind: CauseKind::NotInEffect,
            message: format!(
                "mapping {name} declares this principal but grants nothing: {}",
                idle.words
            ),
            fix: Some(Fix {
                text: text.to_owned(),
                commands: vec![command],
                ..Fix::default()
            }),
        })
    }

    pub(super) fn not_in_effect(&self, caller: &Caller) -> Option<LikelyCause> {
        let Some(declared) = self.scene.declared.get(caller.key.as_ref()?) else {
            return self.idle(caller);
        };
        let name = &declared.mapping;
        let describe = format!("kubectl describe identitymapping {name}");
        let pods = "kubectl get pods --all-namespaces -l app.kubernetes.io/name=identity-mapper"
            .to_owned();
        let (message, text, command) = match &declared.not_ready {
            Some(why) => (
                format!("mapping {name} declares this principal but is not active: {why}"),
                "resolve what its conditions report",
                describe,
            ),
            // The entry has another path, or its principal was recreated: its own cause says so, and the operator did its work.
            None if declared.reported && self.has_entry(caller) => return None,
            None if declared.reported => (
                format!(
                    "mapping {name} declares this principal and was Ready, but its entry is missing now"
                ),
                "the operator restores the entry within seconds; if it does not, check that it is running",
                pods,
            ),
            None => (
                format!(
                    "mapping {name} declares this principal but is not active: the operator has not reported a status yet"
                ),
                "check that the operator is running",
                pods,
            ),
        };
        Some(LikelyCause {
            kind: CauseKind::NotInEffect,
            message,
            fix: Some(Fix {
                text: text.to_owned(),
                commands: vec![command],
                ..Fix::default()
            }),
        })
    }

    /// Whether either backend has an entry for a principal of the caller's account, kind and name, with whatever path.
    fn has_entry(&self, caller: &Caller) -> bool {
        let Some(key) = &caller.key else {
            return false;
        };
        let mut entries = self.scene.document.entries();
        !self.standing_of(key).is_empty() || entries.any(|entry| entry.key().as_ref() == Some(key))
    }
}
